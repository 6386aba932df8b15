// What one person writes: messages and files under way, taking back, hiding, and the sign of typing.
import type { Draft, Message } from '@imapi/client';
import { Problem } from './api';
import type { Phone } from './phone';
import { random, type Outgoing, type Talk } from './state';
import { explained } from './words';

export class Sending {
  #typed = 0;

  constructor(private readonly phone: Phone) {}

  /** Sends a message. It appears at once, and stays until the server has it. */
  send(conversation: string, draft: Draft, file?: File): void {
    const talk = this.phone.talk(conversation);
    const clientId = `demo-${random()}${random()}`;
    const outgoing: Outgoing = {
      clientId, draft: { ...draft, client_id: clientId }, at: new Date().toISOString(), progress: 0, stop: new AbortController(),
      state: file ? 'uploading' : 'sending', ...(file && { file, ...(file.type.startsWith('image/') && { preview: URL.createObjectURL(file) }) }),
    };
    talk.outgoing.push(outgoing);
    talk.replyTo = undefined;
    this.phone.changed();
    void this.deliver(talk, outgoing);
  }

  /** Sends what is under way, once more if it was tried before: the same client_id keeps it one message. */
  async deliver(talk: Talk, outgoing: Outgoing): Promise<void> {
    const { phone } = this;
    try {
      if (outgoing.file) {
        outgoing.state = 'uploading';
        phone.changed();
        const attachment = await phone.api.uploaded(outgoing.file, outgoing.stop.signal, part => { outgoing.progress = part; phone.changed(); });
        const kind = attachment.type.split('/')[0];
        const type = (kind === 'image' || kind === 'audio' || kind === 'video' ? kind : 'file') as 'file';
        outgoing.draft = { ...outgoing.draft, type, body: { attachment_id: attachment.id } } as Draft;
        delete outgoing.file;
      }
      if (outgoing.stop.signal.aborted) return;
      outgoing.state = 'sending';
      phone.changed();
      const message = await phone.api.send(talk.id, outgoing.draft);
      if (talk.id !== message.conversation_id) this.#became(talk, message);
      phone.put(message);
      if (!phone.conversations.has(message.conversation_id)) phone.loading.refresh(message.conversation_id);
      const thread = phone.conversations.get(message.conversation_id);
      if (thread?.kind === 'thread' && thread.parent_id) void phone.loading.thread(thread.parent_id, thread.id);
    } catch (error) {
      if (outgoing.stop.signal.aborted) return;
      const final = error instanceof Problem && error.status < 500 && error.status !== 429;
      outgoing.state = final ? 'failed' : 'waiting';
      if (final) outgoing.why = explained(error);
      else setTimeout(() => { if (outgoing.state === 'waiting' && phone.light === 'live') void this.deliver(talk, outgoing); }, 1000 * Math.max(1, error instanceof Problem ? error.retryAfter ?? 1 : 1));
    }
    phone.changed();
  }

  /** Sends what waits for the server. */
  resend(): void {
    for (const talk of this.phone.talks.values()) {
      for (const outgoing of talk.outgoing) if (outgoing.state === 'waiting') void this.deliver(talk, outgoing);
    }
  }

  /** Forgets what was not sent, and stops its upload. */
  discard(talk: Talk, outgoing: Outgoing): void {
    outgoing.stop.abort();
    this.phone.acknowledged(talk, outgoing.clientId);
    this.phone.changed();
  }

  /** The first message has created the conversation with a user. */
  #became(talk: Talk, message: Message): void {
    const { phone } = this;
    const real = phone.talk(message.conversation_id);
    real.outgoing = talk.outgoing;
    real.draft = talk.draft;
    if (real.older === undefined) real.older = null;
    phone.talks.delete(talk.id);
    if (phone.open === talk.id) phone.open = message.conversation_id;
  }

  /** Takes a message back, and keeps its text to write it anew. */
  async takeBack(message: Message, reason: string): Promise<void> {
    const { phone } = this;
    const kept = message.type === 'text' && message.body?.text !== undefined ? { type: 'text', body: { text: message.body.text } } as Draft : undefined;
    const tombstone = await phone.api.post('/v1/messages/{message}/revoke', {
      path: { message: message.id }, body: reason ? { postscript: reason } : {},
    }) as Message;
    if (kept && message.sender === phone.me) phone.texts.set(message.id, kept);
    phone.put(tombstone);
    phone.loading.refresh(message.conversation_id);
  }

  async burn(message: Message): Promise<void> {
    const { phone } = this;
    await phone.attempt(async () => phone.put(await phone.api.post('/v1/messages/{message}/burn', { path: { message: message.id } })));
  }

  async hide(message: Message): Promise<void> {
    const { phone } = this;
    await phone.attempt(async () => {
      await phone.api.post('/v1/conversations/{conversation}/hide', { path: { conversation: message.conversation_id }, body: { message_ids: [message.id] } });
      phone.forget(message.conversation_id, m => m.id === message.id);
      phone.loading.refresh(message.conversation_id);
    });
  }

  /** Tells the others that this user is typing, at most every 3 s. */
  typing(conversation: string): void {
    if (Date.now() - this.#typed < 3000 || conversation.startsWith('@')) return;
    this.#typed = Date.now();
    void this.phone.api.command(conversation, { body: { action: 'typing' } }).catch(() => {});
  }
}
