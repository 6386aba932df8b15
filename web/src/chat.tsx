// One conversation: its messages, and the composer.
import type { Conversation, Draft, Message } from '@imapi/client';
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { contentFor, contentOf, isCovered, nameOf, SignOf } from './list';
import { Avatar, hue, Icon, IconButton, useTicking, useWatched, type IconName } from './parts';
import type { Phone } from './phone';
import type { Outgoing, Talk } from './state';
import { assist } from './scene';
import { assistant, signsIn } from './session';
import { bytes, clock, day, moment, plain, visible, words } from './words';

/** The dialog that is open over a phone. */
export type Opened = { sheet: 'revoke' | 'receipts' | 'proof' | 'picture'; message: Message } | { sheet: 'info' | 'new' }
  | { sheet: 'create'; kind: 'group' | 'room' | 'space' } | { sheet: 'channel' | 'space' | 'leave'; id: string };

export function Chat({ phone, onOpen }: { phone: Phone; onOpen: (opened: Opened) => void }) {
  useWatched(phone);
  const id = phone.open;
  if (!id) return <section class="chat nothing"><p class="empty">{words.pick}</p></section>;
  const c = phone.conversations.get(id);
  const talk = phone.talk(id);
  const name = nameOf(c, id);
  const typing = [...talk.typing.keys()];
  const expiry = c?.settings.expire_after_seconds;
  return <section class="chat" aria-label={name} key={id}
    onKeyDown={event => { if (event.key === 'Escape' && !event.defaultPrevented) phone.back(); }}
    onDragOver={event => event.preventDefault()}
    onDrop={event => { event.preventDefault(); for (const file of event.dataTransfer?.files ?? []) phone.sending.send(id, { type: 'file', body: { attachment_id: '' }, ...(c?.kind === 'group' && { receipt: true }) }, file); }}>
    <header class="chat-head">
      <IconButton icon="back" label={words.back} class="back" onClick={() => phone.back()} />
      <Avatar name={name} several={!!c && c.kind !== 'direct'} {...(c && c.kind !== 'direct' && c.kind !== 'group' && { sign: <SignOf c={c} /> })} />
      <div class="chat-title"><h2 dir="auto">{name}</h2>
        <p aria-live="polite">{typing.length ? <span class="live-text">{words.typing(typing.join(', '))}<i class="dots" aria-hidden="true" /></span>
          : !c ? words.direct : c.kind === 'direct' ? (name === assistant ? words.ask : words.direct) : `${words[c.kind]} · ${words.members(c.member_count)}`}</p></div>
      {expiry != null && <span class="expiry" title={words.disappearingNote(words.seconds(expiry))}><Icon name="clock" />{words.seconds(expiry)}</span>}
      {c && <IconButton icon="info" label={words.info} onClick={() => onOpen({ sheet: 'info' })} />}
    </header>
    {c?.settings.announcement && <p class="announcement" dir="auto"><b>{words.announcement}</b> {visible(c.settings.announcement)}</p>}
    <Messages phone={phone} talk={talk} c={c} onOpen={onOpen} />
    <Composer phone={phone} talk={talk} c={c} />
  </section>;
}

// ---- the messages ----

