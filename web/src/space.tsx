// The dialog about a space: its members with their roles, the roles, and its settings.
import { useRef, useState } from 'preact/hooks';
import type { Opened } from './chat';
import { CopyId, HandOver, Invited, useAsking } from './info';
import { acquaintances } from './new';
import { Avatar, Choice, Confirm, Fault, Field, Icon, IconButton, People, Select, Sheet, Submit, Tabs, Ticks, useWork, type Work } from './parts';
import type { Phone } from './phone';
import { Once, type Grant } from './managing';
import type { Community, Member, Permission, Role } from './state';
import { plain, visible, words } from './words';

type Tab = 'members' | 'roles' | 'settings';

const most = 200; // members that are shown
const grantable = ['view', 'send', 'mention_all', 'create_thread', 'manage_threads', 'revoke_own', 'revoke_others', 'delete_others', 'invite', 'kick', 'mute',
  'manage_members', 'manage_roles', 'manage_conversation', 'manage_space'] as const satisfies Permission[];

export function SpaceInfo({ phone, id, onOpen, onClose }: { phone: Phone; id: string; onOpen: (opened: Opened) => void; onClose: () => void }) {
  const [tab, setTab] = useState<Tab>('members');
  const work = useWork(phone);
  const community = phone.spaces.get(id);
  const mayInvite = !!community?.permissions.has('invite');
  useAsking(async () => {
    await phone.loading.spaces();
    if (mayInvite) await phone.loading.invited({ space: id });
  }, [mayInvite]);
  if (!community) return null;
  const { space } = community;
  const tabs: [Tab, string][] = [['members', words.members(space.member_count)], ['roles', words.roles], ['settings', words.settings]];
  return <Sheet title={plain(space.name)} onClose={onClose}>
    {space.settings.announcement && <p class="sheet-announcement" dir="auto">{visible(space.settings.announcement)}</p>}
    <Tabs label={plain(space.name)} tabs={tabs} chosen={tab} onChoose={setTab} />
    <Fault work={work} />
    <div role="tabpanel" aria-label={tabs.find(([one]) => one === tab)![1]} class="panel" key={tab}>
      {tab === 'members' ? <>
        <ul class="members">{community.members.slice(0, most).map(m => <MemberOf key={m.user} phone={phone} community={community} m={m} work={work} />)}</ul>
        {community.members.length > most && <p class="quiet-text">{words.tooMany(community.members.length - most)}</p>}
        {mayInvite && <Invite phone={phone} community={community} work={work} />}
      </> : tab === 'roles' ? <Roles phone={phone} community={community} work={work} />
        : <>
          {community.permissions.has('manage_space') && <Settings phone={phone} community={community} work={work} />}
          {space.settings.join === 'open' && <CopyId phone={phone} id={id} />}
          <footer class="stacked">
            <button type="button" class="quiet" onClick={() => onOpen({ sheet: 'leave', id })}><Icon name="door" />{words.leave}</button>
            {space.role === 'owner' && <Confirm label={words.deleteSpace} sure={words.deleteSure} onConfirm={() => void work.next(() => phone.managing.deleteSpace(id)).then(done => { if (done) onClose(); })} />}
          </footer></>}
    </div>
  </Sheet>;
}

/** The position of a member's highest role: 0 for the owner. */
function rankOf({ roles }: Community, m: Member | undefined): number {
  if (m?.role === 'owner') return 0;
  return Math.min(...roles.filter(role => role.id === 'everyone' || m?.roles?.includes(role.id)).map(role => role.position));
}

function MemberOf({ phone, community, m, work }: { phone: Phone; community: Community; m: Member; work: Work }) {
  const [open, setOpen] = useState(false);
  const [handing, setHanding] = useState(false);
  const { space, roles, members, permissions } = community;
  const mine = rankOf(community, members.find(one => one.user === phone.me));
  const other = m.user !== phone.me;
  const changeable = permissions.has('manage_roles') && m.role !== 'owner' ? roles.filter(role => role.id !== 'everyone' && role.position > mine) : [];
  const mayKick = other && m.role !== 'owner' && permissions.has('kick') && rankOf(community, m) > mine;
  const owner = space.role === 'owner' && other;
  const has = m.roles ?? [];
  return <li>
    <div class="member"><Avatar name={m.user} size="small" /><bdi>{m.user}</bdi>
      <span class="tags">{m.role === 'owner' && <span class="tag">{words.owner}</span>}{roles.filter(role => has.includes(role.id)).map(role => <span class="tag" key={role.id}><bdi>{plain(role.name)}</bdi></span>)}</span>
      {(changeable.length > 0 || mayKick || owner) && <IconButton icon="sliders" label={words.change(m.user)} expanded={open} onClick={() => { setOpen(!open); setHanding(false); }} />}</div>
    {open && <div class="member-more">
      <Ticks all={changeable.map(role => [role.id, plain(role.name)])} chosen={has} onTick={(role, given) => work.next(() => phone.managing.giveRole(space.id, role, m.user, given))} />
      {handing ? <HandOver user={m.user} work={work} onCancel={() => setHanding(false)} handOver={() => phone.managing.handOverSpace(space.id, m.user)} />
        : <p class="member-acts">{owner && <button type="button" class="small quiet" onClick={() => setHanding(true)}>{words.handOverTo(m.user)}</button>}
          {mayKick && <button type="button" class="small danger quiet" onClick={() => void work.run(() => phone.managing.removeFromSpace(space.id, m.user))}>{words.remove}</button>}</p>}
    </div>}
  </li>;
}

