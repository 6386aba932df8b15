// The dialogs of a phone.
import type { Conversation, Message } from '@imapi/client';
import { useEffect, useState } from 'preact/hooks';
import type { Opened } from './chat';
import { nameOf } from './list';
import { Avatar, Icon, IconButton, Sheet, useWatched } from './parts';
import type { Phone } from './phone';
import { people, prove, signsIn, assistant, type Proof } from './session';
import { bytes, visible, words } from './words';

export function Sheets({ phone, opened, onClose }: { phone: Phone; opened: Opened | undefined; onClose: () => void }) {
  useWatched(phone);
  if (!opened) return null;
  const c = phone.open ? phone.conversations.get(phone.open) : undefined;
  switch (opened.sheet) {
    case 'revoke': return <TakeBack phone={phone} message={opened.message} onClose={onClose} />;
    case 'receipts': return <WhoRead phone={phone} message={opened.message} onClose={onClose} />;
    case 'proof': return <Proven phone={phone} message={opened.message} onClose={onClose} />;
    case 'picture': return <Large phone={phone} message={opened.message} onClose={onClose} />;
    case 'info': return c ? <Info phone={phone} c={c} onClose={onClose} /> : null;
    case 'new': return <NewChat phone={phone} onClose={onClose} />;
    case 'space': return <SpaceRoles phone={phone} id={opened.id} onClose={onClose} />;
  }
}