function Messages({ phone, talk, c, onOpen }: { phone: Phone; talk: Talk; c: Conversation | undefined; onOpen: (opened: Opened) => void }) {
  const log = useRef<HTMLDivElement>(null);
  const end = useRef({ atEnd: true, height: 0, top: 0, first: '', sending: 0 });
  const [away, setAway] = useState(false);
  const messages = [...talk.messages.values()].sort((a, b) => a.seq - b.seq);
  const last = messages.at(-1);

  // Stays at the newest message, or where the reader is when earlier ones come in.
  useLayoutEffect(() => {
    const element = log.current!;
    const first = messages[0]?.id ?? '', sending = talk.outgoing.length;
    if (sending > end.current.sending) end.current.atEnd = true; // people see what they send
    if (first !== end.current.first && !end.current.atEnd) element.scrollTop += element.scrollHeight - end.current.height;
    else if (end.current.atEnd && !talk.marked) element.scrollTop = element.scrollHeight;
    end.current = { ...end.current, height: element.scrollHeight, first, sending };
  });
  useEffect(() => {
    const element = log.current!;
    const kept = new ResizeObserver(() => { if (end.current.atEnd && !talk.marked) element.scrollTop = element.scrollHeight; });
    kept.observe(element);
    for (const child of element.children) kept.observe(child);
    return () => kept.disconnect();
  }, [talk]);
  useEffect(() => {
    if (!talk.marked) return;
    const element = log.current!.querySelector<HTMLElement>(`[data-message="${CSS.escape(talk.marked)}"]`);
    if (!element) return;
    end.current.atEnd = false;
    element.scrollIntoView({ block: 'center' });
    element.focus();
    const timer = setTimeout(() => { talk.marked = undefined; phone.changed(); }, 2500);
    return () => clearTimeout(timer);
  }, [talk.marked, talk.messages.has(talk.marked ?? '')]);

  const scrolled = () => {
    const element = log.current!;
    // Only scrolling by the reader leaves the end. If the log itself changes its size, it is scrolled there again.
    if (element.scrollHeight - element.scrollTop - element.clientHeight < 60) end.current.atEnd = true;
    else if (element.scrollTop < end.current.top) end.current.atEnd = false;
    end.current.top = element.scrollTop;
    setAway(!end.current.atEnd);
    if (element.scrollTop < 40 && talk.older) void phone.loading.earlier(talk.id);
  };
  const arrows = (event: KeyboardEvent) => {
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
    const all = [...log.current!.querySelectorAll<HTMLElement>('[data-message]')];
    const at = all.indexOf((document.activeElement as HTMLElement).closest<HTMLElement>('[data-message]')!);
    if (at < 0) return;
    all[Math.max(0, Math.min(all.length - 1, at + (event.key === 'ArrowDown' ? 1 : -1)))]?.focus();
    event.preventDefault();
  };

  const rows: ComponentChildren[] = [];
  let previous: Message | undefined;
  for (const m of messages) {
    if (!previous || day(previous.created_at) !== day(m.created_at)) rows.push(<p class="day" key={`day ${m.id}`}><span>{day(m.created_at)}</span></p>);
    const follows = previous?.sender === m.sender && previous.state === 'active' && m.state === 'active' && Date.parse(m.created_at) - Date.parse(previous.created_at) < 300_000;
    rows.push(<Row key={m.id} phone={phone} talk={talk} c={c} m={m} follows={follows} onOpen={onOpen} last={m === last} />);
    previous = m;
  }
  return <div class="log-frame">
    <div class="log" ref={log} onScroll={scrolled} onKeyDown={arrows} tabIndex={0} role="log" aria-label={words.message}>
      <div class="log-inside">
        {talk.older && <button type="button" class="earlier" onClick={() => void phone.loading.earlier(talk.id)}>{words.earlier}</button>}
        {talk.older !== undefined && messages.length + talk.outgoing.length === 0 && <p class="empty">{c?.kind === 'thread' ? words.noThread : words.first}</p>}
        {rows}
        {talk.answers.map(answer => <div class="line theirs" key={answer.id}>
          <Avatar name={answer.owner} size="small" />
          <div class="bubble streaming"><b class={`who ${hue(answer.owner)}`}>{answer.owner}</b><p class="text" dir="auto">{visible(answer.text)}<i class="caret" aria-hidden="true" /></p>
            <span class="meta">{words.writing(answer.owner)}</span></div>
        </div>)}
        {talk.outgoing.map(outgoing => <Pending key={outgoing.clientId} phone={phone} talk={talk} outgoing={outgoing} />)}
      </div>
    </div>
    {away && <IconButton icon="down" label={words.jump} class="to-end" onClick={() => { log.current!.scrollTop = log.current!.scrollHeight; }} />}
  </div>;
}