function Invite({ phone, community, work }: { phone: Phone; community: Community; work: Work }) {
  const [chosen, setChosen] = useState<string[]>([]);
  const to = { space: community.space.id };
  const members = new Set(community.members.map(m => m.user));
  return <>
    <Invited phone={phone} to={to} work={work} />
    <form onSubmit={event => { event.preventDefault(); if (chosen.length) void work.run(() => phone.managing.invite(to, chosen)).then(done => { if (done) setChosen([]); }); }}>
      <People legend={words.inviteThem} known={acquaintances(phone).filter(one => !members.has(one))} chosen={chosen} onChange={setChosen} />
      <footer><Submit work={work} disabled={!chosen.length}>{words.invitePeople}</Submit></footer>
    </form>
  </>;
}

function Roles({ phone, community, work }: { phone: Phone; community: Community; work: Work }) {
  const [editing, setEditing] = useState<string>(); // the id of a role; '' for a new one
  const { space, roles, members, permissions } = community;
  const may = permissions.has('manage_roles');
  const mine = rankOf(community, members.find(m => m.user === phone.me));
  return <>
    {roles.map(role => <div class="names" key={role.id}>
      <div class="member"><h3><bdi>{role.id === 'everyone' ? words.everyone : plain(role.name)}</bdi></h3>
        {may && role.position > mine && <IconButton icon="sliders" label={words.changeRole(role.id === 'everyone' ? words.everyone : plain(role.name))} expanded={editing === role.id} onClick={() => setEditing(editing === role.id ? undefined : role.id)} />}</div>
      {editing === role.id ? <RoleForm phone={phone} space={space.id} role={role} mine={permissions} work={work} onDone={() => setEditing(undefined)} />
        : <p class="tags">{Object.entries(role.permissions).map(([permission, grant]) => <span class={`tag ${grant}`} key={permission}>{grant === 'deny' ? '− ' : '+ '}{words.can[permission as Permission]}</span>)}</p>}
    </div>)}
    {may && (editing === '' ? <RoleForm phone={phone} space={space.id} role={undefined} mine={permissions} work={work} onDone={() => setEditing(undefined)} />
      : <button type="button" class="quiet" onClick={() => setEditing('')}><Icon name="plus" />{words.newRole}</button>)}
  </>;
}

function RoleForm({ phone, space, role, mine, work, onDone }: { phone: Phone; space: string; role: Role | undefined; mine: Set<Permission>; work: Work; onDone: () => void }) {
  const [name, setName] = useState(role?.name ?? '');
  const [says, setSays] = useState<Partial<Record<Permission, Grant>>>(role?.permissions ?? {});
  const once = useRef(new Once()).current;
  const fixed = role?.id === 'everyone';
  const save = () => {
    const before: Partial<Record<Permission, Grant>> = role?.permissions ?? {};
    const changed = Object.fromEntries(grantable.filter(one => (says[one] ?? 'inherit') !== (before[one] ?? 'inherit')).map(one => [one, says[one] ?? 'inherit']));
    return phone.managing.saveRole(once, space, role, fixed ? role.name : name.trim(), changed);
  };
  return <form class="role-form" aria-label={role ? words.changeRole(plain(role.name)) : words.newRole} onSubmit={event => { event.preventDefault(); if (fixed || name.trim()) void work.run(save).then(done => { if (done) onDone(); }); }}>
    {!fixed && <Field label={words.nameOf(words.theRole)} value={name} onInput={setName} most={64} required />}
    <div class="grants">{grantable.map(one => <label key={one}><span>{words.can[one]}</span><Select<Grant> class={says[one] ?? ''} value={says[one] ?? 'inherit'} disabled={!mine.has(one)} onChange={grant => setSays({ ...says, [one]: grant })}
      choices={[['inherit', words.inherit], ['allow', words.allow], ['deny', words.deny]]} /></label>)}</div>
    <footer>{role && !fixed && <Confirm label={words.deleteRole} sure={words.deleteSure} onConfirm={() => void work.next(() => phone.managing.deleteRole(space, role.id)).then(done => { if (done) onDone(); })} />}
      <button type="button" class="quiet" onClick={onDone}>{words.cancel}</button><Submit work={work} disabled={!fixed && !name.trim()}>{words.save}</Submit></footer>
  </form>;
}

function Settings({ phone, community: { space }, work }: { phone: Phone; community: Community; work: Work }) {
  const [name, setName] = useState(space.name);
  const [announcement, setAnnouncement] = useState(space.settings.announcement ?? '');
  const [join, setJoin] = useState(space.settings.join);
  const save = async () => {
    await phone.managing.updateSpace(space.id, { name: name.trim(), settings: { announcement: announcement.trim() || null, join } });
    phone.say(words.saved);
  };
  return <form onSubmit={event => { event.preventDefault(); if (name.trim()) void work.run(save); }}>
    <Field label={words.nameOf(words.theSpace)} value={name} onInput={setName} required />
    <Field label={words.announcementOptional} value={announcement} onInput={setAnnouncement} most={1024} />
    <Choice label={words.joining} value={join} onChange={setJoin} choices={[['closed', words.joinClosed], ['open', words.joinOpen]]} />
    <footer><Submit work={work} disabled={!name.trim()}>{words.save}</Submit></footer>
  </form>;
}
