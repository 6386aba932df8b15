// The dialogs that begin something: a chat, a group, a room, a space, a channel.
import { useRef, useState } from 'preact/hooks';
import type { Opened } from './chat';
import { Avatar, Choice, Fault, Field, Icon, having, People, Sheet, Submit, Ticks, useWork, type IconName } from './parts';
import { Problem } from './api';
import type { Phone } from './phone';
import { Once } from './managing';
import { assistant, people, signsIn } from './session';
import { plain, words } from './words';

/** The people whom a person may know: those of the demo, or those whom they have met. */
export function acquaintances(phone: Phone): string[] {
  const met = [...phone.conversations.values()].flatMap(c => c.peer ?? []);
  const members = [...phone.talks.values()].flatMap(talk => talk.members.map(m => m.user));
  return [...new Set([...(signsIn ? [...people, assistant] : []), ...met, ...members])].filter(one => one !== phone.me).slice(0, 40);
}

export function NewChat({ phone, onOpen, onClose }: { phone: Phone; onOpen: (opened: Opened) => void; onClose: () => void }) {
  const [user, setUser] = useState('');
  const [id, setId] = useState('');
  const work = useWork(phone);
  const chat = (name: string) => {
    onClose();
    phone.show([...phone.conversations.values()].find(c => c.peer === name)?.id ?? `@${name}`);
  };
  const join = async () => {
    try {
      await phone.managing.join(id.trim());
      phone.show(id.trim());
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      await phone.managing.joinSpace(id.trim());
    }
  };
  const kinds: [IconName, string, string, Opened][] = [
    ['people', words.newGroup, words.newGroupNote, { sheet: 'create', kind: 'group' }], ['door', words.newRoom, words.newRoomNote, { sheet: 'create', kind: 'room' }],
    ['hash', words.newSpace, words.newSpaceNote, { sheet: 'create', kind: 'space' }],
  ];
  return <Sheet title={words.newChat} onClose={onClose}>
    <ul class="people">{kinds.map(([icon, title, note, opened]) => <li key={title}><button type="button" class="row" onClick={() => onOpen(opened)}>
      <span class="avatar sign"><Icon name={icon} /></span><span class="row-text"><span class="row-name">{title}</span><span class="row-note">{note}</span></span></button></li>)}</ul>
    <h3>{words.direct}</h3>
    <ul class="people short">{acquaintances(phone).map(one => <li key={one}><button type="button" class="row" onClick={() => chat(one)}><Avatar name={one} /><bdi class="row-name">{one}</bdi></button></li>)}</ul>
    <form class="inline" onSubmit={event => { event.preventDefault(); if (user.trim()) chat(user.trim().normalize('NFC')); }}>
      <input value={user} aria-label={words.person} placeholder={words.somebodyElse} dir="auto" maxLength={128} autocomplete="off" onInput={event => setUser(event.currentTarget.value)} />
      <button type="submit" class="quiet" disabled={!user.trim()}>{words.direct}</button></form>
    <h3>{words.joinById}</h3>
    <p class="quiet-text">{words.joinByIdNote}</p>
    <form class="inline" onSubmit={event => { event.preventDefault(); if (id.trim()) void work.run(join).then(done => { if (done) onClose(); }); }}>
      <input value={id} aria-label={words.id} placeholder={words.id} dir="ltr" maxLength={128} autocomplete="off" spellcheck={false} onInput={event => setId(event.currentTarget.value)} />
      <Submit work={work} class="quiet" disabled={!id.trim()}>{words.join}</Submit></form>
    <Fault work={work} />
  </Sheet>;
}