function Row({ phone, talk, c, m, follows, last, onOpen }: { phone: Phone; talk: Talk; c: Conversation | undefined; m: Message; follows: boolean; last: boolean; onOpen: (opened: Opened) => void }) {
  const mine = m.sender === phone.me;
  const [menu, setMenu] = useState(false);
  const label = `${mine ? words.you : m.sender}, ${clock(m.created_at)}`;
  if (m.state !== 'active') return <Tombstone phone={phone} m={m} onOpen={onOpen} label={label} />;
  const covered = isCovered(phone, m);
  const thread = talk.threads.get(m.id);
  return <div class={`line ${mine ? 'mine' : 'theirs'} ${follows ? 'follows' : ''} ${talk.marked === m.id ? 'marked' : ''} ${menu ? 'with-menu' : ''}`}
    data-message={m.id} tabIndex={-1} role="group" aria-label={label}
    onKeyDown={event => { if (event.key === 'Enter' && event.target === event.currentTarget) { setMenu(true); event.preventDefault(); } }}>
    {!mine && (follows || c?.kind === 'direct' ? c?.kind !== 'direct' && <span class="avatar-gap" /> : <Avatar name={m.sender} size="small" />)}
    <div class="bubble-frame">
      <div class={`bubble ${covered ? 'covered' : ''} ${m.burn ? 'burning' : ''} ${m.type === 'image' ? 'with-picture' : ''}`}>
        {!mine && !follows && c?.kind !== 'direct' && <b class={`who ${hue(m.sender)}`}><bdi>{m.sender}</bdi></b>}
        {m.reply_to && <Quote phone={phone} talk={talk} id={m.reply_to} />}
        {covered ? <button type="button" class="cover" onClick={() => void phone.receipts.reveal(m)}><Icon name="flame" /><span><b>{words.covered}</b><small>{words.burnsAfter(words.seconds(m.burn!.after_seconds))}</small></span></button>
          : <Content phone={phone} m={m} onOpen={onOpen} />}
        <span class="meta">
          {m.burn && !covered && <Burning m={m} />}
          {m.expires_at && <Expiring at={m.expires_at} />}
          <time dateTime={m.created_at} title={moment(m.created_at)}>{clock(m.created_at)}</time>
          {mine && <Ticks phone={phone} m={m} c={c} onOpen={onOpen} />}
        </span>
      </div>
      {thread && <button type="button" class="thread-chip" onClick={() => phone.show(thread.id, talk.id)}><Icon name="thread" /><bdi>{plain(thread.name) || words.thread}</bdi> · {words.replies(thread.message_count ?? 0)}{thread.unread > 0 && <span class="badge">{thread.unread}</span>}</button>}
      {menu && <Menu phone={phone} talk={talk} c={c} m={m} onOpen={onOpen} onClose={() => setMenu(false)} up={last} />}
    </div>
    <IconButton icon="more" label={words.more} class="actions" expanded={menu} onClick={() => setMenu(!menu)} />
  </div>;
}

function Quote({ phone, talk, id }: { phone: Phone; talk: Talk; id: string }) {
  const m = talk.messages.get(id);
  return <button type="button" class="quote" onClick={() => void phone.jump(talk.id, id)}>
    {m ? <b><bdi>{m.sender === phone.me ? words.you : m.sender}</bdi></b> : null}
    <span dir="auto">{m?.state === 'active' ? contentFor(phone, m) : words.goneQuote}</span>
  </button>;
}

