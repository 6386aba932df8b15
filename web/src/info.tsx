// The dialogs about a conversation: its members, roles and settings, and leaving it.
import type { Conversation, Schemas } from '@imapi/client';
import { useEffect, useState } from 'preact/hooks';
import type { Opened } from './chat';
import { nameOf } from './list';
import { acquaintances } from './new';
import { Avatar, Choice, Confirm, Fault, Field, having, Icon, IconButton, People, Select, Sheet, Submit, Ticks, useWork, type Work } from './parts';
import type { Phone } from './phone';
import type { Grant } from './managing';
import type { Permission } from './state';
import { plain, words } from './words';

const expiries = [10, 60, 300, 3600, 86400, 604800];
const most = 200; // members that are shown

/** Asks every 5 s: in rooms and spaces, an event about a member goes only to that member. */
export function useAsking(ask: () => Promise<unknown>, again: unknown[] = []): void {
  useEffect(() => {
    const asked = () => void ask().catch(() => {});
    asked();
    const timer = setInterval(asked, 5000);
    return () => clearInterval(timer);
  }, again);
}

export function Info({ phone, c, onOpen, onClose }: { phone: Phone; c: Conversation; onOpen: (opened: Opened) => void; onClose: () => void }) {
  const work = useWork(phone);
  const talk = phone.talk(c.id);
  const may = (permission: Permission) => c.kind === 'direct' || !!talk.permissions?.has(permission);
  const group = c.kind === 'group' || c.kind === 'room';
  const mayInvite = group && may('invite');
  const closing = (done: () => Promise<unknown>) => void work.next(done).then(ok => { if (ok) onClose(); });
  useAsking(async () => {
    if (c.kind !== 'direct') await phone.loading.surroundings(talk);
    if (mayInvite) await phone.loading.invited({ conversation: c.id });
  }, [mayInvite]);
  const after = c.settings.expire_after_seconds;
  return <Sheet title={nameOf(c)} onClose={onClose}>
    <Fault work={work} />
    {c.kind !== 'thread' && <label class="field"><span><Icon name="clock" /> {words.disappearing}</span>
      <Select value={String(after ?? 0)} disabled={!may('manage_conversation')} onChange={seconds => work.next(() => phone.managing.update(c, { settings: { expire_after_seconds: Number(seconds) || null } }))}
        choices={[['0', words.off], ...[...new Set([...expiries, ...after ? [after] : []])].map((time): [string, string] => [String(time), words.seconds(time)])]} /></label>}
    {c.kind === 'channel' && may('manage_conversation') && <Channel phone={phone} c={c} work={work} />}
    {c.kind !== 'direct' && <Members phone={phone} c={c} work={work} />}
    {mayInvite && <AddOrInvite phone={phone} c={c} work={work} />}
    {c.kind !== 'direct' && may('manage_conversation') && <Settings phone={phone} c={c} />}
    {(c.kind === 'room' || (c.kind === 'group' && c.settings.join === 'open')) && <CopyId phone={phone} id={c.id} />}
    <footer class="stacked">
      {c.kind !== 'thread' && <button type="button" class="quiet" onClick={() => void work.run(() => phone.managing.update(c, { muted: !c.muted }))}><Icon name="bell" />{c.muted ? words.unmute : words.mute}</button>}
      {c.kind !== 'thread' && c.kind !== 'channel' && <button type="button" class="quiet" onClick={() => void work.run(() => phone.managing.update(c, { pinned: !c.pinned }))}><Icon name="pin" />{c.pinned ? words.unpin : words.pin}</button>}
      {(group || c.kind === 'thread') && c.role && <button type="button" class="quiet" onClick={() => c.kind === 'thread' ? closing(() => phone.managing.leave(c)) : onOpen({ sheet: 'leave', id: c.id })}><Icon name="door" />{words.leave}</button>}
      {(c.kind === 'direct' || group) && <button type="button" class="quiet" onClick={() => closing(() => phone.managing.remove(c, 'me'))}><Icon name="hide" />{words.hideChat}</button>}
      {may('delete') && <Confirm label={words.deleteChat} sure={words.deleteSure} onConfirm={() => closing(() => phone.managing.remove(c, 'everyone'))} />}
    </footer>
  </Sheet>;
}

// ---- members ----

const rank: Record<string, number> = { owner: 3, admin: 2, member: 1 };

