// The page: two phones or one window, and the drawer.
//
//	session.ts   who is signed in
//	phone.ts     one person's phone: state.ts is what they see, which loading.ts reads and
//	             arriving.ts changes by events; sending.ts, receipts.ts, files.ts, answers.ts
//	             and managing.ts are what they do
//	scene.ts     what a visitor finds at first, and the assistant
//	list.tsx, chat.tsx   a phone's parts
//	sheets.tsx   its dialogs, with new.tsx, info.tsx and space.tsx
//	wire.ts, drawer.tsx   requests and events as they pass
//	parts.tsx, words.ts   buttons and dialogs; what the page says
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Chat, type Opened } from './chat';
import { Drawer } from './drawer';
import { List } from './list';
import { Avatar, hue, Icon, IconButton, useWatched } from './parts';
import { Phone } from './phone';
import { setScene } from './scene';
import { keepPeople, keptPeople, people, personOf, signIn, signsIn, type Person } from './session';
import { Sheets } from './sheets';
import { speak, words, type Language } from './words';

type Layout = 'phones' | 'window';

function setting<T extends string>(name: string, values: readonly T[], otherwise: T): T {
  const had = localStorage.getItem(`imapi-demo-${name}`) as T;
  return values.includes(had) ? had : otherwise;
}
function set(name: string, value: string): void { localStorage.setItem(`imapi-demo-${name}`, value); }

function App() {
  const [language, setLanguage] = useState<Language>(() => setting('language', ['en', 'zh'] as const, navigator.language.startsWith('zh') ? 'zh' : 'en'));
  const [theme, setTheme] = useState(() => setting('theme', ['light', 'dark', ''] as const, ''));
  const [layout, setLayout] = useState<Layout>(() => setting('layout', ['phones', 'window'] as const, 'phones'));
  const [drawer, setDrawer] = useState(false);
  const [pair, setPair] = useState<Phone[]>([]);
  const [front, setFront] = useState(0);
  const [fault, setFault] = useState('');
  speak(language);
  useEffect(() => { if (theme) document.documentElement.dataset['theme'] = theme; else delete document.documentElement.dataset['theme']; }, [theme]);

  const begin = (persons: Person[]) => {
    const phones = persons.map(person => new Phone(person));
    phones.forEach(phone => phone.arriving.start());
    setPair(phones);
    return phones;
  };
  useEffect(() => {
    const wake = () => { if (!document.hidden) pairNow?.forEach(phone => phone.seen()); };
    document.addEventListener('visibilitychange', wake);
    void enter();
    return () => document.removeEventListener('visibilitychange', wake);
    async function enter(): Promise<void> {
      if (!signsIn) { const had = keptPeople(); if (had) begin(had); return; }
      for (;;) {
        try {
          await setScene();
          const [first, second] = await Promise.all([signIn(people[0]!), signIn(people[1]!)]);
          const [left] = begin([first, second]);
          greet(left!, second.user);
          return;
        } catch {
          setFault(words.failedStart);
          await new Promise(resolve => setTimeout(resolve, 1500));
        }
      }
    }
  }, []);
  pairNow = pair;
  useEffect(() => {
    const title = () => {
      const unread = pair.reduce((sum, phone) => sum + phone.unread, 0);
      document.title = `${unread ? `(${unread}) ` : ''}imapi`;
    };
    const stops = pair.map(phone => phone.watch(title));
    return () => stops.forEach(stop => stop());
  }, [pair]);

  // Each phone's messages are read only if it is to be seen.
  const narrow = useNarrow();
  pair.forEach((phone, i) => { phone.isVisible = () => i === front || (layout === 'phones' && !narrow); });
  useEffect(() => pair.forEach(phone => phone.seen()), [front, layout, narrow, pair]);

  const change = async (i: number, user: string) => {
    if (pair.some(phone => phone.me === user)) { setFront(pair.findIndex(phone => phone.me === user)); return; }
    await pair[i]?.attempt(async () => {
      const phone = new Phone(await signIn(user));
      pair[i]?.stop();
      phone.arriving.start();
      setPair(pair.map((other, j) => j === i ? phone : other));
    });
  };
  const shown = layout === 'window' || narrow ? [front] : [0, 1];
  return <>
    <header class="top">
      <h1><img src="/demo/icon.svg" alt="" width="30" height="30" />imapi</h1>
      <p class="tagline">{words.tagline}</p>
      <nav aria-label="imapi">
        {(layout === 'window' || narrow) && pair.length === 2 && <div class="switch" role="group" aria-label={words.person}>{pair.map((phone, i) => <SwitchTo key={phone.me} phone={phone} pressed={i === front} onClick={() => setFront(i)} />)}</div>}
        {!narrow && <div class="switch" role="group">
          <button type="button" aria-label={words.phones} aria-pressed={layout === 'phones'} onClick={() => { setLayout('phones'); set('layout', 'phones'); }}><Icon name="phones" /><span>{words.phones}</span></button>
          <button type="button" aria-label={words.window} aria-pressed={layout === 'window'} onClick={() => { setLayout('window'); set('layout', 'window'); }}><Icon name="screen" /><span>{words.window}</span></button></div>}
        <IconButton icon="wire" label={words.wireTitle} pressed={drawer} onClick={() => setDrawer(!drawer)} />
        <IconButton icon="sun" label={words.theme} onClick={() => { const next = isDark(theme) ? 'light' : 'dark'; setTheme(next); set('theme', next); }} />
        <button type="button" class="language" lang={language === 'en' ? 'zh-Hans' : 'en'} onClick={() => { const next = language === 'en' ? 'zh' : 'en'; setLanguage(next); set('language', next); }}>{words.language}</button>
      </nav>
    </header>
    <main class={`stage ${layout} ${drawer ? 'with-drawer' : ''}`}>
      {pair.length === 2 ? shown.map(i => <Handset key={pair[i]!.me} phone={pair[i]!} window={layout === 'window'} onPerson={signsIn ? user => void change(i, user) : undefined} others={pair.map(phone => phone.me)} />)
        : signsIn ? <p class="starting" role="status">{fault || words.starting}</p>
        : <PasteTokens onDone={persons => { keepPeople(persons); begin(persons); }} />}
      {!narrow && layout === 'phones' && !drawer && pair.length === 2 && signsIn && <Tour onWire={() => setDrawer(true)} />}
      {drawer && <Drawer onClose={() => setDrawer(false)} />}
    </main>
  </>;
}

