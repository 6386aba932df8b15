// Groups, rooms, threads and spaces: creating, joining, inviting, roles, and leaving. A method
// fails as its request does: the dialog that called it shows why.
import type { Conversation, Message, Schemas } from '@imapi/client';
import { TransportError } from './api';
import type { Phone } from './phone';
import type { Invitation, Permission, Role } from './state';

export type Grant = Schemas['Grant'];
type Permissions = Partial<Record<Permission, Grant>>;

/**
 * Creates each thing of a dialog once, however often a person tries: an attempt that got no answer
 * may have created it, and one that failed at a later step has.
 */
export class Once {
  #made = new Map<string, unknown>();
  #tried = new Map<string, Set<string>>();

  /**
   * @param what Distinguishes it from the other things that the dialog creates.
   * @param known The ids of what was there before.
   * @param list Returns what may be the result of an earlier attempt.
   */
  async make<T extends { id: string }>(what: string, known: Iterable<string>, create: () => Promise<T>, list: () => Promise<T[]>): Promise<T> {
    const had = this.#made.get(what) as T | undefined;
    if (had) return had;
    const before = this.#tried.get(what);
    let made = before && (await list()).find(one => !before.has(one.id));
    if (!made) {
      const ids = before ?? new Set(known);
      try {
        made = await create();
      } catch (error) {
        if (error instanceof TransportError) this.#tried.set(what, ids);
        throw error;
      }
    }
    this.#made.set(what, made);
    return made;
  }
}

export class Managing {
  constructor(private readonly phone: Phone) {}

  // ---- groups and rooms ----

  /** Creates a group or a room, adds people, invites others, and shows it. */
  async create(once: Once, kind: 'group' | 'room', name: string, added: string[], invited: string[], settings: Schemas['SettingsPatch']): Promise<void> {
    const { phone } = this;
    const c = await once.make<Conversation>(
      `${kind} ${name}`, phone.conversations.keys(),
      () => phone.api.post('/v1/conversations', { body: { kind, name, members: added, settings } }),
      async () => (await phone.api.all('/v1/conversations', { query: { kind } })).filter(one => one.name === name && one.creator === phone.me));
    phone.conversations.set(c.id, c);
    if (invited.length) await this.invite({ conversation: c.id }, invited);
    phone.show(c.id);
  }

  async update(c: Conversation, body: Schemas['UpdateConversation']): Promise<void> {
    const { phone } = this;
    const changed: Conversation = await phone.api.patch('/v1/conversations/{conversation}', { path: { conversation: c.id }, body });
    phone.conversations.set(c.id, changed);
    const community = phone.spaces.get(c.space_id ?? '');
    if (community) community.channels = community.channels.map(old => old.id === c.id ? changed : old);
    phone.changed();
  }

  async startThread(message: Message, name: string): Promise<void> {
    const { phone } = this;
    const thread: Conversation = await phone.api.post('/v1/messages/{message}/thread', { path: { message: message.id }, body: { name } });
    phone.known(thread, phone.talk(message.conversation_id));
    phone.show(thread.id, message.conversation_id);
  }

  /** Joins a room, an open group, a thread, or what this person was invited to. */
  async join(id: string): Promise<void> {
    const { phone } = this;
    const c: Conversation = await phone.api.post('/v1/conversations/{conversation}/join', { path: { conversation: id } });
    phone.conversations.set(c.id, c);
    if (c.parent_id) phone.known(c, phone.talk(c.parent_id));
    const talk = phone.talk(c.id);
    if (talk.older !== undefined) await phone.loading.surroundings(talk);
    await phone.loading.invitations();
  }

  async leave(c: Conversation): Promise<void> {
    await this.phone.api.post('/v1/conversations/{conversation}/leave', { path: { conversation: c.id } });
    this.phone.left(c.id);
  }

  /** Hides a conversation for this person, or deletes it for everyone. */
  async remove(c: Conversation, scope: 'me' | 'everyone'): Promise<void> {
    await this.phone.api.delete('/v1/conversations/{conversation}', { path: { conversation: c.id }, query: { scope } });
    this.phone.left(c.id);
  }

