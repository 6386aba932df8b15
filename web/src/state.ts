// What one person sees: conversations, messages, receipts, and what is under way. It is always
// what the server said last, in answers and events, in whatever order these come.
import type { Conversation, Draft, Message, Schemas } from '@imapi/client';
import type { Api, Light } from './api';
import { Files } from './files';
import { Watched } from './watched';
import { explained } from './words';

export type Member = Pick<Schemas['Member'], 'user'> & { role: string; roles?: string[] };
export type Space = Schemas['Space'];
export type Role = Schemas['SpaceRole'];
export type Invitation = Schemas['Invitation'];
export type Permission = Schemas['Permission'];

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
  stop: AbortController; // of the upload
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
  permissions: Set<Permission> | undefined;
  threads: Map<string, Conversation>; // by the message that they are under
  typing: Map<string, number>; // user → when it ends
  answers: Answer[];
  older: string | null | undefined; // token of the next page; undefined until the first one
  loading: boolean;
  draft: string;
  replyTo: string | undefined;
  marked: string | undefined; // a message that a search led to
}

/** Who has received and read a message. */
export interface Readers { read: string[]; delivered: string[]; unread: string[] }

/** A space, with what this person sees of it. */
export interface Community {
  space: Space;
  channels: Conversation[];
  roles: Role[];
  members: Member[];
  permissions: Set<Permission>;
}

export class State extends Watched {
  readonly files: Files;
  light: Light = 'connecting';
  caughtUp: number | undefined; // events that arrived after a reconnection, for a while
  conversations = new Map<string, Conversation>();
  spaces = new Map<string, Community>();
  invitations: Invitation[] = []; // of this person
  invited = new Map<string, Invitation[]>(); // of others, to a conversation or space, once they were asked for
  talks = new Map<string, Talk>();
  readers = new Map<string, Readers>(); // of own messages
  texts = new Map<string, Draft>(); // own messages that were taken back, to write anew or to prove
  loaded = false;
  open: string | undefined; // the conversation that is shown
  before: string[] = []; // those that Back leads to
  notice: { text: string; n: number } | undefined;
  isVisible = () => true;
  #notices = 0;
  #gathering = new Map<string, Set<string>>();

  constructor(readonly me: string, readonly api: Api) {
    super(work => queueMicrotask(work));
    this.files = new Files(api);
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
      this.say(explained(error));
      return undefined;
    }
  }

  /** Does something once for all ids that are gathered for a while. */
  gather(what: string, id: string, work: (ids: Set<string>) => void): void {
    const had = this.#gathering.get(what);
    if (had) { had.add(id); return; }
    const ids = new Set([id]);
    this.#gathering.set(what, ids);
    setTimeout(() => { this.#gathering.delete(what); work(ids); }, 120);
  }

  /** How many messages are unread, but for muted chats and channels. */
  get unread(): number {
    return [...this.conversations.values()].reduce((sum, c) => sum + (c.muted || c.kind === 'channel' ? 0 : c.unread), 0);
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

  /** Takes a message as the server has it. An erased message stays erased if an older answer comes late. */
  put(message: Message): void {
    const talk = this.talk(message.conversation_id);
    const had = talk.messages.get(message.id);
    if (had && had.state !== 'active' && message.state === 'active') return;
    if (had?.state === 'active' && message.state !== 'active' && had.body?.attachment_id) this.files.drop(had.body.attachment_id);
    if (had?.burn?.burn_at && message.burn && !message.burn.burn_at) message = { ...message, burn: had.burn };
    talk.messages.set(message.id, message);
    if (message.sender === this.me && message.client_id) this.acknowledged(talk, message.client_id);
    const answer = talk.answers.find(a => a.owner === message.sender && a.ended);
    if (answer) talk.answers = talk.answers.filter(a => a !== answer);
    const c = this.conversations.get(message.conversation_id);
    if (c && (!c.last_message || c.last_message.seq <= message.seq)) {
      c.last_message = message;
      if (message.created_at > c.updated_at) c.updated_at = message.created_at;
    }
    this.changed();
  }

  /** Forgets what was to be sent. */
  acknowledged(talk: Talk, clientId: string): void {
    for (const outgoing of talk.outgoing) if (outgoing.clientId === clientId && outgoing.preview) URL.revokeObjectURL(outgoing.preview);
    talk.outgoing = talk.outgoing.filter(outgoing => outgoing.clientId !== clientId);
  }

  /** Forgets messages that this person does not see any more. */
  forget(conversation: string, matches: (m: Message) => boolean): void {
    const talk = this.talks.get(conversation);
    for (const [id, message] of talk?.messages ?? []) if (matches(message)) talk?.messages.delete(id);
  }

  /** Takes a thread as the server has it. */
  known(thread: Conversation, parent: Talk): void {
    this.conversations.set(thread.id, thread);
    if (thread.root_id) parent.threads.set(thread.root_id, thread);
  }

  isTyping(conversation: string, user: string): void {
    const talk = this.talk(conversation);
    talk.typing.set(user, Date.now() + typingLasts);
    setTimeout(() => {
      if ((talk.typing.get(user) ?? 0) <= Date.now()) talk.typing.delete(user);
      this.changed();
    }, typingLasts + 50);
  }
}

const typingLasts = 4000; // ms

export function random(): string {
  return crypto.getRandomValues(new Uint32Array(2)).reduce((text, n) => text + n.toString(36), '');
}
