// Answers that stream in: data streams that write a message in a conversation.
import { withConnection } from './api';
import type { Phone } from './phone';
import type { Answer, Talk } from './state';

export class Answers {
  constructor(private readonly phone: Phone) {}

  /** Asks which answers are being written in a conversation, and reads them. */
  async load(talk: Talk): Promise<void> {
    if (talk.id.startsWith('@')) return;
    const streams = await this.phone.api.all('/v1/streams', { query: { conversation_id: talk.id } });
    talk.answers = talk.answers.filter(a => a.reading || streams.some(s => s.id === a.id));
    for (const stream of streams) this.listen(talk, stream.id, stream.owner);
    this.phone.changed();
  }

  /** Shows that an answer is being written, and what, if its chat is open. */
  listen(talk: Talk, id: string, owner: string): void {
    let answer = talk.answers.find(a => a.id === id);
    if (!answer) {
      answer = { id, owner, text: '', reading: undefined, ended: false };
      talk.answers.push(answer);
    }
    if (!answer.reading && !answer.ended && this.phone.open === talk.id) void this.#read(talk, answer);
  }

  async #read(talk: Talk, answer: Answer): Promise<void> {
    const reading = answer.reading = new AbortController();
    let message: string | undefined;
    try {
      const had = await withConnection(async () => {
        answer.text = '';
        message = await this.phone.api.read(answer.id, reading.signal, text => { answer.text += text; this.phone.changed(); });
      });
      if (!had) { answer.reading = undefined; return; } // stream.ended says when it ends
    } catch { /* it is gone, or this user may not read it any more */ }
    this.#ended(talk, answer, message);
  }

  /** Takes note that a stream ended, unless it is still being read. */
  ended(talk: Talk, id: string, message: string | undefined): void {
    const answer = talk.answers.find(a => a.id === id);
    if (answer && !answer.reading) this.#ended(talk, answer, message);
  }

  #ended(talk: Talk, answer: Answer, message: string | undefined): void {
    answer.reading = undefined;
    answer.ended = true;
    if (!message || talk.messages.has(message)) talk.answers = talk.answers.filter(a => a !== answer);
    this.phone.changed();
  }

  stop(): void {
    for (const talk of this.phone.talks.values()) for (const answer of talk.answers) answer.reading?.abort();
  }
}