function Content({ phone, m, onOpen }: { phone: Phone; m: Message; onOpen: (opened: Opened) => void }) {
  const body = m.body ?? {};
  switch (m.type) {
    case 'text': return <Text text={body.text ?? ''} names={[...m.mentions ?? [], ...m.mention_all ? everyone : []]} me={phone.me} />;
    case 'image': return <Picture phone={phone} m={m} onOpen={onOpen} />;
    case 'audio': case 'video': case 'file':
      return <button type="button" class="file" onClick={() => void save(phone, m)}><Icon name="file" /><span><bdi>{plain(body.name ?? words.file)}</bdi><small>{bytes(body.size ?? 0)} · {words.download}</small></span></button>;
    case 'location': return <p class="text" dir="auto">{visible(body.address ?? '')}<br /><small>{body.latitude}, {body.longitude}</small></p>;
    case 'custom': return <pre class="data" dir="auto">{visible(body.name ?? '')} {visible(JSON.stringify(body.data ?? null))}</pre>;
  }
}

const everyone = ['everyone', '所有人']; // as words.all has it, in all languages
const longest = 600; // characters that are shown of a text at first

/** A text, with the names of those whom it mentions set off. */
function Text({ text, names, me }: { text: string; names: string[]; me: string }) {
  const [whole, setWhole] = useState(false);
  const pieces: ComponentChildren[] = [];
  const long = text.length > longest * 1.5 && !whole;
  let rest = visible(long ? text.slice(0, longest).replace(/[\ud800-\udbff]$/, '') : text);
  const marks = names.map(name => `@${name}`).sort((a, b) => b.length - a.length);
  while (marks.length && rest) {
    const at = Math.min(...marks.map(mark => rest.indexOf(mark)).filter(i => i >= 0));
    if (!Number.isFinite(at)) break;
    const mark = marks.find(one => rest.startsWith(one, at))!;
    const toMe = mark === `@${me}` || everyone.includes(mark.slice(1));
    pieces.push(rest.slice(0, at), <span class={`at-name ${toMe ? 'me' : ''}`} key={pieces.length}>{mark}</span>);
    rest = rest.slice(at + mark.length);
  }
  const few = text.length < 40 && /^\p{Extended_Pictographic}(\p{Emoji_Modifier}|\u200d|\ufe0f|\p{Extended_Pictographic}){0,8}$/u.test(text);
  return <><p class={`text ${few ? 'large' : ''}`} dir="auto">{pieces}{rest}{long && '…'}</p>
    {long && <button type="button" class="small quiet" onClick={() => setWhole(true)}>{words.showAll}</button>}</>;
}

function Picture({ phone, m, onOpen }: { phone: Phone; m: Message; onOpen: (opened: Opened) => void }) {
  const [url, setUrl] = useState<string>();
  const attachment = m.body?.attachment_id ?? '';
  useEffect(() => {
    let gone = false;
    void phone.files.thumbnail(attachment).then(made => { if (!gone) setUrl(made); }, () => { if (!gone) setUrl(''); });
    return () => { gone = true; };
  }, [attachment]);
  if (url === '') return <button type="button" class="file" onClick={() => void save(phone, m)}><Icon name="file" /><span><bdi>{plain(m.body?.name ?? words.file)}</bdi><small>{bytes(m.body?.size ?? 0)} · {words.download}</small></span></button>;
  const { width = 4, height = 3 } = m.body ?? {};
  return <button type="button" class="picture" aria-label={`${words.openPicture}: ${plain(m.body?.name ?? '')}`} onClick={() => onOpen({ sheet: 'picture', message: m })}
    style={{ aspectRatio: `${Math.max(0.6, Math.min(2.4, width / height))}` }}>{url && <img src={url} alt="" />}</button>;
}