function TakeBack({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  const [reason, setReason] = useState('');
  return <Sheet title={words.takeBackTitle} onClose={onClose}>
    <form onSubmit={event => { event.preventDefault(); onClose(); void phone.takeBack(message, reason.trim()); }}>
      <p>{words.takeBackText}</p>
      <label class="field">{words.reason}<input value={reason} maxLength={200} dir="auto" onInput={event => setReason(event.currentTarget.value)} /></label>
      <footer><button type="button" class="quiet" onClick={onClose}>{words.cancel}</button><button type="submit" class="danger"><Icon name="undo" />{words.takeBackNow}</button></footer>
    </form>
  </Sheet>;
}

function WhoRead({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  useEffect(() => { void phone.receiptsOf(message); }, []);
  const got = phone.receipts.get(message.id) ?? { read: [], delivered: [], unread: [] };
  const delivered = got.delivered.filter(user => !got.read.includes(user));
  const rest = got.unread.filter(user => !delivered.includes(user));
  return <Sheet title={words.whoRead} onClose={onClose}>
    {([[words.readList, got.read], [words.deliveredList, delivered], [words.unreadList, rest]] as const).map(([title, users]) => <div class="names" key={title}>
      <h3>{title} <span>{users.length}</span></h3>
      {users.length ? <ul>{users.map(user => <li key={user}><Avatar name={user} size="small" /><bdi>{user}</bdi></li>)}</ul> : <p class="quiet-text">{words.nobody}</p>}
    </div>)}
  </Sheet>;
}

/** Searches all files of the server for a text that was taken back. */
function Proven({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  const kept = phone.texts.get(message.id);
  const text = kept?.type === 'text' ? kept.body.text : '';
  const [proof, setProof] = useState<Proof>();
  const [fault, setFault] = useState('');
  const short = new TextEncoder().encode(text).length < 6;
  useEffect(() => {
    if (short) return;
    let closed = false;
    void (async () => {
      for (let tries = 0; !closed && tries < 20; tries++) { // its key is destroyed within seconds
        try {
          const found = await prove(message.id, text);
          if (closed) return;
          setProof(found);
          if (found.shredded_at) return;
        } catch (error) {
          if (!closed && tries > 3) { setFault(error instanceof Error ? error.message : ''); return; }
        }
        await new Promise(resolve => setTimeout(resolve, 700));
      }
    })();
    return () => { closed = true; };
  }, []);
  const found = proof?.files.some(file => file.text);
  return <Sheet title={words.proofTitle} onClose={onClose} class="proof">
    <p class="proof-text"><span>{words.forText}</span> <q dir="auto">{visible(text)}</q></p>
    {short ? <p>{words.proofShort}</p> : fault ? <p class="bad">{fault}</p> : !proof ? <p role="status">{words.proofWorking}</p> : <>
      <p class={`verdict ${found ? 'bad' : 'good'}`} role="status"><Icon name={found ? 'close' : 'shield'} /><span><b>{found ? words.proofFound : words.proofGone}</b><small>{words.proofFiles(proof.files.length, bytes(proof.files.reduce((sum, f) => sum + f.size, 0)))}{!proof.complete && ` · ${words.incomplete}`}</small></span></p>
      <p class={`verdict ${proof.shredded_at ? 'good' : 'waits'}`}><Icon name={proof.shredded_at ? 'check' : 'clock'} /><span><b>{proof.shredded_at ? words.proofKey : words.proofWaiting}</b>
        {proof.shredded_at && <small>{words.proofShredded(`${((Date.parse(proof.shredded_at) - Date.parse(proof.erased_at)) / 1000).toFixed(1)} s`)}</small>}</span></p>
      <table><tbody>{proof.files.filter(file => file.size > 0).map(file => <tr key={file.name}><th scope="row">{file.name}</th><td>{bytes(file.size)}</td><td class={file.text ? 'bad' : 'good'}>{file.text ? words.yes : words.no}</td></tr>)}</tbody></table>
      {proof.files.some(file => file.control) && <p class="quiet-text">{words.proofControl(proof.control)}</p>}
    </>}
  </Sheet>;
}

function Large({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    let made: string | undefined, closed = false;
    void phone.attempt(() => phone.file(message.body?.attachment_id ?? '')).then(blob => {
      if (!blob || closed) return;
      made = URL.createObjectURL(blob);
      setUrl(made);
    });
    return () => { closed = true; if (made) URL.revokeObjectURL(made); };
  }, []);
  const erased = phone.talks.get(message.conversation_id)?.messages.get(message.id)?.state !== 'active';
  useEffect(() => { if (erased) onClose(); }, [erased]);
  return <Sheet title={message.body?.name ?? words.photo} onClose={onClose} class="picture-sheet">
    {url && <><img src={url} alt={message.body?.name ?? ''} /><footer><a class="button" href={url} download={message.body?.name ?? 'picture'}>{words.download}</a></footer></>}
  </Sheet>;
}

const expiries = [10, 60, 300, 3600, 86400, 604800];

function Info({ phone, c, onClose }: { phone: Phone; c: Conversation; onClose: () => void }) {
  const talk = phone.talk(c.id);
  const may = (permission: string) => c.kind === 'direct' || !!talk.permissions?.has(permission);
  const group = c.kind === 'group' || c.kind === 'room';
  const others = [...people, assistant].filter(user => !talk.members.some(m => m.user === user));
  return <Sheet title={nameOf(c)} onClose={onClose}>
    {c.kind !== 'thread' && <label class="field"><span><Icon name="clock" /> {words.disappearing}</span>
      <select value={c.settings.expire_after_seconds ?? 0} disabled={!may('manage_conversation')} onChange={event => {
        const seconds = Number(event.currentTarget.value);
        void phone.update(c, { settings: { expire_after_seconds: seconds || null } });
      }}><option value={0}>{words.off}</option>{expiries.map(time => <option key={time} value={time}>{words.seconds(time)}</option>)}
        {c.settings.expire_after_seconds && !expiries.includes(c.settings.expire_after_seconds) && <option value={c.settings.expire_after_seconds}>{words.seconds(c.settings.expire_after_seconds)}</option>}</select></label>}
    {c.kind !== 'direct' && <div class="names"><h3>{words.members(c.member_count)}</h3><ul>{talk.members.map(m => <li key={m.user}>
      <Avatar name={m.user} size="small" /><bdi>{m.user}</bdi><span class="tag">{words[m.role as 'owner']}</span>
      {group && may('kick') && m.user !== phone.me && m.role !== 'owner' && <IconButton icon="close" label={`${words.remove}: ${m.user}`} onClick={() => void phone.removeMember(c, m.user)} />}</li>)}</ul>
      {group && may('invite') && signsIn && others.length > 0 && <div class="adders">{others.map(user => <button type="button" class="small" key={user} onClick={() => void phone.addMember(c, user)}><Icon name="plus" />{user}</button>)}</div>}
    </div>}
    <footer class="stacked">
      {c.kind !== 'thread' && c.kind !== 'channel' && <button type="button" class="quiet" onClick={() => void phone.update(c, { pinned: !c.pinned })}><Icon name="pin" />{c.pinned ? words.unpin : words.pin}</button>}
      {(group || c.kind === 'thread') && c.role && c.role !== 'owner' && <button type="button" class="quiet" onClick={() => { onClose(); void phone.leave(c); }}>{words.leave}</button>}
      {(c.kind === 'direct' || group) && <button type="button" class="quiet" onClick={() => { onClose(); void phone.remove(c, 'me'); }}><Icon name="hide" />{words.hideChat}</button>}
      {may('delete') && <button type="button" class="danger quiet" onClick={() => { onClose(); void phone.remove(c, 'everyone'); }}>{words.deleteChat}</button>}
    </footer>
  </Sheet>;
}

function NewChat({ phone, onClose }: { phone: Phone; onClose: () => void }) {
  const [name, setName] = useState('');
  const [user, setUser] = useState('');
  const [chosen, setChosen] = useState<string[]>([]);
  const known = [...new Set([...(signsIn ? [...people, assistant] : []), ...[...phone.conversations.values()].flatMap(c => c.peer ?? [])])].filter(one => one !== phone.me);
  const chat = (with_: string) => {
    onClose();
    const there = [...phone.conversations.values()].find(c => c.peer === with_);
    phone.show(there?.id ?? `@${with_}`);
  };
  return <Sheet title={words.newChat} onClose={onClose}>
    <ul class="people">{known.map(one => <li key={one}><button type="button" class="row" onClick={() => chat(one)}><Avatar name={one} /><bdi class="row-name">{one}</bdi></button></li>)}</ul>
    {!signsIn && <form class="inline" onSubmit={event => { event.preventDefault(); if (user.trim()) chat(user.trim()); }}><input value={user} aria-label={words.person} placeholder={words.person} dir="auto" maxLength={128} onInput={event => setUser(event.currentTarget.value)} /><button type="submit">{words.direct}</button></form>}
    <form onSubmit={event => { event.preventDefault(); if (name.trim()) { onClose(); void phone.createGroup(name.trim(), chosen); } }}>
      <h3>{words.newGroup}</h3>
      <label class="field">{words.groupName}<input value={name} maxLength={128} dir="auto" onInput={event => setName(event.currentTarget.value)} /></label>
      <div class="ticked">{known.map(one => <label key={one}><input type="checkbox" checked={chosen.includes(one)} onChange={event => setChosen(event.currentTarget.checked ? [...chosen, one] : chosen.filter(other => other !== one))} /><bdi>{one}</bdi></label>)}</div>
      <footer><button type="submit" disabled={!name.trim()}>{words.create}</button></footer>
    </form>
  </Sheet>;
}

function SpaceRoles({ phone, id, onClose }: { phone: Phone; id: string; onClose: () => void }) {
  const space = phone.spaces.find(s => s.id === id);
  if (!space) return null;
  const members = phone.spaceMembers.get(id) ?? [];
  const owner = space.role === 'owner';
  return <Sheet title={space.name} onClose={onClose}>
    {space.settings.announcement && <p dir="auto">{visible(space.settings.announcement)}</p>}
    {owner && <p class="quiet-text">{words.rolesNote}</p>}
    {(phone.roles.get(id) ?? []).map(role => <div class="names" key={role.id}>
      <h3 dir="auto">{role.id === 'everyone' ? words.everyone : role.name}</h3>
      <p class="tags">{Object.entries(role.permissions).map(([permission, grant]) => <span class={`tag ${grant}`} key={permission}>{grant === 'deny' ? '−' : '+'} {permission}</span>)}</p>
      {role.id !== 'everyone' && <div class="ticked">{members.filter(m => m.role !== 'owner').map(m => <label key={m.user}><input type="checkbox" disabled={!owner} checked={!!m.roles?.includes(role.id)}
        onChange={event => void phone.giveRole(id, role.id, m.user, event.currentTarget.checked)} /><bdi>{m.user}</bdi></label>)}</div>}
    </div>)}
    <div class="names"><h3>{words.members(space.member_count)}</h3><ul>{members.map(m => <li key={m.user}><Avatar name={m.user} size="small" /><bdi>{m.user}</bdi><span class="tag">{words[m.role as 'owner']}</span></li>)}</ul></div>
  </Sheet>;
}
