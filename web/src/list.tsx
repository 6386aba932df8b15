// The list of chats of one person, with search.
import type { Conversation, Message } from '@imapi/client';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Avatar, Fault, Icon, IconButton, useWatched, useWork } from './parts';
import type { Phone } from './phone';
import type { Invitation } from './state';
import { moment, plain, visible, when, words } from './words';
import type { Opened } from './chat';

/** What a conversation is called. */
export function nameOf(c: Conversation | undefined, id = ''): string {
  if (!c) return id.startsWith('@') ? id.slice(1) : '';
  return c.peer ?? (plain(c.name) || words[c.kind]);
}

/** The content of a message in one line. */
export function summary(phone: Phone, m: Message | null): string {
  if (!m) return '';
  const who = m.sender === phone.me ? words.you : m.sender;
  switch (m.state) {
    case 'revoked': return m.sender === m.erased?.by ? (m.sender === phone.me ? words.youTookBack : words.tookBack(m.sender)) : words.removedBy(m.erased?.by ?? '', m.sender);
    case 'burned': return words.burned;
    case 'expired': return words.expired;
    case 'active': return `${who}: ${contentFor(phone, m)}`;
  }
}

/** Reports whether a message is to be read only by lifting its cover, which starts its timer. */
export function isCovered(phone: Phone, m: Message): boolean { return !!m.burn && m.sender !== phone.me && !m.burn.burn_at; }

/** What may be shown of a message outside of its bubble. */
export function contentFor(phone: Phone, m: Message): string { return isCovered(phone, m) ? words.covered : contentOf(m); }

export function contentOf(m: Pick<Message, 'type' | 'body'>): string {
  switch (m.type) {
    case 'text': return visible(m.body?.text ?? '').replace(/\s+/g, ' ');
    case 'image': return words.photo;
    case 'audio': return words.audio;
    case 'video': return words.video;
    case 'file': return plain(m.body?.name ?? words.file);
    case 'location': return plain(m.body?.address || words.location);
    case 'custom': return plain(m.body?.name ?? words.data);
  }
}

export function SignOf({ c }: { c: Conversation }) {
  if (c.kind === 'channel') return <Icon name={c.visibility === 'private' ? 'lock' : 'hash'} />;
  if (c.kind === 'room') return <Icon name="door" />;
  if (c.kind === 'thread') return <Icon name="thread" />;
  return null;
}

export function List({ phone, onOpen }: { phone: Phone; onOpen: (opened: Opened) => void }) {
  useWatched(phone);
  const [query, setQuery] = useState('');
  const [found, setFound] = useState<Message[] | undefined>();
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const text = query.trim();
    if (!text) { setFound(undefined); return; }
    let late = false;
    const timer = setTimeout(() => void phone.attempt(() => phone.loading.search(text)).then(items => { if (!late) setFound(items ?? []); }), 250);
    return () => { late = true; clearTimeout(timer); };
  }, [query, phone]);

  const chats = [...phone.conversations.values()].filter(c => (c.kind === 'direct' || c.kind === 'group' || c.kind === 'room') && !c.hidden)
    .sort((a, b) => Number(b.pinned) - Number(a.pinned) || activity(b).localeCompare(activity(a)));

  // Arrow keys move between the rows.
  const arrows = (event: KeyboardEvent) => {
    if (!['ArrowDown', 'ArrowUp', 'Home', 'End'].includes(event.key)) return;
    const rows = [...list.current!.querySelectorAll<HTMLElement>('button.row')];
    const at = rows.indexOf(document.activeElement as HTMLElement);
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? rows.length - 1 : at + (event.key === 'ArrowDown' ? 1 : -1);
    rows[Math.max(0, Math.min(rows.length - 1, to))]?.focus();
    event.preventDefault();
  };

  return <section class="list" aria-label={words.chats} onKeyDown={arrows}>
    <header class="list-head">
      <h2>{words.chats}</h2>
      {phone.unread > 0 && <span class="badge" aria-label={words.unread(phone.unread)}>{phone.unread}</span>}
      <IconButton icon="plus" label={words.newChat} class="right" onClick={() => onOpen({ sheet: 'new' })} />
    </header>
    <div class="search"><Icon name="search" />
      <input type="search" value={query} placeholder={words.search} aria-label={words.search} dir="auto" maxLength={200} onInput={event => setQuery(event.currentTarget.value)}
        onKeyDown={event => { if (event.key === 'Escape' && query) { setQuery(''); event.stopPropagation(); } }} />
    </div>
    <div class="rows" ref={list}>
      {found ? <Found phone={phone} found={found} /> : <>
        {phone.invitations.map(i => <Invited key={i.conversation_id ?? i.space_id} phone={phone} i={i} />)}
        {chats.map(c => <Row key={c.id} phone={phone} c={c} />)}
        {phone.loaded && chats.length === 0 && <p class="empty">{words.noChats}</p>}
        {!phone.loaded && [1, 2, 3, 4].map(n => <div class="row ghost" key={n} aria-hidden="true"><span class="avatar" /><span class="row-text"><i /><i /></span></div>)}
        {[...phone.spaces.values()].map(({ space, channels, permissions }) => <div class="space" key={space.id}>
          <div class="space-head"><h3><bdi>{plain(space.name)}</bdi></h3>
            {permissions.has('manage_conversation') && <IconButton icon="plus" label={`${plain(space.name)}: ${words.newChannel}`} onClick={() => onOpen({ sheet: 'channel', id: space.id })} />}
            <IconButton icon="people" label={`${plain(space.name)}: ${words.peopleTitle}`} onClick={() => onOpen({ sheet: 'space', id: space.id })} /></div>
          {channels.map(c => <Row key={c.id} phone={phone} c={phone.conversations.get(c.id) ?? c} />)}
        </div>)}
      </>}
    </div>
  </section>;
}

