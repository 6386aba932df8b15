// The list of chats of one person, with search.
import type { Conversation, Message } from '@imapi/client';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Avatar, Icon, IconButton, useWatched } from './parts';
import type { Phone } from './phone';
import { visible, when, words } from './words';

/** What a conversation is called. */
export function nameOf(c: Conversation | undefined, id = ''): string {
  if (!c) return id.startsWith('@') ? id.slice(1) : '';
  return c.peer ?? (c.name || words[c.kind]);
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
    case 'file': return m.body?.name ?? words.file;
    case 'location': return m.body?.address || words.location;
    case 'custom': return m.body?.name ?? words.data;
  }
}

export function SignOf({ c }: { c: Conversation }) {
  if (c.kind === 'channel') return <Icon name={c.visibility === 'private' ? 'lock' : 'hash'} />;
  if (c.kind === 'room') return <Icon name="door" />;
  if (c.kind === 'thread') return <Icon name="thread" />;
  return null;
}

export function List({ phone, onNew, onSpace }: { phone: Phone; onNew: () => void; onSpace: (id: string) => void }) {
  useWatched(phone);
  const [query, setQuery] = useState('');
  const [found, setFound] = useState<Message[] | undefined>();
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const text = query.trim();
    if (!text) { setFound(undefined); return; }
    let late = false;
    const timer = setTimeout(() => void phone.attempt(() => phone.search(text)).then(items => { if (!late) setFound(items ?? []); }), 250);
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
      <IconButton icon="plus" label={words.newChat} class="right" onClick={onNew} />
    </header>
    <div class="search"><Icon name="search" />
      <input type="search" value={query} placeholder={words.search} aria-label={words.search} dir="auto" maxLength={200} onInput={event => setQuery(event.currentTarget.value)}
        onKeyDown={event => { if (event.key === 'Escape' && query) { setQuery(''); event.stopPropagation(); } }} />
    </div>
    <div class="rows" ref={list}>
      {found ? <Found phone={phone} found={found} /> : <>
        {phone.invitations.map(i => <div class="invitation" key={i.conversation_id ?? i.space_id}>
          <Avatar name={i.name} /><p dir="auto"><b>{i.name}</b><br /><span>{words.invited(i.by)}</span></p>
          <button type="button" class="small" onClick={() => void phone.invitation(i, true)}>{words.join}</button>
          <button type="button" class="small quiet" onClick={() => void phone.invitation(i, false)}>{words.decline}</button>
        </div>)}
        {chats.map(c => <Row key={c.id} phone={phone} c={c} />)}
        {phone.loaded && chats.length === 0 && <p class="empty">{words.noChats}</p>}
        {!phone.loaded && [1, 2, 3, 4].map(n => <div class="row ghost" key={n} aria-hidden="true"><span class="avatar" /><span class="row-text"><i /><i /></span></div>)}
        {phone.spaces.map(space => <div class="space" key={space.id}>
          <div class="space-head"><h3 dir="auto">{space.name}</h3><IconButton icon="people" label={`${space.name}: ${words.roles}`} onClick={() => onSpace(space.id)} /></div>
          {(phone.channels.get(space.id) ?? []).map(c => <Row key={c.id} phone={phone} c={phone.conversations.get(c.id) ?? c} />)}
        </div>)}
      </>}
    </div>
  </section>;
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
        {!channel && <time dateTime={activity(c)}>{when(activity(c))}</time>}</span>
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
          <span class="row-top"><bdi class="row-name">{m.sender}</bdi><time dateTime={m.created_at}>{when(m.created_at)}</time></span>
          <span class="preview" dir="auto">{isCovered(phone, m) ? words.covered : m.snippet?.map((part, i) => part.match ? <mark key={i}>{visible(part.text)}</mark> : visible(part.text)) ?? contentOf(m)}</span>
          <span class="row-where">{c ? words[c.kind] : ''} · <bdi>{nameOf(c)}</bdi></span>
        </span>
      </button>;
    })}
  </div>;
}
