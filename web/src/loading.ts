// Reading from the server what is shown.
import type { Conversation, Message, Schemas } from '@imapi/client';
import { Problem } from './api';
import type { Phone } from './phone';
import type { Community, Space, Talk } from './state';
import { explained } from './words';

const pageSize = 40;

export class Loading {
  #fetching = new Set<string>();

  constructor(private readonly phone: Phone) {}

  /** Reads everything that is shown anew. */
  async everything(): Promise<void> {
    const { phone } = this;
    try {
      const list = new Map<string, Conversation>();
      for await (const c of phone.api.list('/v1/conversations', { query: { limit: 100 } })) list.set(c.id, c);
      for (const [id, c] of phone.conversations) if (c.kind === 'thread' || c.kind === 'channel') list.set(id, c);
      phone.conversations = list;
      await Promise.all([this.spaces(), this.invitations()]);
      for (const c of [...list.values()].filter(c => c.unread > 0 && c.last_message).slice(0, 50)) phone.receipts.delivered(c.id, { up_to: c.last_message!.id });
      const shown = [...phone.talks.values()].filter(talk => talk.older !== undefined);
      for (const talk of shown) { talk.messages.clear(); talk.older = undefined; }
      phone.loaded = true;
      if (phone.open) await this.conversation(phone.open);
    } catch (error) {
      if (error instanceof Problem && error.status < 500) phone.say(explained(error));
      else setTimeout(() => void this.everything(), 1000);
    }
    phone.changed();
  }

  async spaces(): Promise<void> {
    const { phone } = this;
    const spaces = await Promise.all((await phone.api.all('/v1/spaces')).map(space => this.#space(space)));
    phone.spaces = new Map(spaces.map(community => [community.space.id, community]));
    const seen = new Set(spaces.flatMap(community => community.channels.map(c => c.id)));
    for (const [id, c] of phone.conversations) if (c.kind === 'channel' && !seen.has(id)) phone.left(id);
    phone.changed();
  }

  async #space(space: Space): Promise<Community> {
    const { api, conversations } = this.phone, path = { space: space.id };
    const [channels, roles, members, mine] = await Promise.all([
      api.all('/v1/spaces/{space}/channels', { path }), api.get('/v1/spaces/{space}/roles', { path }),
      api.all('/v1/spaces/{space}/members', { path }), api.get('/v1/spaces/{space}/permissions', { path }),
    ]);
    for (const channel of channels) conversations.set(channel.id, channel);
    return { space, channels, roles: roles.items, members, permissions: new Set(mine.permissions) };
  }

  async invitations(): Promise<void> {
    this.phone.invitations = await this.phone.api.all('/v1/invitations');
    this.phone.changed();
  }

  /** Reads who is invited to a group, a room or a space. */
  async invited(to: { conversation: string } | { space: string }): Promise<void> {
    const { api, invited } = this.phone;
    if ('space' in to) invited.set(to.space, await api.all('/v1/spaces/{space}/invitations', { path: to }));
    else invited.set(to.conversation, await api.all('/v1/conversations/{conversation}/invitations', { path: to }));
    this.phone.changed();
  }

  /** Reads a conversation again. Several calls within a moment make one request. */
  refresh(id: string): void {
    this.phone.gather('conversation', id, ids => ids.forEach(one => void this.#fetch(one)));
  }

  /** Reports whether a conversation is being read. The answer may be older than what is known now. */
  isFetching(id: string): boolean { return this.#fetching.has(id); }

  async #fetch(id: string): Promise<Conversation | undefined> {
    const { phone } = this;
    this.#fetching.add(id);
    try {
      const c: Conversation = await phone.api.get('/v1/conversations/{conversation}', { path: { conversation: id } });
      if (c.hidden) { phone.left(c.id); return c; }
      phone.conversations.set(c.id, c);
      const community = phone.spaces.get(c.space_id ?? '');
      if (c.kind === 'channel' && community) community.channels = community.channels.map(old => old.id === c.id ? c : old);
      phone.changed();
      return c;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) phone.left(id);
      return undefined;
    } finally {
      this.#fetching.delete(id);
    }
  }

  /** Reads the newest messages of a conversation, and what is around them. */
  async conversation(id: string): Promise<void> {
    const { phone } = this;
    const talk = phone.talk(id);
    if (talk.older !== undefined) {
      for (const answer of talk.answers) phone.answers.listen(talk, answer.id, answer.owner);
      return phone.receipts.seen(talk);
    }
    if (!id.startsWith('@') && !phone.conversations.has(id)) await this.#fetch(id);
    await this.page(talk);
    if (talk.older === undefined) return;
    await Promise.all([this.surroundings(talk), phone.answers.load(talk), phone.receipts.load(talk)]).catch(() => {});
    phone.receipts.seen(talk);
  }

  /** Returns the newest messages that have all words of a text. */
  async search(text: string): Promise<Message[]> {
    const page: Schemas['MessagePage'] = await this.phone.api.get('/v1/messages/search', { query: { q: text, limit: 50 } });
    return page.items;
  }

  /** Reads earlier messages. */
  async earlier(id: string): Promise<void> {
    const talk = this.phone.talk(id);
    if (talk.older) await this.page(talk);
  }

  async page(talk: Talk): Promise<void> {
    const { phone } = this;
    if (talk.loading) return;
    talk.loading = true;
    phone.changed();
    try {
      const page: Schemas['MessagePage'] = await phone.api.get('/v1/conversations/{conversation}/messages', {
        path: { conversation: talk.id }, query: { limit: pageSize, ...(talk.older && { page_token: talk.older }) },
      });
      for (const message of page.items) phone.put(message);
      talk.older = page.next_page_token;
    } catch (error) {
      if (error instanceof Problem && error.status === 404 && talk.id.startsWith('@')) talk.older = null; // its first message creates it
      else if (error instanceof Problem && error.status === 404) phone.left(talk.id);
    } finally {
      talk.loading = false;
      phone.changed();
    }
  }

  /** Reads members, permissions and threads. */
  async surroundings(talk: Talk): Promise<void> {
    const { phone } = this;
    const c = phone.conversations.get(talk.id);
    if (!c || c.kind === 'direct') return;
    const path = { conversation: c.id };
    const [members, mine, threads] = await Promise.all([
      phone.api.all('/v1/conversations/{conversation}/members', { path }),
      phone.api.get('/v1/conversations/{conversation}/permissions', { path }),
      c.kind === 'group' || c.kind === 'channel' ? phone.api.all('/v1/conversations/{conversation}/threads', { path }) : [],
    ]);
    talk.members = members;
    talk.permissions = new Set(mine.permissions);
    for (const thread of threads) phone.known(thread, talk);
    phone.changed();
  }

  /** Reads permissions anew, after a change of roles. */
  permissions(): void {
    for (const talk of this.phone.talks.values()) if (talk.permissions) void this.surroundings(talk).catch(() => {});
  }

  async thread(parent: string, id: string): Promise<void> {
    const thread = await this.#fetch(id);
    if (thread) this.phone.known(thread, this.phone.talk(parent));
    this.phone.changed();
  }
}