function Members({ phone, c, work }: { phone: Phone; c: Conversation; work: Work }) {
  const talk = phone.talk(c.id);
  const [heir, setHeir] = useState<string>();
  const may = (permission: Permission) => !!talk.permissions?.has(permission);
  const group = c.kind === 'group' || c.kind === 'room';
  const mine = rank[c.role ?? ''] ?? 0;
  return <div class="names"><h3>{words.members(c.member_count)}</h3><ul>{talk.members.slice(0, most).map(m => {
    const other = m.user !== phone.me;
    return <li key={m.user}>
      <Avatar name={m.user} size="small" /><bdi>{m.user}</bdi>
      {group && other && may('manage_roles') ? <Select class="role" label={words.roleOf(m.user)} value={m.role as Schemas['Role']} choices={(['owner', 'admin', 'member'] as const).map(role => [role, words[role]])}
        onChange={role => role === 'owner' ? setHeir(m.user) : work.next(() => phone.managing.setRole(c, m.user, role))} />
        : <span class="tag">{words[m.role as 'owner']}</span>}
      {(group ? mine > (rank[m.role] ?? 0) : c.kind === 'thread') && may('kick') && other && <IconButton icon="close" label={`${words.remove}: ${m.user}`} onClick={() => void work.run(() => phone.managing.removeMember(c, m.user))} />}
      {heir === m.user && <HandOver user={m.user} work={work} onCancel={() => setHeir(undefined)} handOver={async () => { await phone.managing.setRole(c, m.user, 'owner'); setHeir(undefined); }} />}
    </li>;
  })}</ul>{talk.members.length > most && <p class="quiet-text">{words.tooMany(talk.members.length - most)}</p>}</div>;
}

/** Asks whether somebody is to be the owner. */
export function HandOver({ user, work, handOver, onCancel }: { user: string; work: Work; handOver: () => Promise<void>; onCancel: () => void }) {
  return <div class="confirm" role="group" aria-label={words.handOverTo(user)}>
    <p>{words.handOverSure(user)}</p>
    <button type="button" class="quiet" onClick={onCancel}>{words.cancel}</button>
    <button type="button" onClick={() => void work.run(handOver)}>{words.handOver}</button>
  </div>;
}

function AddOrInvite({ phone, c, work }: { phone: Phone; c: Conversation; work: Work }) {
  const [chosen, setChosen] = useState<string[]>([]);
  const members = new Set(phone.talk(c.id).members.map(m => m.user));
  const then = (done: boolean) => { if (done) setChosen([]); };
  return <>
    <form onSubmit={event => { event.preventDefault(); if (chosen.length) void work.run(() => phone.managing.addMembers(c, chosen)).then(then); }}>
      <People legend={words.addOrInvite} known={acquaintances(phone).filter(one => !members.has(one))} chosen={chosen} onChange={setChosen} />
      <footer><button type="button" class="quiet" disabled={!chosen.length} onClick={() => void work.run(() => phone.managing.invite({ conversation: c.id }, chosen)).then(then)}>{words.invitePeople}</button>
        <Submit work={work} disabled={!chosen.length}>{words.addPeople}</Submit></footer>
    </form>
    <Invited phone={phone} to={{ conversation: c.id }} work={work} />
  </>;
}

/** Those who were invited and have not answered. */
export function Invited({ phone, to, work }: { phone: Phone; to: { conversation: string } | { space: string }; work: Work }) {
  const invited = phone.invited.get('space' in to ? to.space : to.conversation) ?? [];
  if (!invited.length) return null;
  return <div class="names"><h3>{words.invitedNow}</h3><ul>{invited.map(one => <li key={one.user}><Avatar name={one.user} size="small" /><bdi>{one.user}</bdi>
    <IconButton icon="close" label={words.withdraw(one.user)} onClick={() => void work.run(() => phone.managing.uninvite(to, one.user))} /></li>)}</ul></div>;
}

export function CopyId({ phone, id }: { phone: Phone; id: string }) {
  return <p class="copy-id"><span>{words.id} <code>{id}</code></span>
    <button type="button" class="small quiet" onClick={() => void navigator.clipboard?.writeText(id).then(() => phone.say(words.copied), () => {})}><Icon name="copy" />{words.copyId}</button></p>;
}

// ---- settings ----

