// What one person sees: conversations, messages, receipts, and what is under way. It changes by
// answers of the API and by events, in any order, and is always what the server said last.
import type { Conversation, Draft, Event, EventOf, Message, Schemas } from '@imapi/client';
import { Api, Problem, withConnection, type Light } from './api';
import type { Person } from './session';

export type Member = Pick<Schemas['Member'], 'user'> & { role: string; roles?: string[] };
export type Space = Schemas['Space'];
export type Role = Schemas['SpaceRole'];
type Invitation = Schemas['Invitation'];

/** A message that this page sends and the server has not acknowledged. */
export interface Outgoing {
  clientId: string;
  draft: Draft;
  at: string;
  state: 'uploading' | 'sending' | 'waiting' | 'failed';
  why?: string;
  file?: File;
  preview?: string; // URL of a picture
  progress: number; // of the upload, 0 to 1
}

/** A data stream that writes an answer. */
export interface Answer {
  id: string;
  owner: string;
  text: string;
  reading: AbortController | undefined;
  ended: boolean;
}

/** What is known of a conversation beside what the list has. */
export interface Talk {
  id: string;
  messages: Map<string, Message>;
  outgoing: Outgoing[];
  members: Member[];
  permissions: Set<string> | undefined;
  threads: Map<string, Conversation>; // by the message that they are under
  typing: Map<string, number>; // user → when it ends
  answers: Answer[];
  older: string | null | undefined; // token of the next page; undefined until the first one
  loading: boolean;
  draft: string;
  replyTo: string | undefined;
  marked: string | undefined; // a message that a search led to
}

export interface Receipts { read: string[]; delivered: string[]; unread: string[] }

const pageSize = 40;
const typingLasts = 4000;

export class Phone {
  readonly me: string;
  readonly api: Api;
  light: Light = 'connecting';
  caughtUp: number | undefined; // events that arrived after a reconnection, for a while
  conversations = new Map<string, Conversation>();
  spaces: Space[] = [];
  channels = new Map<string, Conversation[]>();
  roles = new Map<string, Role[]>();
  spaceMembers = new Map<string, Member[]>();
  invitations: Invitation[] = [];
  talks = new Map<string, Talk>();
  receipts = new Map<string, Receipts>(); // of own messages
  texts = new Map<string, Draft>(); // own messages that were taken back, to write anew or to prove
  loaded = false;
  open: string | undefined; // the conversation that is shown
  before: string[] = []; // those that Back leads to
  notice: { text: string; n: number } | undefined;
  isVisible = () => true;

  #watchers = new Set<() => void>();
  #due = false;
  #stopped = new AbortController();
  #lost = false; // since the stream broke, until it is ready again
  #liveSince = ''; // events before this time were missed; '' once they are no news
  #caughtUpShown: ReturnType<typeof setTimeout> | undefined;
  #gathering = new Map<string, { timer: ReturnType<typeof setTimeout>; ids: Set<string> }>();
  #typed = 0;
  #notices = 0;
  #pictures = new Map<string, Promise<string>>();

  constructor({ user, token, renew }: Person) {
    this.me = user;
    // A device does not receive what it caused, so each phone of each tab is one of its own.
    this.api = new Api(user, `demo-${random()}`, token, renew);
  }

  // ---- watching ----

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => { this.#watchers.delete(watcher); };
  }