/** An invitation, to be accepted or declined. */
function Invited({ phone, i }: { phone: Phone; i: Invitation }) {
  const work = useWork(phone);
  return <div class="invitation" role="group" aria-label={plain(i.name)}>
    <Avatar name={plain(i.name)} several /><p><b><bdi>{plain(i.name)}</bdi></b><span>{words[i.kind]} · {words.invited(i.by)}</span><Fault work={work} /></p>
    <button type="button" class="small quiet" onClick={() => void work.run(() => phone.managing.decline(i))}>{words.decline}</button>
    <button type="button" class="small" onClick={() => void work.run(() => phone.managing.accept(i))}>{words.join}</button>
  </div>;
}

function activity(c: Conversation): string { return c.last_message?.created_at ?? c.created_at; }

function Row({ phone, c }: { phone: Phone; c: Conversation }) {
  const name = nameOf(c);
  const typing = [...phone.talks.get(c.id)?.typing.keys() ?? []];
  const channel = c.kind === 'channel';
  const badges = <>
    {c.unread_mentions > 0 && <span class="badge at" aria-label={words.mentioned}>@</span>}
    {c.unread > 0 && <span class={`badge ${c.muted ? 'quiet' : ''}`} aria-label={words.unread(c.unread)}>{c.unread}{c.unread_more && '+'}</span>}
  </>;
  return <button type="button" class={`row ${channel ? 'channel' : ''} ${phone.open === c.id ? 'current' : ''}`} data-conversation={c.id} aria-current={phone.open === c.id} onClick={() => phone.show(c.id)}>
    {channel ? <span class="channel-sign"><SignOf c={c} /></span> : <Avatar name={name} several={c.kind !== 'direct'} {...(c.kind === 'room' && { sign: <Icon name="door" /> })} />}
    <span class="row-text">
      <span class="row-top"><bdi class="row-name">{name}</bdi>
        {c.pinned && <Icon name="pin" />}
        {!channel && <time dateTime={activity(c)} title={moment(activity(c))}>{when(activity(c))}</time>}</span>
      {!channel && <span class="row-bottom"><span class={`preview ${typing.length ? 'live-text' : ''}`} dir="auto">{typing.length ? words.typing(typing.join(', ')) : summary(phone, c.last_message)}</span>{badges}</span>}
    </span>
    {channel && badges}
  </button>;
}

function Found({ phone, found }: { phone: Phone; found: Message[] }) {
  return <div>
    <p class="found-count" role="status">{found.length ? words.results(found.length) : words.nothingFound}</p>
    {found.map(m => {
      const c = phone.conversations.get(m.conversation_id);
      return <button type="button" class="row found" key={m.id} onClick={() => void phone.jump(m.conversation_id, m.id)}>
        <Avatar name={m.sender} />
        <span class="row-text">
          <span class="row-top"><bdi class="row-name">{m.sender}</bdi><time dateTime={m.created_at} title={moment(m.created_at)}>{when(m.created_at)}</time></span>
          <span class="preview" dir="auto">{isCovered(phone, m) ? words.covered : m.snippet?.map((part, i) => part.match ? <mark key={i}>{visible(part.text)}</mark> : visible(part.text)) ?? contentOf(m)}</span>
          <span class="row-where">{c ? words[c.kind] : ''} · <bdi>{nameOf(c)}</bdi></span>
        </span>
      </button>;
    })}
  </div>;
}