async function save(phone: Phone, m: Message): Promise<void> {
  const blob = await phone.attempt(() => phone.files.file(m.body?.attachment_id ?? ''));
  if (!blob) return;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = plain(m.body?.name ?? 'attachment');
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** How long until a message burns: the same for both who see it. */
function Burning({ m }: { m: Message }) {
  const { after_seconds: after, burn_at: at } = m.burn!;
  useTicking(!!at);
  if (!at) return <span class="burn-note"><Icon name="flame" />{words.burnsUnread(words.seconds(after))}</span>;
  const left = Math.max(0, Math.ceil((Date.parse(at) - Date.now()) / 1000));
  const part = after > 0 ? Math.max(0, Math.min(1, (Date.parse(at) - Date.now()) / 1000 / after)) : 0;
  return <span class="burn-note hot" role="timer"><svg class="ring" viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="8" /><circle class="left" cx="10" cy="10" r="8" style={{ strokeDashoffset: `${50.3 * (1 - part)}` }} /></svg>{words.burnsIn(left)}</span>;
}

function Expiring({ at }: { at: string }) {
  useTicking(true, 1000);
  const left = Math.max(0, Math.ceil((Date.parse(at) - Date.now()) / 1000));
  const rounded = left < 60 ? left : left < 3600 ? Math.ceil(left / 60) * 60 : left < 86400 ? Math.ceil(left / 3600) * 3600 : Math.ceil(left / 86400) * 86400;
  return <span class="expires" title={words.disappearsIn(words.seconds(rounded))}><Icon name="clock" />{words.seconds(rounded)}</span>;
}

/** One tick: sent. Two: delivered. Two in colour: read, in a group by whom. */
function Ticks({ phone, m, c, onOpen }: { phone: Phone; m: Message; c: Conversation | undefined; onOpen: (opened: Opened) => void }) {
  if (!c || (c.kind !== 'direct' && !m.receipt)) return null;
  const got = phone.readers.get(m.id);
  const read = got?.read.length ?? 0, delivered = got?.delivered.length ?? 0;
  const state = read > 0 && (c.kind === 'direct' || got?.unread.length === 0 || read >= c.member_count - 1) ? 'read' : delivered > 0 || read > 0 ? 'delivered' : 'sent';
  const label = c.kind === 'group' && read > 0 ? words.readBy(read) : words[state];
  const ticks = <svg class={`ticks ${state}`} viewBox="0 0 22 14" role="img" aria-label={label}><title>{label}</title><path d="M2 7.500l4 4L14 3" />{state !== 'sent' && <path d="M10 10.500l1 1L19.500 3" />}</svg>;
  if (c.kind === 'direct') return ticks;
  return <button type="button" class="who-read" onClick={() => onOpen({ sheet: 'receipts', message: m })} aria-label={`${words.whoRead}: ${label}`}>{ticks}{read > 0 && <span aria-hidden="true">{read}</span>}</button>;
}

function Tombstone({ phone, m, label, onOpen }: { phone: Phone; m: Message; label: string; onOpen: (opened: Opened) => void }) {
  const mine = m.sender === phone.me;
  const by = m.erased?.by;
  const text = m.state === 'burned' ? words.burned : m.state === 'expired' ? words.expired
    : by && by !== m.sender ? words.removedBy(by === phone.me ? words.you : by, mine ? words.youObject : m.sender) : mine ? words.youTookBack : words.tookBack(m.sender);
  const kept = phone.texts.get(m.id);
  return <div class={`line tombstone ${mine ? 'mine' : 'theirs'}`} data-message={m.id} tabIndex={-1} role="group" aria-label={label}>
    <div class="grave"><Icon name={m.state === 'revoked' ? 'undo' : m.state === 'burned' ? 'flame' : 'clock'} />
      <span><bdi>{text}</bdi>{m.erased?.postscript && <>: <bdi class="postscript">{visible(m.erased.postscript)}</bdi></>}</span>
      <time dateTime={m.created_at} title={moment(m.created_at)}>{clock(m.created_at)}</time></div>
    {m.state === 'revoked' && kept && <div class="grave-actions">
      <button type="button" class="small" onClick={() => {
        const talk = phone.talk(m.conversation_id);
        talk.draft = kept.type === 'text' ? kept.body.text : '';
        phone.changed();
      }}><Icon name="quill" />{words.writeAnew}</button>
      {signsIn && <button type="button" class="small" onClick={() => onOpen({ sheet: 'proof', message: m })}><Icon name="shield" />{words.proveIt}</button>}
    </div>}
  </div>;
}

function Pending({ phone, talk, outgoing }: { phone: Phone; talk: Talk; outgoing: Outgoing }) {
  const { draft, state, progress } = outgoing;
  const percent = Math.round(progress * 100);
  const note = state === 'uploading' ? words.uploading(percent) : state === 'sending' ? words.sending : state === 'waiting' ? words.waiting : `${words.failed}: ${outgoing.why ?? ''}`;
  return <div class="line mine pending" data-client-id={outgoing.clientId}>
    <div class="bubble-frame"><div class={`bubble ${outgoing.preview ? 'with-picture' : ''}`}>
      {outgoing.preview ? <span class="picture"><img src={outgoing.preview} alt="" /></span> : <p class="text" dir="auto">{outgoing.file ? plain(outgoing.file.name) : draft.type === 'text' ? visible(draft.body.text) : contentOf(draft as Message)}</p>}
      {state === 'uploading' && <progress max={100} value={percent} aria-label={words.uploading(percent)} />}
      <span class={`meta ${state}`} role="status">{note}</span>
    </div>
    {(state === 'uploading' || state === 'waiting') && <div class="grave-actions"><button type="button" class="small quiet" onClick={() => phone.sending.discard(talk, outgoing)}>{words.stopUpload}</button></div>}
    {state === 'failed' && <div class="grave-actions">
      {draft.type === 'text' && <button type="button" class="small" onClick={() => { phone.sending.discard(talk, outgoing); talk.draft = draft.body.text; phone.changed(); }}>{words.writeAnew}</button>}
      <button type="button" class="small" onClick={() => phone.sending.deliver(talk, outgoing)}>{words.again}</button>
      <button type="button" class="small quiet" onClick={() => phone.sending.discard(talk, outgoing)}>{words.discard}</button></div>}
    </div>
  </div>;
}

// ---- the menu of a message ----

function Menu({ phone, talk, c, m, onOpen, onClose, up }: { phone: Phone; talk: Talk; c: Conversation | undefined; m: Message; onOpen: (opened: Opened) => void; onClose: () => void; up: boolean }) {
  const menu = useRef<HTMLDivElement>(null);
  const mine = m.sender === phone.me;
  const thread = talk.threads.get(m.id);
  const covered = isCovered(phone, m);
  useEffect(() => {
    menu.current?.querySelector('button')?.focus();
    if (!up) menu.current?.scrollIntoView({ block: 'nearest' });
    const outside = (event: Event) => { if (!menu.current?.contains(event.target as Node) && !(event.target as Element).closest?.('.actions')) onClose(); };
    addEventListener('pointerdown', outside);
    return () => removeEventListener('pointerdown', outside);
  }, []);
  const close = () => {
    menu.current?.closest<HTMLElement>('.line')?.querySelector<HTMLElement>('.actions')?.focus();
    onClose();
  };
  const item = (icon: IconName, text: string, act: () => void, kind = '') =>
    <button type="button" role="menuitem" class={kind} onClick={() => { close(); act(); }}><Icon name={icon} />{text}</button>;
  return <div class={`menu ${up ? 'up' : ''}`} role="menu" ref={menu} aria-label={words.more} onKeyDown={event => {
    if (event.key === 'Escape') { close(); event.preventDefault(); event.stopPropagation(); return; }
    if (event.key === 'Tab') { onClose(); return; }
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const items = [...menu.current!.querySelectorAll<HTMLElement>('button')];
    const at = items.indexOf(document.activeElement as HTMLElement);
    items[(at + (event.key === 'ArrowDown' ? 1 : items.length - 1)) % items.length]?.focus();
    event.preventDefault();
    event.stopPropagation();
  }}>
    {item('reply', words.reply, () => { talk.replyTo = m.id; phone.changed(); })}
    {m.type === 'text' && !covered && item('copy', words.copy, () => void navigator.clipboard?.writeText(m.body?.text ?? '').then(() => phone.say(words.copied), () => {}))}
    {thread ? item('thread', words.openThread, () => phone.show(thread.id, talk.id))
      : (c?.kind === 'group' || c?.kind === 'channel') && talk.permissions?.has('create_thread') && item('thread', words.startThread, () => void phone.attempt(() => phone.managing.startThread(m, [...contentOf(m)].slice(0, 40).join('').trim() || words.thread)))}
    {mine && c?.kind === 'group' && m.receipt && item('people', words.whoRead, () => onOpen({ sheet: 'receipts', message: m }))}
    {m.burn && !mine && item('flame', words.burnNow, () => void phone.sending.burn(m))}
    {(mine || talk.permissions?.has('revoke_others')) && item('undo', words.takeBack, () => onOpen({ sheet: 'revoke', message: m }), 'danger')}
    {item('hide', words.hide, () => void phone.sending.hide(m))}
  </div>;
}

// ---- the composer ----

const burnTimes = [5, 10, 30, 60];

function Composer({ phone, talk, c }: { phone: Phone; talk: Talk; c: Conversation | undefined }) {
  const input = useRef<HTMLTextAreaElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(talk.draft);
  const [burn, setBurn] = useState(0);
  const [suggested, setSuggested] = useState<{ names: string[]; at: number; chosen: number } | undefined>();
  const direct = !c || c.kind === 'direct';

  useEffect(() => { if (talk.draft !== text) setText(talk.draft); if (talk.draft) input.current?.focus(); }, [talk.draft]);
  useLayoutEffect(() => {
    const element = input.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${Math.min(element.scrollHeight, 140)}px`;
  }, [text]);
  useEffect(() => { if (talk.replyTo) input.current?.focus(); }, [talk.replyTo]);

  if (c?.kind === 'thread' && !c.role) return <div class="composer closed"><button type="button" class="wide" onClick={() => void phone.attempt(() => phone.managing.join(c.id))}>{words.joinThread}</button></div>;
  if (talk.permissions && !talk.permissions.has('send')) return <p class="composer closed" role="note">{words.mayNotSend}</p>;

  const mayAll = !direct && !!talk.permissions?.has('mention_all');
  const names = () => direct ? [] : [...new Set([...talk.members.map(m => m.user), ...[...phone.talks.get(c?.parent_id ?? '')?.members ?? []].map(m => m.user)])].filter(name => name !== phone.me);
  const write = (value: string, caret: number) => {
    setText(value);
    talk.draft = value;
    if (value) phone.sending.typing(talk.id);
    const begun = /(?:^|\s)@([^\s@]*)$/u.exec(value.slice(0, caret));
    const fitting = begun ? [...names(), ...mayAll ? [words.all] : []].filter(name => name.toLocaleLowerCase().startsWith(begun[1]!.toLocaleLowerCase())).slice(0, 6) : [];
    setSuggested(fitting.length ? { names: fitting, at: caret - begun![1]!.length, chosen: 0 } : undefined);
  };
  const complete = (name: string) => {
    const element = input.current!, before = `${text.slice(0, suggested!.at)}${name} `;
    element.value = before + text.slice(element.selectionStart); // at once: the next key must come after it
    element.setSelectionRange(before.length, before.length);
    element.focus();
    setSuggested(undefined);
    setText(element.value);
    talk.draft = element.value;
  };
  const more = (): Partial<Draft> => {
    const mentions = names().filter(name => text.includes(`@${name}`));
    return {
      ...(talk.replyTo && { reply_to: talk.replyTo }), ...(burn > 0 && direct && { burn: { after_seconds: burn } }),
      ...(mentions.length && { mentions }), ...(mayAll && text.includes(`@${words.all}`) && { mention_all: true }), ...(c?.kind === 'group' && { receipt: true }),
    };
  };
  const send = () => {
    const value = text.trim();
    if (!value) return;
    const extra = more();
    phone.sending.send(talk.id, { type: 'text', body: { text: value }, ...extra } as Draft);
    setText('');
    talk.draft = '';
    setSuggested(undefined);
    // The assistant has no page of its own: this one writes for it.
    const inDirect = direct && nameOf(c, talk.id) === assistant;
    if (signsIn && (inDirect || extra.mentions?.includes(assistant)) && phone.me !== assistant) {
      setTimeout(() => void phone.attempt(() => assist(inDirect ? `@${phone.me}` : talk.id, undefined)), 500);
    }
  };
  const attach = (list: Iterable<File>) => { for (const file of list) phone.sending.send(talk.id, { type: 'file', body: { attachment_id: '' }, ...more() } as Draft, file); };
  const quoted = talk.replyTo ? talk.messages.get(talk.replyTo) : undefined;

  return <form class={`composer ${burn ? 'hot' : ''}`} onSubmit={event => { event.preventDefault(); send(); }}>
    {quoted && <div class="replying"><Icon name="reply" /><span dir="auto"><b>{words.replyingTo(quoted.sender === phone.me ? words.you : quoted.sender)}</b><br />{contentFor(phone, quoted)}</span>
      <IconButton icon="close" label={words.cancel} onClick={() => { talk.replyTo = undefined; phone.changed(); }} /></div>}
    {suggested && <ul class="suggested" role="listbox" id={`names-${phone.me}`} aria-label={words.mention}>{suggested.names.map((name, i) =>
      <li key={name} id={`names-${phone.me}-${i}`} role="option" aria-selected={i === suggested.chosen} onMouseDown={event => { event.preventDefault(); complete(name); }}><Avatar name={name} size="small" /><bdi>{name}</bdi></li>)}</ul>}
    <div class="compose-row">
      <IconButton icon="clip" label={words.attach} onClick={() => files.current!.click()} />
      <input type="file" ref={files} hidden multiple tabIndex={-1} aria-hidden="true" onChange={event => { attach(event.currentTarget.files ?? []); event.currentTarget.value = ''; }} />
      <textarea ref={input} rows={1} value={text} dir="auto" maxLength={4000} placeholder={burn ? words.burnsUnread(words.seconds(burn)) : words.message} aria-label={words.messageTo(nameOf(c, talk.id))}
        aria-autocomplete="list" aria-controls={suggested ? `names-${phone.me}` : undefined} aria-activedescendant={suggested ? `names-${phone.me}-${suggested.chosen}` : undefined}
        onInput={event => write(event.currentTarget.value, event.currentTarget.selectionStart)}
        onPaste={event => { const list = [...event.clipboardData?.files ?? []]; if (list.length) { event.preventDefault(); attach(list); } }}
        onKeyDown={event => {
          if (event.isComposing) return;
          if (suggested) {
            const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? suggested.names.length - 1 : 0;
            if (step) { setSuggested({ ...suggested, chosen: (suggested.chosen + step) % suggested.names.length }); event.preventDefault(); return; }
            if (event.key === 'Enter' || event.key === 'Tab') { complete(suggested.names[suggested.chosen]!); event.preventDefault(); return; }
            if (event.key === 'Escape') { setSuggested(undefined); event.preventDefault(); event.stopPropagation(); return; }
          }
          if (event.key === 'Escape' && talk.replyTo) { talk.replyTo = undefined; phone.changed(); event.preventDefault(); event.stopPropagation(); return; }
          if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); send(); }
        }} />
      {direct && <label class={`burn-choice ${burn ? 'on' : ''}`} title={words.burnAfter}><Icon name="flame" /><select value={burn} aria-label={words.burnAfter} onChange={event => setBurn(Number(event.currentTarget.value))}>
        <option value={0}>{words.burnOff}</option>{burnTimes.map(time => <option key={time} value={time}>{words.seconds(time)}</option>)}</select>{burn > 0 && <span>{words.seconds(burn)}</span>}</label>}
      <button type="submit" class="send" aria-label={words.send} title={words.send} disabled={!text.trim()}><Icon name="send" /></button>
    </div>
  </form>;
}