  async addMembers(c: Conversation, members: string[]): Promise<void> {
    await this.phone.api.post('/v1/conversations/{conversation}/members', { path: { conversation: c.id }, body: { members } });
    await this.#again(c);
  }

  async removeMember(c: Conversation, user: string): Promise<void> {
    await this.phone.api.delete('/v1/conversations/{conversation}/members/{user}', { path: { conversation: c.id, user } });
    await this.#again(c);
  }

  /** Gives a member a role; with `owner`, hands the conversation over. */
  async setRole(c: Conversation, user: string, role: Schemas['Role']): Promise<void> {
    await this.phone.api.patch('/v1/conversations/{conversation}/members/{user}', { path: { conversation: c.id, user }, body: { role } });
    await this.#again(c);
  }

  async #again(c: Conversation): Promise<void> {
    this.phone.loading.refresh(c.id);
    await this.phone.loading.surroundings(this.phone.talk(c.id));
  }

  // ---- invitations ----

  async invite(to: { conversation: string } | { space: string }, users: string[]): Promise<void> {
    const { api, loading } = this.phone;
    if ('space' in to) await api.post('/v1/spaces/{space}/invitations', { path: to, body: { users } });
    else await api.post('/v1/conversations/{conversation}/invitations', { path: to, body: { users } });
    await loading.invited(to);
  }

  /** Withdraws an invitation of somebody. */
  async uninvite(to: { conversation: string } | { space: string }, user: string): Promise<void> {
    await this.#deleteInvitation(to, user);
    await this.phone.loading.invited(to);
  }

  async accept({ conversation_id: conversation, space_id: space }: Invitation): Promise<void> {
    if (conversation) {
      await this.join(conversation);
      this.phone.show(conversation);
    }
    if (space) await this.joinSpace(space);
  }

  async decline({ conversation_id: conversation, space_id: space }: Invitation): Promise<void> {
    if (conversation) await this.#deleteInvitation({ conversation }, this.phone.me);
    if (space) await this.#deleteInvitation({ space }, this.phone.me);
    await this.phone.loading.invitations();
  }

  async #deleteInvitation(to: { conversation: string } | { space: string }, user: string): Promise<void> {
    const { api } = this.phone;
    if ('space' in to) await api.delete('/v1/spaces/{space}/invitations/{user}', { path: { ...to, user } });
    else await api.delete('/v1/conversations/{conversation}/invitations/{user}', { path: { ...to, user } });
  }

  // ---- spaces ----

  /** Creates a space with one channel, invites people, and shows the channel. */
  async createSpace(once: Once, name: string, channel: string, invited: string[], settings: Schemas['SpaceSettingsPatch']): Promise<void> {
    const { phone } = this;
    const space = await once.make(
      `space ${name}`, phone.spaces.keys(), () => phone.api.post('/v1/spaces', { body: { name, settings } }),
      async () => (await phone.api.all('/v1/spaces')).filter(one => one.name === name && one.owner === phone.me));
    if (invited.length) await this.invite({ space: space.id }, invited);
    await phone.loading.spaces();
    await this.createChannel(once, space.id, channel, { visibility: 'public' }, [], []);
  }

  /** Creates a channel and shows it. With readers it is theirs alone; with writers, roles, only they write. */
  async createChannel(once: Once, space: string, name: string, body: Omit<Schemas['CreateChannel'], 'name'>, readers: string[], writers: string[]): Promise<void> {
    const { phone } = this, path = { space };
    const channel = await once.make<Conversation>(
      `channel ${name}`, phone.spaces.get(space)?.channels.map(c => c.id) ?? [],
      () => phone.api.post('/v1/spaces/{space}/channels', { path, body: { name, ...body } }),
      async () => (await phone.api.all('/v1/spaces/{space}/channels', { path })).filter(c => c.name === name && c.creator === phone.me));
    for (const user of readers) await this.#allow(channel.id, user, true);
    if (writers.length) await Promise.all([['everyone', 'deny'] as const, ...writers.map(role => [role, 'allow'] as const)].map(([role, send]) =>
      phone.api.put('/v1/conversations/{conversation}/overrides/{role}', { path: { conversation: channel.id, role }, body: { permissions: { send } } })));
    await phone.loading.spaces();
    phone.show(channel.id);
  }

  async updateSpace(space: string, body: Schemas['UpdateSpace']): Promise<void> {
    await this.phone.api.patch('/v1/spaces/{space}', { path: { space }, body });
    await this.phone.loading.spaces();
  }

  async joinSpace(space: string): Promise<void> {
    await this.phone.api.post('/v1/spaces/{space}/join', { path: { space } });
    await Promise.all([this.phone.loading.spaces(), this.phone.loading.invitations()]);
  }

  async leaveSpace(space: string): Promise<void> {
    await this.phone.api.post('/v1/spaces/{space}/leave', { path: { space } });
    await this.phone.loading.spaces();
  }

  async deleteSpace(space: string): Promise<void> {
    await this.phone.api.delete('/v1/spaces/{space}', { path: { space } });
    await this.phone.loading.spaces();
  }

  async handOverSpace(space: string, user: string): Promise<void> {
    await this.phone.api.patch('/v1/spaces/{space}/members/{user}', { path: { space, user }, body: { role: 'owner' } });
    await this.#rolesChanged();
  }

  async removeFromSpace(space: string, user: string): Promise<void> {
    await this.phone.api.delete('/v1/spaces/{space}/members/{user}', { path: { space, user } });
    await this.phone.loading.spaces();
  }

  // ---- roles of a space ----

  /** Creates a role, or changes one. */
  async saveRole(once: Once, space: string, role: Role | undefined, name: string, permissions: Permissions): Promise<void> {
    const { phone } = this, path = { space };
    if (role) await phone.api.patch('/v1/spaces/{space}/roles/{role}', { path: { space, role: role.id }, body: { permissions, ...(name !== role.name && { name }) } });
    else await once.make(
      `role ${name}`, phone.spaces.get(space)?.roles.map(one => one.id) ?? [],
      () => phone.api.post('/v1/spaces/{space}/roles', { path, body: { name, permissions } }),
      async () => (await phone.api.get('/v1/spaces/{space}/roles', { path })).items.filter(one => one.name === name));
    await this.#rolesChanged();
  }

  async deleteRole(space: string, role: string): Promise<void> {
    await this.phone.api.delete('/v1/spaces/{space}/roles/{role}', { path: { space, role } });
    await this.#rolesChanged();
  }

  async giveRole(space: string, role: string, user: string, given: boolean): Promise<void> {
    const { api } = this.phone, path = { space, role, user };
    await (given ? api.put('/v1/spaces/{space}/roles/{role}/members/{user}', { path }) : api.delete('/v1/spaces/{space}/roles/{role}/members/{user}', { path }));
    await this.#rolesChanged();
  }

  async #rolesChanged(): Promise<void> {
    await this.phone.loading.spaces();
    this.phone.loading.permissions();
  }

  // ---- channels ----

  /** Who is on the list of a private channel. */
  async allowed(channel: string): Promise<string[]> {
    return (await this.phone.api.all('/v1/conversations/{conversation}/lists/{list}', { path: { conversation: channel, list: 'allow' } })).map(one => one.user);
  }

  async allow(channel: string, user: string, allowed: boolean): Promise<void> {
    await this.#allow(channel, user, allowed);
    await this.phone.loading.surroundings(this.phone.talk(channel));
  }

  async #allow(channel: string, user: string, allowed: boolean): Promise<void> {
    const { api } = this.phone, path = { conversation: channel, list: 'allow' as const, user };
    await (allowed ? api.put('/v1/conversations/{conversation}/lists/{list}/{user}', { path }) : api.delete('/v1/conversations/{conversation}/lists/{list}/{user}', { path }));
  }

  /** The overrides of a channel, by role. */
  async overrides(channel: string): Promise<Map<string, Permissions>> {
    const { items } = await this.phone.api.get('/v1/conversations/{conversation}/overrides', { path: { conversation: channel } });
    return new Map(items.map(one => [one.role_id, one.permissions]));
  }

  async override(channel: string, role: string, permissions: Permissions): Promise<void> {
    await this.phone.api.put('/v1/conversations/{conversation}/overrides/{role}', { path: { conversation: channel, role }, body: { permissions } });
    await this.phone.loading.surroundings(this.phone.talk(channel));
  }
}
