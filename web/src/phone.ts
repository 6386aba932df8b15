// One person's phone: what they see (state.ts), its parts, and moving about in it. The parts
// find each other here.
import { Answers } from './answers';
import { Api } from './api';
import { Arriving } from './arriving';
import { Loading } from './loading';
import { Managing } from './managing';
import { Receipts } from './receipts';
import { Sending } from './sending';
import type { Person } from './session';
import { random, State } from './state';

export class Phone extends State {
  readonly arriving = new Arriving(this);
  readonly loading = new Loading(this);
  readonly receipts = new Receipts(this);
  readonly sending = new Sending(this);
  readonly answers = new Answers(this);
  readonly managing = new Managing(this);

  constructor({ user, token, renew }: Person) {
    // A device does not receive what it caused, so each phone of each tab is one of its own.
    super(user, new Api(user, `demo-${random()}`, token, renew));
  }

  stop(): void {
    this.arriving.stop();
    this.answers.stop();
    this.files.dropAll();
  }

  show(id: string, from?: string): void {
    this.before = from ? [...this.before, from] : [];
    this.open = id;
    this.changed();
    void this.loading.conversation(id);
  }

  back(): void {
    this.open = this.before.pop();
    this.changed();
    if (this.open) void this.loading.conversation(this.open);
  }

  /** Shows a message that was found, with what is around it. */
  async jump(conversation: string, message: string): Promise<void> {
    if (this.open !== conversation) this.show(conversation);
    const talk = this.talk(conversation);
    await this.loading.conversation(conversation);
    for (let pages = 0; pages < 50 && talk.older && !talk.messages.has(message); pages++) await this.loading.page(talk);
    talk.marked = message;
    this.changed();
  }

  /**
   * Asks what a request without an answer may have changed: a device receives no events of what
   * it caused.
   */
  askAgain(): void {
    if (this.open && !this.open.startsWith('@')) this.loading.refresh(this.open);
    void this.loading.spaces().catch(() => {});
  }

  /** Marks what is shown as read. */
  seen(): void { if (this.open) this.receipts.seen(this.talk(this.open)); }

  /** Forgets a conversation that is gone, for everyone or for this person. */
  left(id: string): void {
    this.conversations.delete(id);
    this.talks.delete(id);
    for (const community of this.spaces.values()) community.channels = community.channels.filter(c => c.id !== id);
    this.before = this.before.filter(other => other !== id);
    if (this.open === id) this.back();
    this.changed();
  }
}