export function NewConversation({ phone, kind, onClose }: { phone: Phone; kind: 'group' | 'room' | 'space'; onClose: () => void }) {
  const [name, setName] = useState('');
  const [announcement, setAnnouncement] = useState('');
  const [channel, setChannel] = useState<string>(words.general);
  const [history, setHistory] = useState<'joined' | 'all'>('joined');
  const [join, setJoin] = useState<'closed' | 'open'>('closed');
  const [chosen, setChosen] = useState<string[]>([]);
  const once = useRef(new Once()).current;
  const work = useWork(phone);
  const { title, what } = { group: { title: words.newGroup, what: words.theGroup }, room: { title: words.newRoom, what: words.theRoom }, space: { title: words.newSpace, what: words.theSpace } }[kind];
  const ready = !!name.trim() && (kind !== 'space' || !!channel.trim());
  const create = () => {
    const text = announcement.trim() || null;
    switch (kind) {
      case 'group': return phone.managing.create(once, 'group', name.trim(), chosen, [], { announcement: text, history, join });
      case 'room': return phone.managing.create(once, 'room', name.trim(), [], chosen, { announcement: text });
      case 'space': return phone.managing.createSpace(once, name.trim(), channel.trim(), chosen, { announcement: text, join });
    }
  };
  return <Sheet title={title} onClose={onClose}>
    <form onSubmit={event => { event.preventDefault(); if (ready) void work.run(create).then(done => { if (done) onClose(); }); }}>
      <Field label={words.nameOf(what)} value={name} onInput={setName} first required />
      <Field label={words.announcementOptional} value={announcement} onInput={setAnnouncement} most={1024} />
      {kind === 'space' && <Field label={words.firstChannel} value={channel} onInput={setChannel} required />}
      {kind === 'group' && <Choice label={words.history} value={history} onChange={setHistory} choices={[['joined', words.historyJoined], ['all', words.historyAll]]} />}
      {kind !== 'room' && <Choice label={words.joining} value={join} onChange={setJoin} choices={[['closed', words.joinClosed], ['open', words.joinOpen]]} />}
      <People legend={kind === 'group' ? words.addThem : words.inviteThem} known={acquaintances(phone)} chosen={chosen} onChange={setChosen} />
      <Fault work={work} />
      <footer><button type="button" class="quiet" onClick={onClose}>{words.cancel}</button><Submit work={work} disabled={!ready}>{words.create}</Submit></footer>
    </form>
  </Sheet>;
}

export function NewChannel({ phone, space: id, onClose }: { phone: Phone; space: string; onClose: () => void }) {
  const community = phone.spaces.get(id);
  const [name, setName] = useState('');
  const [visibility, setVisibility] = useState<'public' | 'private'>('public');
  const [readers, setReaders] = useState<string[]>([]);
  const [writers, setWriters] = useState<string[]>();
  const once = useRef(new Once()).current;
  const work = useWork(phone);
  if (!community) return null;
  const roles = community.roles.filter(role => role.id !== 'everyone');
  const ready = !!name.trim() && writers?.length !== 0;
  const create = () => phone.managing.createChannel(once, id, name.trim(), { visibility }, visibility === 'private' ? readers : [], writers ?? []);
  return <Sheet title={`${words.newChannel} · ${plain(community.space.name)}`} onClose={onClose}>
    <form onSubmit={event => { event.preventDefault(); if (ready) void work.run(create).then(done => { if (done) onClose(); }); }}>
      <Field label={words.nameOf(words.theChannel)} value={name} onInput={setName} first required />
      <Choice label={words.visibility} value={visibility} onChange={setVisibility} choices={[['public', words.visiblePublic], ['private', words.visiblePrivate]]} />
      {visibility === 'private' && community.permissions.has('manage_members') && <fieldset class="picker"><legend>{words.whoReads}</legend>
        <Ticks all={community.members.filter(m => m.role !== 'owner' && m.user !== phone.me).map(m => [m.user, m.user])} chosen={readers} onTick={(user, on) => setReaders(having(readers, user, on))} /></fieldset>}
      {roles.length > 0 && community.permissions.has('manage_roles') && <>
        <Choice label={words.whoWrites} value={writers ? 'some' : 'all'} onChange={value => setWriters(value === 'some' ? [] : undefined)} choices={[['all', words.everyoneWrites], ['some', words.rolesWrite]]} />
        {writers && <fieldset class="picker"><legend class="visually-hidden">{words.rolesWrite}</legend><Ticks all={roles.map(role => [role.id, plain(role.name)])} chosen={writers} onTick={(role, on) => setWriters(having(writers, role, on))} /></fieldset>}</>}
      <Fault work={work} />
      <footer><button type="button" class="quiet" onClick={onClose}>{words.cancel}</button><Submit work={work} disabled={!ready}>{words.create}</Submit></footer>
    </form>
  </Sheet>;
}
