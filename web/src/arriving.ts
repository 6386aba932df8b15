// The event stream of one person: what each event changes, and how the stream is.
import type { Event, Message } from '@imapi/client';
import type { Light } from './api';
import type { Phone } from './phone';
import { explained } from './words';

export class Arriving {
  #stopped = new AbortController();
  #lost = false; // since the stream broke, until it is ready again
  #liveSince = ''; // events before this time were missed; '' once they are no news
  #caughtUpShown: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly phone: Phone) {}

  start(): void {
    const { phone } = this;
    phone.api.follow(this.#stopped.signal, {
      event: event => this.#received(event),
      light: light => this.#light(light),
    }).catch((error: unknown) => {
      phone.light = 'stopped'; // the token has expired, perhaps
      phone.say(explained(error));
    });
  }

  stop(): void { this.#stopped.abort(); }

  #light(light: Light): void {
    this.#lost = this.phone.loaded;
    this.phone.light = light;
    this.phone.changed();
  }

  #ready(at: string): void {
    const { phone } = this;
    phone.light = 'live';
    if (this.#lost) {
      this.#lost = false;
      this.#liveSince = at;
      phone.caughtUp = 0;
      phone.sending.resend();
      for (const talk of phone.talks.values()) if (talk.older !== undefined) void phone.answers.load(talk).catch(() => {});
      clearTimeout(this.#caughtUpShown);
      this.#caughtUpShown = setTimeout(() => {
        this.#liveSince = '';
        phone.caughtUp = undefined;
        phone.changed();
      }, 6000);
    }
    if (!phone.loaded) void phone.loading.everything();
  }

  #received(event: Event): void {
    const { phone } = this;
    if (event.type !== 'ready' && 'id' in event && event.at < this.#liveSince) phone.caughtUp = (phone.caughtUp ?? 0) + 1;
    switch (event.type) {
      case 'ready':
        this.#ready(event.at);
        break;
      case 'reset':
        void phone.loading.everything();
        break;
      case 'message.created':
        if (event.message) this.#arrived(event.message);
        else phone.loading.refresh(event.conversation_id);
        break;
      case 'message.revoked': case 'message.burned': case 'message.expired':
        if (event.message) phone.put(event.message);
        phone.loading.refresh(event.conversation_id);
        break;
      case 'message.burn_started': {
        const message = phone.talks.get(event.conversation_id)?.messages.get(event.message_id);
        if (message?.burn) phone.put({ ...message, burn: { ...message.burn, burn_at: event.burn_at } });
        break;
      }
      case 'message.hidden': case 'conversation.hidden': {
        const { up_to_seq: last = 0 } = event;
        const [ids, before] = event.type === 'message.hidden' ? [event.message_ids, event.before] : [];
        phone.forget(event.conversation_id, m => m.seq <= last || !!ids?.includes(m.id) || (!!before && m.created_at < before));
        if (event.type === 'conversation.hidden') phone.left(event.conversation_id);
        else phone.loading.refresh(event.conversation_id);
        break;
      }
      case 'receipt.delivered': case 'receipt.read':
        phone.receipts.received(event);
        break;
      case 'unread.changed': {
        const c = phone.conversations.get(event.conversation_id);
        if (c) Object.assign(c, { unread: event.unread, unread_more: event.unread_more, unread_mentions: event.unread_mentions ?? 0 });
        break;
      }
      case 'conversation.trimmed':
        phone.forget(event.conversation_id, m => m.seq < event.first_seq);
        break;
      case 'conversation.created': case 'conversation.updated':
        phone.loading.refresh(event.conversation_id);
        break;
      case 'conversation.deleted':
        phone.left(event.conversation_id);
        break;
      case 'member.added': case 'member.removed': case 'member.updated':
        if (event.space_id) this.#spaces(true);
        if (!event.conversation_id) break;
        if (event.type === 'member.removed' && event.user === phone.me) phone.left(event.conversation_id);
        else {
          phone.loading.refresh(event.conversation_id);
          const talk = phone.talks.get(event.conversation_id);
          if (talk) void phone.loading.surroundings(talk).catch(() => {});
        }
        break;
      case 'thread.created': case 'thread.updated':
        void phone.loading.thread(event.conversation_id, event.thread_id);
        break;
      case 'thread.deleted': {
        const threads = phone.talks.get(event.conversation_id)?.threads;
        for (const [root, thread] of threads ?? []) if (thread.id === event.thread_id) threads?.delete(root);
        phone.left(event.thread_id);
        break;
      }
      case 'conversation.invited': case 'conversation.uninvited': case 'space.invited': case 'space.uninvited':
        void phone.loading.invitations().catch(() => {});
        break;
      case 'command':
        if (event.action === 'typing' && event.sender !== phone.me) phone.isTyping(event.conversation_id, event.sender);
        break;
      case 'stream.started':
        phone.answers.listen(phone.talk(event.conversation_id), event.stream_id, event.owner);
        break;
      case 'stream.ended':
        phone.answers.ended(phone.talk(event.conversation_id), event.stream_id, event.message_id);
        break;
      case 'block.created': case 'block.deleted':
        break; // no list of blocks is shown
      default: // of spaces, channels and roles
        this.#spaces(event.type.startsWith('role.') || event.type === 'channel.updated');
    }
    phone.changed();
  }

  #spaces(permissions: boolean): void {
    this.phone.gather('spaces', '', () => void this.phone.loading.spaces().catch(() => {}));
    if (permissions) this.phone.loading.permissions();
  }

  #arrived(message: Message): void {
    const { phone } = this;
    const known = phone.conversations.get(message.conversation_id);
    const talk = phone.talk(message.conversation_id);
    const fresh = !talk.messages.has(message.id) && message.seq > (known?.last_message?.seq ?? 0);
    phone.put(message);
    talk.typing.delete(message.sender);
    // An answer that is under way may be from before the message.
    if (!known || phone.loading.isFetching(message.conversation_id)) phone.loading.refresh(message.conversation_id);
    if (message.sender === phone.me || message.state !== 'active') return;
    if (known && known.kind !== 'room') {
      if (fresh && (known.kind !== 'thread' || known.role)) {
        known.unread++;
        if (message.mentions?.includes(phone.me) || message.mention_all) known.unread_mentions++;
      }
      phone.gather(`delivered ${talk.id}`, message.id, ids => phone.receipts.delivered(talk.id, { message_ids: [...ids] }));
    }
    if (phone.open === talk.id) phone.receipts.seen(talk);
  }
}