  changed(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#watchers.forEach(watcher => watcher());
    });
  }

  /** Shows a short text for some seconds. */
  say(text: string): void {
    const n = ++this.#notices;
    this.notice = { text, n };
    setTimeout(() => {
      if (this.notice?.n === n) this.notice = undefined;
      this.changed();
    }, 5000);
    this.changed();
  }

  /** Does something for the user and shows why if it fails. */
  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** How many messages are unread, but for muted chats and channels. */
  get unread(): number {
    return [...this.conversations.values()].reduce((sum, c) => sum + (c.muted || c.kind === 'channel' ? 0 : c.unread), 0);
  }

  // ---- the stream ----

  start(): void {
    this.api.follow(this.#stopped.signal, {
      event: event => this.received(event),
      light: light => {
        this.#lost = this.loaded;
        this.light = light;
        this.changed();
      },
    }).catch((error: unknown) => {
      this.light = 'stopped'; // the token has expired, perhaps
      this.say(error instanceof Error ? error.message : String(error));
    });
  }

  stop(): void {
    this.#stopped.abort();
    for (const talk of this.talks.values()) for (const answer of talk.answers) answer.reading?.abort();
    for (const url of this.#pictures.values()) void url.then(u => URL.revokeObjectURL(u), () => {});
  }

  received(event: Event): void {
    if (event.type !== 'ready' && 'id' in event && event.at < this.#liveSince) this.caughtUp = (this.caughtUp ?? 0) + 1;
    switch (event.type) {
      case 'ready':
        this.light = 'live';
        if (this.#lost) {
          this.#lost = false;
          this.#liveSince = event.at;
          this.caughtUp = 0;
          this.resend();
          for (const talk of this.talks.values()) if (talk.older !== undefined) void this.#answersOf(talk).catch(() => {});
          clearTimeout(this.#caughtUpShown);
          this.#caughtUpShown = setTimeout(() => {
            this.#liveSince = '';
            this.caughtUp = undefined;
            this.changed();
          }, 6000);
        }
        if (!this.loaded) void this.reload();
        break;
      case 'reset':
        void this.reload();
        break;
      case 'message.created':
        if (event.message) this.#arrived(event.message);
        else this.refresh(event.conversation_id);
        break;
      case 'message.revoked': case 'message.burned': case 'message.expired':
        if (event.message) this.put(event.message);
        this.refresh(event.conversation_id);
        break;
      case 'message.burn_started': {
        const message = this.talks.get(event.conversation_id)?.messages.get(event.message_id);
        if (message?.burn) this.put({ ...message, burn: { ...message.burn, burn_at: event.burn_at } });
        break;
      }
      case 'message.hidden': case 'conversation.hidden': {
        const { up_to_seq: last = 0 } = event;
        const [ids, before] = event.type === 'message.hidden' ? [event.message_ids, event.before] : [];
        this.#forget(event.conversation_id, m => m.seq <= last || !!ids?.includes(m.id) || (!!before && m.created_at < before));
        if (event.type === 'conversation.hidden') this.#left(event.conversation_id);
        else this.refresh(event.conversation_id);
        break;
      }
      case 'receipt.delivered': case 'receipt.read':
        this.#receipt(event);
        break;
      case 'unread.changed': {
        const c = this.conversations.get(event.conversation_id);
        if (c) Object.assign(c, { unread: event.unread, unread_more: event.unread_more, unread_mentions: event.unread_mentions ?? 0 });
        break;
      }
      case 'conversation.trimmed':
        this.#forget(event.conversation_id, m => m.seq < event.first_seq);
        break;
      case 'conversation.created': case 'conversation.updated':
        this.refresh(event.conversation_id);
        break;
      case 'conversation.deleted':
        this.#left(event.conversation_id);
        break;
      case 'member.added': case 'member.removed': case 'member.updated': {
        if (event.space_id) {
          this.#gather('spaces', '', () => void this.loadSpaces().catch(() => {}));
          this.#permissionsAgain();
        }
        if (event.conversation_id) {
          if (event.type === 'member.removed' && event.user === this.me) this.#left(event.conversation_id);
          else {
            this.refresh(event.conversation_id);
            const talk = this.talks.get(event.conversation_id);
            if (talk) void this.#surroundings(talk).catch(() => {});
          }
        }
        break;
      }
      case 'thread.created': case 'thread.updated':
        void this.#thread(event.conversation_id, event.thread_id);
        break;
      case 'thread.deleted': {
        const threads = this.talks.get(event.conversation_id)?.threads;
        for (const [root, thread] of threads ?? []) if (thread.id === event.thread_id) threads?.delete(root);
        this.#left(event.thread_id);
        break;
      }
      case 'conversation.invited': case 'conversation.uninvited': case 'space.invited': case 'space.uninvited':
        void this.loadInvitations().catch(() => {});
        break;
      case 'command':
        if (event.action === 'typing' && event.sender !== this.me) this.#isTyping(event.conversation_id, event.sender);
        break;
      case 'stream.started':
        this.#listenTo(this.talk(event.conversation_id), event.stream_id, event.owner);
        break;
      case 'stream.ended': {
        const talk = this.talk(event.conversation_id);
        const answer = talk.answers.find(a => a.id === event.stream_id);
        if (answer && !answer.reading) this.#ended(talk, answer, event.message_id); // else it is still being read
        break;
      }
      default: // of spaces, channels and roles
        this.#gather('spaces', '', () => void this.loadSpaces().catch(() => {}));
        if (event.type.startsWith('role.') || event.type === 'channel.updated') this.#permissionsAgain();
    }
    this.changed();
  }

  // ---- loading ----

  /** Reads everything that is shown anew. */
  async reload(): Promise<void> {
    try {
      const list = new Map<string, Conversation>();
      for await (const c of this.api.list('/v1/conversations', { query: { limit: 100 } })) list.set(c.id, c);
      for (const [id, c] of this.conversations) if (c.kind === 'thread' || c.kind === 'channel') list.set(id, c);
      this.conversations = list;
      await Promise.all([this.loadSpaces(), this.loadInvitations()]);
      for (const c of [...list.values()].filter(c => c.unread > 0 && c.last_message).slice(0, 50)) this.#delivered(c.id, { up_to: c.last_message!.id });
      const shown = [...this.talks.values()].filter(talk => talk.older !== undefined);
      for (const talk of shown) { talk.messages.clear(); talk.older = undefined; }
      this.loaded = true;
      if (this.open) await this.load(this.open);
    } catch (error) {
      if (error instanceof Problem && error.status < 500) this.say(error.message);
      else setTimeout(() => void this.reload(), 1000);
    }
    this.changed();
  }

  async loadSpaces(): Promise<void> {
    const spaces = await this.api.all('/v1/spaces');
    await Promise.all(spaces.map(async space => {
      const path = { space: space.id };
      const [channels, roles, members] = await Promise.all([
        this.api.all('/v1/spaces/{space}/channels', { path }), this.api.get('/v1/spaces/{space}/roles', { path }), this.api.all('/v1/spaces/{space}/members', { path }),
      ]);
      for (const channel of channels) this.conversations.set(channel.id, channel);
      this.channels.set(space.id, channels);
      this.roles.set(space.id, roles.items);
      this.spaceMembers.set(space.id, members);
    }));
    const seen = new Set(spaces.flatMap(space => (this.channels.get(space.id) ?? []).map(c => c.id)));
    for (const [id, c] of this.conversations) if (c.kind === 'channel' && !seen.has(id)) this.#left(id);
    this.spaces = spaces;
    this.changed();
  }

  async loadInvitations(): Promise<void> {
    this.invitations = await this.api.all('/v1/invitations');
    this.changed();
  }

  /** Reads a conversation anew, once for several reasons. */
  refresh(id: string): void {
    this.#gather('conversation', id, ids => ids.forEach(one => void this.#fetchConversation(one)));
  }

  #fetching = new Set<string>();

  async #fetchConversation(id: string): Promise<Conversation | undefined> {
    this.#fetching.add(id);
    try {
      const c: Conversation = await this.api.get('/v1/conversations/{conversation}', { path: { conversation: id } });
      if (c.hidden) { this.#left(c.id); return c; }
      this.conversations.set(c.id, c);
      if (c.kind === 'channel' && c.space_id) this.channels.set(c.space_id, (this.channels.get(c.space_id) ?? []).map(old => old.id === c.id ? c : old));
      this.changed();
      return c;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.#left(id);
      return undefined;
    } finally {
      this.#fetching.delete(id);
    }
  }

  /** What is known of a conversation, perhaps nothing yet. */
  talk(id: string): Talk {
    let talk = this.talks.get(id);
    if (!talk) {
      talk = {
        id, messages: new Map(), outgoing: [], members: [], permissions: undefined, threads: new Map(), typing: new Map(),
        answers: [], older: undefined, loading: false, draft: '', replyTo: undefined, marked: undefined,
      };
      this.talks.set(id, talk);
    }
    return talk;
  }

  /** Reads the newest messages of a conversation, and what is around them. */
  async load(id: string): Promise<void> {
    const talk = this.talk(id);
    if (talk.older !== undefined) {
      for (const answer of talk.answers) this.#listenTo(talk, answer.id, answer.owner);
      return this.#seen(talk);
    }
    if (!id.startsWith('@') && !this.conversations.has(id)) await this.#fetchConversation(id);
    await this.#page(talk);
    if (talk.older === undefined) return;
    await Promise.all([this.#surroundings(talk), this.#answersOf(talk), this.#receiptsOf(talk)]).catch(() => {});
    this.#seen(talk);
  }

  /** Reads earlier messages. */
  async earlier(id: string): Promise<void> {
    const talk = this.talk(id);
    if (talk.older) await this.#page(talk);
  }

  async #page(talk: Talk): Promise<void> {
    if (talk.loading) return;
    talk.loading = true;
    this.changed();
    try {
      const page: Schemas['MessagePage'] = await this.api.get('/v1/conversations/{conversation}/messages', {
        path: { conversation: talk.id }, query: { limit: pageSize, ...(talk.older && { page_token: talk.older }) },
      });
      for (const message of page.items) this.put(message);
      talk.older = page.next_page_token;
    } catch (error) {
      if (error instanceof Problem && error.status === 404 && talk.id.startsWith('@')) talk.older = null; // its first message creates it
      else if (error instanceof Problem && error.status === 404) this.#left(talk.id);
    } finally {
      talk.loading = false;
      this.changed();
    }
  }

  /** Members, permissions and threads. */
  async #surroundings(talk: Talk): Promise<void> {
    const c = this.conversations.get(talk.id);
    if (!c || c.kind === 'direct') return;
    const path = { conversation: c.id };
    const [members, mine, threads] = await Promise.all([
      this.api.all('/v1/conversations/{conversation}/members', { path }),
      this.api.get('/v1/conversations/{conversation}/permissions', { path }),
      c.kind === 'group' || c.kind === 'channel' ? this.api.all('/v1/conversations/{conversation}/threads', { path }) : [],
    ]);
    talk.members = members;
    talk.permissions = new Set(mine.permissions);
    for (const thread of threads) this.#known(thread, talk);
    this.changed();
  }

  #permissionsAgain(): void {
    for (const talk of this.talks.values()) if (talk.permissions) void this.#surroundings(talk).catch(() => {});
  }

  #known(thread: Conversation, parent: Talk): void {
    this.conversations.set(thread.id, thread);
    if (thread.root_id) parent.threads.set(thread.root_id, thread);
  }

  async #thread(parent: string, id: string): Promise<void> {
    const thread = await this.#fetchConversation(id);
    if (thread) this.#known(thread, this.talk(parent));
    this.changed();
  }

  // ---- messages ----

  /** Takes a message as the server has it. An erased message stays erased if an older answer comes late. */
  put(message: Message): void {
    const talk = this.talk(message.conversation_id);
    const had = talk.messages.get(message.id);
    if (had && had.state !== 'active' && message.state === 'active') return;
    if (had?.state === 'active' && message.state !== 'active') {
      if (had.body?.attachment_id) this.#dropPicture(had.body.attachment_id);
    }
    if (had?.burn?.burn_at && message.burn && !message.burn.burn_at) message = { ...message, burn: had.burn };
    talk.messages.set(message.id, message);
    if (message.sender === this.me && message.client_id) this.#acknowledged(talk, message.client_id);
    const answer = talk.answers.find(a => a.owner === message.sender && a.ended);
    if (answer) talk.answers = talk.answers.filter(a => a !== answer);
    const c = this.conversations.get(message.conversation_id);
    if (c && (!c.last_message || c.last_message.seq <= message.seq)) {
      c.last_message = message;
      if (message.created_at > c.updated_at) c.updated_at = message.created_at;
    }
    this.changed();
  }

  #arrived(message: Message): void {
    const known = this.conversations.get(message.conversation_id);
    const fresh = !this.talk(message.conversation_id).messages.has(message.id) && message.seq > (known?.last_message?.seq ?? 0);
    this.put(message);
    this.talk(message.conversation_id).typing.delete(message.sender);
    // An answer that is under way may be from before the message.
    if (!known || this.#fetching.has(message.conversation_id)) this.refresh(message.conversation_id);
    if (message.sender === this.me || message.state !== 'active') return;
    if (known && known.kind !== 'room') {
      if (fresh && (known.kind !== 'thread' || known.role)) {
        known.unread++;
        if (message.mentions?.includes(this.me) || message.mention_all) known.unread_mentions++;
      }
      this.#gather(`delivered ${message.conversation_id}`, message.id, ids => this.#delivered(message.conversation_id, { message_ids: [...ids] }));
    }
    if (this.open === message.conversation_id) this.#seen(this.talk(message.conversation_id));
  }

  #delivered(conversation: string, which: { message_ids: string[] } | { up_to: string }): void {
    void this.api.post('/v1/conversations/{conversation}/receipts', { path: { conversation }, body: { kind: 'delivered', ...which } }).catch(() => {});
  }

  /** Marks what is shown as read, but for messages behind a cover. */
  seen(): void {
    if (this.open) this.#seen(this.talk(this.open));
  }

  #seen(talk: Talk): void {
    const c = this.conversations.get(talk.id);
    if (this.open !== talk.id || !c || c.kind === 'room' || document.hidden || !this.isVisible() || (c.kind === 'thread' && !c.role)) return;
    const news = [...talk.messages.values()].filter(m => m.sender !== this.me && m.state === 'active' && !m.burn && !this.#read.has(m.id));
    if (news.length === 0) return;
    for (const m of news) this.#read.add(m.id);
    if (c.unread === 0 && news.every(m => m.seq < (c.last_message?.seq ?? 0))) return; // history that was read before
    for (const m of news) this.#gather(`read ${talk.id}`, m.id, ids => void this.#sendRead(talk.id, [...ids].slice(-200)));
  }

  #read = new Set<string>();

  async #sendRead(conversation: string, ids: string[]): Promise<void> {
    try {
      const answer: Schemas['Receipted'] = await this.api.post('/v1/conversations/{conversation}/receipts', {
        path: { conversation }, body: { kind: 'read', message_ids: ids },
      });
      const c = this.conversations.get(conversation);
      if (c) Object.assign(c, { unread: answer.unread, unread_more: answer.unread_more, ...(answer.unread === 0 && { unread_mentions: 0 }) });
    } catch (error) {
      if (!(error instanceof Problem) || error.status >= 500) for (const id of ids) this.#read.delete(id); // once more when it is next shown
    }
    this.changed();
  }

  /** Lifts the cover of a message that burns, which starts its timer. */
  async reveal(message: Message): Promise<void> {
    await this.attempt(async () => {
      const answer: Schemas['Receipted'] = await this.api.post('/v1/conversations/{conversation}/receipts', {
        path: { conversation: message.conversation_id }, body: { kind: 'read', message_ids: [message.id] },
      });
      const c = this.conversations.get(message.conversation_id);
      if (c) c.unread = answer.unread;
      const burning = answer.burning.find(b => b.message_id === message.id);
      if (burning && message.burn) this.put({ ...message, burn: { ...message.burn, burn_at: burning.burn_at } });
      else this.put(await this.api.get('/v1/messages/{message}', { path: { message: message.id } }));
    });
  }

  async burn(message: Message): Promise<void> {
    await this.attempt(async () => this.put(await this.api.post('/v1/messages/{message}/burn', { path: { message: message.id } })));
  }

  async takeBack(message: Message, reason: string): Promise<boolean> {
    const kept = message.type === 'text' && message.body?.text !== undefined ? { type: 'text', body: { text: message.body.text } } as Draft : undefined;
    const tombstone = await this.attempt(() => this.api.post('/v1/messages/{message}/revoke', {
      path: { message: message.id }, body: reason ? { postscript: reason } : {},
    }) as Promise<Message>);
    if (!tombstone) return false;
    if (kept) this.texts.set(message.id, kept);
    this.put(tombstone);
    this.refresh(message.conversation_id);
    return true;
  }

  async hide(message: Message): Promise<void> {
    await this.attempt(async () => {
      await this.api.post('/v1/conversations/{conversation}/hide', { path: { conversation: message.conversation_id }, body: { message_ids: [message.id] } });
      this.#forget(message.conversation_id, m => m.id === message.id);
      this.refresh(message.conversation_id);
    });
  }

  #forget(conversation: string, matches: (m: Message) => boolean): void {
    const talk = this.talks.get(conversation);
    for (const [id, message] of talk?.messages ?? []) if (matches(message)) talk?.messages.delete(id);
  }

  /** Forgets a conversation that is gone, for everyone or for this user. */
  #left(id: string): void {
    this.conversations.delete(id);
    this.talks.delete(id);
    this.before = this.before.filter(other => other !== id);
    if (this.open === id) this.back();
    this.changed();
  }

  // ---- sending ----

  /** Sends a message. It appears at once, and stays until the server has it. */
  send(conversation: string, draft: Draft, file?: File): void {
    const talk = this.talk(conversation);
    const clientId = `demo-${random()}${random()}`;
    const outgoing: Outgoing = {
      clientId, draft: { ...draft, client_id: clientId }, at: new Date().toISOString(), progress: 0,
      state: file ? 'uploading' : 'sending', ...(file && { file, ...(file.type.startsWith('image/') && { preview: URL.createObjectURL(file) }) }),
    };
    talk.outgoing.push(outgoing);
    talk.replyTo = undefined;
    this.changed();
    void this.#deliver(talk, outgoing);
  }

  async #deliver(talk: Talk, outgoing: Outgoing): Promise<void> {
    try {
      if (outgoing.file) {
        outgoing.state = 'uploading';
        const attachment = await this.api.uploaded(outgoing.file, part => { outgoing.progress = part; this.changed(); });
        const kind = attachment.type.split('/')[0];
        const type = (kind === 'image' || kind === 'audio' || kind === 'video' ? kind : 'file') as 'file';
        outgoing.draft = { ...outgoing.draft, type, body: { attachment_id: attachment.id } } as Draft;
        delete outgoing.file;
      }
      outgoing.state = 'sending';
      this.changed();
      const message = await this.api.send(talk.id, outgoing.draft);
      if (talk.id !== message.conversation_id) this.#became(talk, message);
      this.put(message);
      if (!this.conversations.has(message.conversation_id)) this.refresh(message.conversation_id);
      const thread = this.conversations.get(message.conversation_id);
      if (thread?.kind === 'thread' && thread.parent_id) void this.#thread(thread.parent_id, thread.id);
    } catch (error) {
      const final = error instanceof Problem && error.status < 500 && error.status !== 429;
      outgoing.state = final ? 'failed' : 'waiting';
      if (final) outgoing.why = error.message;
      else setTimeout(() => { if (outgoing.state === 'waiting' && this.light === 'live') void this.#deliver(talk, outgoing); }, 1000 * Math.max(1, error instanceof Problem ? error.retryAfter ?? 1 : 1));
    }
    this.changed();
  }

  /** Sends what waits for the server. A repetition has the same client_id, so that nothing is stored twice. */
  resend(): void {
    for (const talk of this.talks.values()) {
      for (const outgoing of talk.outgoing) if (outgoing.state === 'waiting') void this.#deliver(talk, outgoing);
    }
  }

  retry(talk: Talk, outgoing: Outgoing): void { void this.#deliver(talk, outgoing); }

  discard(talk: Talk, outgoing: Outgoing): void { this.#acknowledged(talk, outgoing.clientId); this.changed(); }

  #acknowledged(talk: Talk, clientId: string): void {
    for (const outgoing of talk.outgoing) if (outgoing.clientId === clientId && outgoing.preview) URL.revokeObjectURL(outgoing.preview);
    talk.outgoing = talk.outgoing.filter(outgoing => outgoing.clientId !== clientId);
  }

  /** The first message has created the conversation with a user. */
  #became(talk: Talk, message: Message): void {
    const real = this.talk(message.conversation_id);
    real.outgoing = talk.outgoing;
    real.draft = talk.draft;
    if (real.older === undefined) real.older = null;
    this.talks.delete(talk.id);
    if (this.open === talk.id) this.open = message.conversation_id;
  }

  /** Tells the others that this user is typing, at most every 3 s. */
  typing(conversation: string): void {
    if (Date.now() - this.#typed < 3000 || conversation.startsWith('@')) return;
    this.#typed = Date.now();
    void this.api.command(conversation, { body: { action: 'typing' } }).catch(() => {});
  }

  #isTyping(conversation: string, user: string): void {
    const talk = this.talk(conversation);
    talk.typing.set(user, Date.now() + typingLasts);
    setTimeout(() => {
      if ((talk.typing.get(user) ?? 0) <= Date.now()) talk.typing.delete(user);
      this.changed();
    }, typingLasts + 50);
  }

  // ---- receipts ----

  #receipt({ type, user, conversation_id, message_ids, up_to }: EventOf<'receipt.delivered'> | EventOf<'receipt.read'>): void {
    if (user === this.me) {
      if (type === 'receipt.read') this.refresh(conversation_id); // read on another device
      return;
    }
    for (const m of this.talks.get(conversation_id)?.messages.values() ?? []) {
      // Ids sort by time.
      if (m.sender !== this.me || !(message_ids?.includes(m.id) || (up_to && m.id <= up_to))) continue;
      const had = this.receipts.get(m.id) ?? { read: [], delivered: [], unread: [] };
      const read = type === 'receipt.read' ? added(had.read, user) : had.read;
      this.receipts.set(m.id, { read, delivered: added(had.delivered, user), unread: type === 'receipt.read' ? had.unread.filter(u => u !== user) : had.unread });
    }
  }

  /** Asks who has read the newest own messages. What is older than one that all have read was read, too. */
  async #receiptsOf(talk: Talk): Promise<void> {
    const c = this.conversations.get(talk.id);
    if (!c || (c.kind !== 'direct' && c.kind !== 'group')) return;
    const mine = [...talk.messages.values()].filter(m => m.sender === this.me && (c.kind === 'direct' || m.receipt)).sort((a, b) => b.seq - a.seq);
    for (const [i, m] of mine.slice(0, 8).entries()) {
      const receipts = await this.receiptsOf(m);
      if (!receipts || receipts.unread.length > 0 || m.burn) continue;
      for (const older of mine.slice(i + 1)) if (!older.burn) this.receipts.set(older.id, { ...receipts });
      break;
    }
  }

  async receiptsOf(message: Message): Promise<Receipts | undefined> {
    try {
      const all: Schemas['Receipts'] = await this.api.get('/v1/messages/{message}/receipts', { path: { message: message.id } });
      // Receipts only become more: an event may have been faster than this answer.
      const had = this.receipts.get(message.id);
      const read = all.read.map(r => r.user).concat(had?.read ?? []), delivered = all.delivered.map(r => r.user).concat(had?.delivered ?? []);
      const receipts = { read: [...new Set(read)], delivered: [...new Set(delivered)], unread: all.unread.filter(user => !read.includes(user)) };
      this.receipts.set(message.id, receipts);
      this.changed();
      return receipts;
    } catch {
      return undefined; // it was not asked for
    }
  }

  // ---- data streams ----

  async #answersOf(talk: Talk): Promise<void> {
    if (talk.id.startsWith('@')) return;
    const streams = await this.api.all('/v1/streams', { query: { conversation_id: talk.id } });
    talk.answers = talk.answers.filter(a => a.reading || streams.some(s => s.id === a.id));
    for (const stream of streams) this.#listenTo(talk, stream.id, stream.owner);
    this.changed();
  }

  /** Shows that an answer is being written, and what, if its chat is open. */
  #listenTo(talk: Talk, id: string, owner: string): void {
    let answer = talk.answers.find(a => a.id === id);
    if (!answer) {
      answer = { id, owner, text: '', reading: undefined, ended: false };
      talk.answers.push(answer);
    }
    if (!answer.reading && !answer.ended && this.open === talk.id) void this.#readAnswer(talk, answer);
  }

  async #readAnswer(talk: Talk, answer: Answer): Promise<void> {
    const reading = answer.reading = new AbortController();
    let message: string | undefined;
    try {
      const had = await withConnection(async () => {
        answer.text = '';
        message = await this.api.read(answer.id, reading.signal, text => { answer.text += text; this.changed(); });
      });
      if (!had) { answer.reading = undefined; return; } // stream.ended says when it ends
    } catch { /* it is gone, or this user may not read it any more */ }
    this.#ended(talk, answer, message);
  }

  #ended(talk: Talk, answer: Answer, message: string | undefined): void {
    answer.reading = undefined;
    answer.ended = true;
    if (!message || talk.messages.has(message)) talk.answers = talk.answers.filter(a => a !== answer);
    this.changed();
  }

  // ---- attachments ----

  /** The URL of a thumbnail, which the server makes soon after the upload. */
  thumbnail(attachment: string): Promise<string> {
    let url = this.#pictures.get(attachment);
    if (!url) {
      url = this.#picture(attachment);
      this.#pictures.set(attachment, url);
      url.catch(() => this.#pictures.delete(attachment));
    }
    return url;
  }

  async #picture(attachment: string): Promise<string> {
    for (let tries = 0; ; tries++) {
      try {
        return URL.createObjectURL(await (await this.api.download(attachment, { thumbnail: true })).blob());
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== 'thumbnail_pending' || tries > 20) throw error;
        await new Promise(resolve => setTimeout(resolve, 300 * (tries + 1)));
      }
    }
  }

  #dropPicture(attachment: string): void {
    void this.#pictures.get(attachment)?.then(url => URL.revokeObjectURL(url), () => {});
    this.#pictures.delete(attachment);
  }

  async file(attachment: string): Promise<Blob> { return (await this.api.download(attachment)).blob(); }

  // ---- moving about ----

  show(id: string, from?: string): void {
    this.before = from ? [...this.before, from] : [];
    this.open = id;
    this.changed();
    void this.load(id);
  }

  back(): void {
    this.open = this.before.pop();
    this.changed();
    if (this.open) void this.load(this.open);
  }

  /** Shows a message that was found, with what is around it. */
  async jump(conversation: string, message: string): Promise<void> {
    this.show(conversation);
    const talk = this.talk(conversation);
    await this.load(conversation);
    for (let pages = 0; pages < 50 && talk.older && !talk.messages.has(message); pages++) await this.#page(talk);
    talk.marked = message;
    this.changed();
  }

  // ---- conversations ----

  update(c: Conversation, body: Schemas['UpdateConversation']): Promise<unknown> {
    return this.attempt(async () => {
      this.conversations.set(c.id, await this.api.patch('/v1/conversations/{conversation}', { path: { conversation: c.id }, body }));
      this.changed();
    });
  }

  async createGroup(name: string, members: string[]): Promise<void> {
    await this.attempt(async () => {
      const c: Conversation = await this.api.post('/v1/conversations', { body: { kind: 'group', name, members } });
      this.conversations.set(c.id, c);
      this.show(c.id);
    });
  }

  async startThread(message: Message, name: string): Promise<void> {
    await this.attempt(async () => {
      const thread: Conversation = await this.api.post('/v1/messages/{message}/thread', { path: { message: message.id }, body: { name } });
      this.#known(thread, this.talk(message.conversation_id));
      this.show(thread.id, message.conversation_id);
    });
  }

  async join(id: string): Promise<void> {
    await this.attempt(async () => {
      const c: Conversation = await this.api.post('/v1/conversations/{conversation}/join', { path: { conversation: id } });
      this.conversations.set(c.id, c);
      if (c.parent_id) this.#known(c, this.talk(c.parent_id));
      const talk = this.talk(id);
      if (talk.older !== undefined) await this.#surroundings(talk);
      await this.loadInvitations();
    });
  }

  async invitation(invitation: Invitation, accept: boolean): Promise<void> {
    const { conversation_id: conversation, space_id: space } = invitation;
    if (accept && conversation) { await this.join(conversation); this.show(conversation); }
    await this.attempt(async () => {
      if (accept && space) { await this.api.post('/v1/spaces/{space}/join', { path: { space } }); await this.loadSpaces(); }
      if (!accept && conversation) await this.api.delete('/v1/conversations/{conversation}/invitations/{user}', { path: { conversation, user: this.me } });
      if (!accept && space) await this.api.delete('/v1/spaces/{space}/invitations/{user}', { path: { space, user: this.me } });
      await this.loadInvitations();
    });
  }

  async addMember(c: Conversation, user: string): Promise<void> {
    await this.attempt(async () => {
      await this.api.post('/v1/conversations/{conversation}/members', { path: { conversation: c.id }, body: { members: [user] } });
      await this.#surroundings(this.talk(c.id));
      this.refresh(c.id);
    });
  }

  async removeMember(c: Conversation, user: string): Promise<void> {
    await this.attempt(async () => {
      await this.api.delete('/v1/conversations/{conversation}/members/{user}', { path: { conversation: c.id, user } });
      await this.#surroundings(this.talk(c.id));
      this.refresh(c.id);
    });
  }

  async leave(c: Conversation): Promise<void> {
    await this.attempt(async () => {
      await this.api.post('/v1/conversations/{conversation}/leave', { path: { conversation: c.id } });
      this.#left(c.id);
    });
  }

  /** Hides a conversation for this user, or deletes it for everyone. */
  async remove(c: Conversation, scope: 'me' | 'everyone'): Promise<void> {
    await this.attempt(async () => {
      await this.api.delete('/v1/conversations/{conversation}', { path: { conversation: c.id }, query: { scope } });
      this.#left(c.id);
    });
  }

  async giveRole(space: string, role: string, user: string, given: boolean): Promise<void> {
    await this.attempt(async () => {
      const path = { space, role, user };
      await (given ? this.api.put('/v1/spaces/{space}/roles/{role}/members/{user}', { path }) : this.api.delete('/v1/spaces/{space}/roles/{role}/members/{user}', { path }));
      await this.loadSpaces();
      this.#permissionsAgain();
    });
  }

  async search(text: string): Promise<Message[]> {
    const page: Schemas['MessagePage'] = await this.api.get('/v1/messages/search', { query: { q: text, limit: 50 } });
    return page.items;
  }

  /** Does something once for all ids that are gathered for a while. */
  #gather(what: string, id: string, work: (ids: Set<string>) => void): void {
    const had = this.#gathering.get(what);
    if (had) { had.ids.add(id); return; }
    const ids = new Set([id]);
    this.#gathering.set(what, { ids, timer: setTimeout(() => { this.#gathering.delete(what); work(ids); }, 120) });
  }
}

function added(list: string[], item: string): string[] { return list.includes(item) ? list : [...list, item]; }

export function random(): string {
  return crypto.getRandomValues(new Uint32Array(2)).reduce((text, n) => text + n.toString(36), '');
}
