// Receipts: what this person has received and read, and who has read what they wrote.
import type { EventOf, Message, Schemas } from '@imapi/client';
import { Problem } from './api';
import type { Phone } from './phone';
import type { Readers, Talk } from './state';

export class Receipts {
  #sent = new Set<string>(); // messages that were marked as read

  constructor(private readonly phone: Phone) {}

  delivered(conversation: string, which: { message_ids: string[] } | { up_to: string }): void {
    void this.phone.api.post('/v1/conversations/{conversation}/receipts', { path: { conversation }, body: { kind: 'delivered', ...which } }).catch(() => {});
  }

  /** Marks what is shown as read, but for messages behind a cover. */
  seen(talk: Talk): void {
    const { phone } = this;
    const c = phone.conversations.get(talk.id);
    if (phone.open !== talk.id || !c || c.kind === 'room' || document.hidden || !phone.isVisible() || (c.kind === 'thread' && !c.role)) return;
    const news = [...talk.messages.values()].filter(m => m.sender !== phone.me && m.state === 'active' && !m.burn && !this.#sent.has(m.id));
    if (news.length === 0) return;
    for (const m of news) this.#sent.add(m.id);
    if (c.unread === 0 && news.every(m => m.seq < (c.last_message?.seq ?? 0))) return; // history that was read before
    for (const m of news) phone.gather(`read ${talk.id}`, m.id, ids => void this.#read(talk.id, [...ids].slice(-200)));
  }

  async #read(conversation: string, ids: string[]): Promise<void> {
    const { phone } = this;
    try {
      const answer: Schemas['Receipted'] = await phone.api.post('/v1/conversations/{conversation}/receipts', {
        path: { conversation }, body: { kind: 'read', message_ids: ids },
      });
      const c = phone.conversations.get(conversation);
      if (c) Object.assign(c, { unread: answer.unread, unread_more: answer.unread_more, ...(answer.unread === 0 && { unread_mentions: 0 }) });
    } catch (error) {
      if (!(error instanceof Problem) || error.status >= 500) for (const id of ids) this.#sent.delete(id); // once more when it is next shown
    }
    phone.changed();
  }

  /** Lifts the cover of a message that burns, which starts its timer. */
  async reveal(message: Message): Promise<void> {
    const { phone } = this;
    await phone.attempt(async () => {
      const answer: Schemas['Receipted'] = await phone.api.post('/v1/conversations/{conversation}/receipts', {
        path: { conversation: message.conversation_id }, body: { kind: 'read', message_ids: [message.id] },
      });
      const c = phone.conversations.get(message.conversation_id);
      if (c) c.unread = answer.unread;
      const burning = answer.burning.find(b => b.message_id === message.id);
      if (burning && message.burn) phone.put({ ...message, burn: { ...message.burn, burn_at: burning.burn_at } });
      else phone.put(await phone.api.get('/v1/messages/{message}', { path: { message: message.id } }));
    });
  }

  /** Applies a receipt that an event has brought. */
  received({ type, user, conversation_id, message_ids, up_to }: EventOf<'receipt.delivered'> | EventOf<'receipt.read'>): void {
    const { phone } = this;
    if (user === phone.me) {
      if (type === 'receipt.read') phone.loading.refresh(conversation_id); // read on another device
      return;
    }
    for (const m of phone.talks.get(conversation_id)?.messages.values() ?? []) {
      // Ids sort by time.
      if (m.sender !== phone.me || !(message_ids?.includes(m.id) || (up_to && m.id <= up_to))) continue;
      const had = phone.readers.get(m.id) ?? { read: [], delivered: [], unread: [] };
      const read = type === 'receipt.read' ? added(had.read, user) : had.read;
      phone.readers.set(m.id, { read, delivered: added(had.delivered, user), unread: type === 'receipt.read' ? had.unread.filter(u => u !== user) : had.unread });
    }
  }

  /** Asks who has read the newest own messages. Those before one that all have read count as read. */
  async load(talk: Talk): Promise<void> {
    const { phone } = this;
    const c = phone.conversations.get(talk.id);
    if (!c || (c.kind !== 'direct' && c.kind !== 'group')) return;
    const mine = [...talk.messages.values()].filter(m => m.sender === phone.me && (c.kind === 'direct' || m.receipt)).sort((a, b) => b.seq - a.seq);
    for (const [i, m] of mine.slice(0, 8).entries()) {
      const readers = await this.of(m);
      if (!readers || readers.unread.length > 0 || m.burn) continue;
      for (const older of mine.slice(i + 1)) if (!older.burn) phone.readers.set(older.id, { ...readers });
      break;
    }
  }

  /** Asks who has read an own message. */
  async of(message: Message): Promise<Readers | undefined> {
    const { phone } = this;
    try {
      const all: Schemas['Receipts'] = await phone.api.get('/v1/messages/{message}/receipts', { path: { message: message.id } });
      // Receipts only become more: an event may have been faster than this answer.
      const had = phone.readers.get(message.id);
      const read = all.read.map(r => r.user).concat(had?.read ?? []), delivered = all.delivered.map(r => r.user).concat(had?.delivered ?? []);
      const readers = { read: [...new Set(read)], delivered: [...new Set(delivered)], unread: all.unread.filter(user => !read.includes(user)) };
      phone.readers.set(message.id, readers);
      phone.changed();
      return readers;
    } catch {
      return undefined; // the message was sent without receipt, perhaps
    }
  }
}

function added(list: string[], item: string): string[] { return list.includes(item) ? list : [...list, item]; }