let pairNow: Phone[] | undefined;

/** Opens the chat with the other person, so that the first thing to see is a chat. */
function greet(phone: Phone, other: string): void {
  if (matchMedia('(max-width: 700px)').matches) return;
  const stop = phone.watch(() => {
    if (!phone.loaded) return;
    stop();
    const chat = [...phone.conversations.values()].find(c => c.peer === other);
    if (chat && !phone.open) phone.show(chat.id);
  });
}

function isDark(theme: string): boolean { return theme === 'dark' || (theme === '' && matchMedia('(prefers-color-scheme: dark)').matches); }

function useNarrow(): boolean {
  const query = matchMedia('(max-width: 700px)');
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const changed = () => setNarrow(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);
  return narrow;
}

function SwitchTo({ phone, pressed, onClick }: { phone: Phone; pressed: boolean; onClick: () => void }) {
  useWatched(phone);
  return <button type="button" aria-pressed={pressed} onClick={onClick}><Avatar name={phone.me} size="small" /><span class="switch-name"><bdi>{phone.me}</bdi></span>{phone.unread > 0 && <span class="badge">{phone.unread}</span>}</button>;
}

function Handset({ phone, window: full, onPerson, others }: { phone: Phone; window: boolean; onPerson: ((user: string) => void) | undefined; others: string[] }) {
  useWatched(phone);
  const [opened, setOpened] = useState<Opened>();
  const light = phone.light === 'live' && phone.caughtUp !== undefined ? words.caughtUp(phone.caughtUp) : words[phone.light];
  return <article class={`phone ${hue(phone.me)} ${full ? 'full' : ''} ${phone.open ? 'in-chat' : ''}`} aria-label={phone.me} data-user={phone.me}>
    <header class="who-am-i">
      <Avatar name={phone.me} size="small" />
      {onPerson ? <label class="person"><span class="visually-hidden">{words.person}</span><select value={phone.me} onChange={event => { const user = event.currentTarget.value; event.currentTarget.value = phone.me; onPerson(user); }}>
        {people.map(user => <option key={user} value={user} disabled={user !== phone.me && others.includes(user)}>{user}</option>)}</select></label> : <bdi class="person">{phone.me}</bdi>}
      <span class={`light ${phone.light} ${phone.caughtUp !== undefined ? 'back' : ''}`} role="status"><i aria-hidden="true" />{light}</span>
    </header>
    <div class="screens">
      <List phone={phone} onOpen={setOpened} />
      <Chat phone={phone} onOpen={setOpened} />
    </div>
    {phone.notice && <p class="notice" role="alert" key={phone.notice.n}>{visibleNotice(phone.notice.text)}</p>}
    <Sheets phone={phone} opened={opened} onOpen={setOpened} onClose={() => setOpened(undefined)} />
  </article>;
}

function visibleNotice(text: string): string { return text.length > 300 ? `${text.slice(0, 300)}…` : text; }

/** What a visitor may try. */
function Tour({ onWire }: { onWire: () => void }) {
  return <aside class="tour" aria-label={words.try}>
    <h2>{words.try}</h2>
    <ol>{words.tour.map(([icon, title, text]) => <li key={title}><span class="tour-icon"><Icon name={icon} /></span><p><b>{title}</b>{text}</p></li>)}</ol>
    <button type="button" class="quiet" onClick={onWire}><Icon name="wire" />{words.watch}</button>
  </aside>;
}

function PasteTokens({ onDone }: { onDone: (persons: Person[]) => void }) {
  const [fault, setFault] = useState('');
  return <form class="tokens" onSubmit={event => {
    event.preventDefault();
    const given = [...new FormData(event.currentTarget).values()].map(value => personOf(String(value)));
    if (given[0] && given[1]) onDone([given[0], given[1]]);
    else setFault(words.badToken);
  }}>
    <h2>{words.signInTitle}</h2>
    <p>{words.signInText}</p>
    <pre dir="ltr">bin/imapi token --user alice{'\n'}bin/imapi token --user bob</pre>
    {[1, 2].map(n => <label class="field" key={n}>{words.token(n)}<input name={`token-${n}`} autocomplete="off" required spellcheck={false} dir="ltr" /></label>)}
    {fault && <p class="bad" role="alert">{fault}</p>}
    <footer><button type="submit">{words.signIn}</button></footer>
  </form>;
}

render(<App />, document.getElementById('page')!);