function Settings({ phone, c }: { phone: Phone; c: Conversation }) {
  const { settings } = c;
  const [name, setName] = useState(c.name);
  const [announcement, setAnnouncement] = useState(settings.announcement ?? '');
  const [history, setHistory] = useState(settings.history);
  const [join, setJoin] = useState(settings.join);
  const [invite, setInvite] = useState(settings.invite);
  const work = useWork(phone);
  const what = { group: words.theGroup, room: words.theRoom, channel: words.theChannel, thread: words.theThread, direct: '' }[c.kind];
  const save = async () => {
    await phone.managing.update(c, {
      ...(name.trim() !== c.name && { name: name.trim() }),
      ...(c.kind !== 'thread' && { settings: {
        announcement: announcement.trim() || null, ...(c.kind !== 'channel' && { history }), ...(c.kind === 'group' && { join, invite }),
      } }),
    });
    phone.say(words.saved);
  };
  return <details class="fold"><summary>{words.settings}</summary>
    <form onSubmit={event => { event.preventDefault(); if (name.trim() && (c.kind !== 'thread' || name.trim() !== c.name)) void work.run(save); }}>
      <Field label={words.nameOf(what)} value={name} onInput={setName} required />
      {c.kind !== 'thread' && <Field label={words.announcementOptional} value={announcement} onInput={setAnnouncement} most={1024} />}
      {(c.kind === 'group' || c.kind === 'room') && <Choice label={words.history} value={history} onChange={setHistory} choices={[['joined', words.historyJoined], ['all', words.historyAll]]} />}
      {c.kind === 'group' && <>
        <Choice label={words.joining} value={join} onChange={setJoin} choices={[['closed', words.joinClosed], ['open', words.joinOpen]]} />
        <Choice label={words.inviting} value={invite} onChange={setInvite} choices={[['admins', words.inviteAdmins], ['members', words.inviteMembers]]} /></>}
      <Fault work={work} />
      <footer><Submit work={work} disabled={!name.trim()}>{words.save}</Submit></footer>
    </form>
  </details>;
}

/** Who sees a channel and who writes in it. */
function Channel({ phone, c, work }: { phone: Phone; c: Conversation; work: Work }) {
  const community = phone.spaces.get(c.space_id ?? '');
  const may = phone.talk(c.id).permissions;
  const mayList = c.visibility === 'private' && !!may?.has('manage_members'), mayRoles = !!may?.has('manage_roles');
  const [allowed, setAllowed] = useState<string[]>([]);
  const [overrides, setOverrides] = useState(new Map<string, Partial<Record<Permission, Grant>>>());
  useAsking(async () => {
    if (mayList) setAllowed(await phone.managing.allowed(c.id));
    if (mayRoles) setOverrides(await phone.managing.overrides(c.id));
  }, [mayList, mayRoles]);
  if (!community) return null;
  return <>
    <Choice label={words.visibility} value={c.visibility as 'public' | 'private'} onChange={visibility => work.next(() => phone.managing.update(c, { visibility }))}
      choices={[['public', words.visiblePublic], ['private', words.visiblePrivate]]} />
    {mayList && <fieldset class="picker"><legend>{words.whoReads}</legend><Ticks all={community.members.filter(m => m.role !== 'owner').map(m => [m.user, m.user])} chosen={allowed}
      onTick={(user, on) => work.next(async () => {
        await phone.managing.allow(c.id, user, on);
        setAllowed(list => having(list, user, on));
      })} /></fieldset>}
    {mayRoles && <fieldset class="picker"><legend>{words.whoWrites}</legend>{community.roles.map(role => <Choice<Grant> key={role.id} label={role.id === 'everyone' ? words.everyone : plain(role.name)}
      value={overrides.get(role.id)?.send ?? 'inherit'} choices={[['inherit', words.asInSpace], ['allow', words.allow], ['deny', words.deny]]} onChange={send => work.next(async () => {
        const permissions = { ...overrides.get(role.id), send };
        await phone.managing.override(c.id, role.id, permissions);
        setOverrides(all => new Map(all).set(role.id, permissions));
      })} />)}</fieldset>}
  </>;
}

// ---- leaving ----

/** Leaves a group, a room or a space. An owner hands it over first. */
export function Leave({ phone, id, onClose }: { phone: Phone; id: string; onClose: () => void }) {
  const work = useWork(phone);
  const c = phone.conversations.get(id), community = phone.spaces.get(id);
  const others = (community ? community.members : phone.talk(id).members).map(m => m.user).filter(user => user !== phone.me);
  const [heir, setHeir] = useState(others[0] ?? '');
  const owner = (community?.space.role ?? c?.role) === 'owner';
  if (!c && !community) return null;
  const { managing } = phone;
  const leave = async () => {
    if (owner && heir) await (community ? managing.handOverSpace(id, heir) : managing.setRole(c!, heir, 'owner'));
    await (community ? managing.leaveSpace(id) : managing.leave(c!));
  };
  return <Sheet title={words.leaveTitle(community ? plain(community.space.name) : nameOf(c))} onClose={onClose}>
    <form onSubmit={event => { event.preventDefault(); void work.run(leave).then(done => { if (done) onClose(); }); }}>
      <p>{others.length ? words.leaveSure : words.lastOne}</p>
      {owner && others.length > 0 && <Choice label={words.successor} value={heir} onChange={setHeir} choices={others.slice(0, most).map(user => [user, user])} />}
      <Fault work={work} />
      <footer><button type="button" class="quiet" onClick={onClose}>{words.cancel}</button><Submit work={work} class="danger">{words.leave}</Submit></footer>
    </form>
  </Sheet>;
}
