// The contract for an application in TypeScript: the generated client and correct uses of it
// compile, and incorrect uses do not. browser.mjs also runs converse.
import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './generated/api.js';

type Schemas = components['schemas'];
type Message = Schemas['Message'];
type Problem = Schemas['Problem'];

const bob = { params: { path: { conversation: '@bob' } } };

export function connect(baseUrl: string, token: string): Client<paths> {
  return createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
}

/** Sends a message of each type, reads them back and follows the log. */
export async function converse(api: Client<paths>): Promise<Message[]> {
  const bodies: Schemas['SendMessage'][] = [
    { type: 'text', body: { text: 'hi' }, client_id: 'contract-1', mentions: ['bob'] },
    { type: 'location', body: { latitude: 31.2304, longitude: 121.4737, address: '上海' } },
    { type: 'custom', body: { name: 'order', data: { number: 7, of: [null, true] } }, ext: { shop: 'north' } },
    { type: 'custom', body: { name: 'nothing', data: null } },
  ];
  const sent: Message[] = [];
  for (const body of bodies) {
    const { data, error } = await api.POST('/v1/conversations/{conversation}/messages', { ...bob, body });
    if (error) throw new Error(explain(error));
    if (!('seq' in data)) throw new Error(`${body.type} is answered like a command`);
    sent.push(data);
  }

  const history = await api.GET('/v1/conversations/{conversation}/messages', {
    params: { ...bob.params, query: { after_seq: 0, limit: 200 } },
  });
  if (history.error) throw new Error(explain(history.error));
  const seqs: number[] = history.data.items.map(message => message.seq);
  const more: string | null = history.data.next_page_token;
  if (more !== null || seqs.length < sent.length) throw new Error(`history has seqs ${seqs}`);

  const told = await allEvents(api);
  if (!told.some(event => event.type === 'conversation.created')) throw new Error('no event of the conversation');
  return sent;
}

/** Creates a space with a role and a channel, and returns the permissions of everyone. */
export async function found(api: Client<paths>, name: string): Promise<Schemas['Permission'][]> {
  const space = await api.POST('/v1/spaces', { body: { name, settings: { join: 'open', announcement: null } } });
  if (space.error) throw new Error(explain(space.error));
  const path = { space: space.data.id };
  const role = await api.POST('/v1/spaces/{space}/roles', {
    params: { path },
    body: { name: 'Moderators', permissions: { kick: 'allow', send: 'inherit' }, position: 1 },
  });
  if (role.error) throw new Error(explain(role.error));
  const kick: 'allow' | 'deny' | undefined = role.data.permissions.kick;
  if (kick !== 'allow') throw new Error(`the role may ${JSON.stringify(role.data.permissions)}`);
  const channel = await api.POST('/v1/spaces/{space}/channels', { params: { path }, body: { name: 'general' } });
  if (channel.error) throw new Error(explain(channel.error));
  const visibility: string | null = channel.data.visibility;
  if (visibility !== 'public') throw new Error(`a channel is ${visibility} by default`);
  const may = await api.GET('/v1/conversations/{conversation}/permissions', {
    params: { path: { conversation: channel.data.id } },
  });
  if (may.error) throw new Error(explain(may.error));
  return may.data.permissions;
}

/** Reads the log to its end, page by page. */
export async function allEvents(api: Client<paths>): Promise<Schemas['Event'][]> {
  const events: Schemas['Event'][] = [];
  let token: string | null = null;
  do {
    const query: { limit: number; page_token?: string } = { limit: 2, ...(token && { page_token: token }) };
    const page = await api.GET('/v1/events/log', { params: { query } });
    if (page.error) throw new Error(explain(page.error));
    events.push(...page.data.items);
    token = page.data.next_page_token;
  } while (token);
  return events;
}

/** The state discriminates messages; an erased one has no body. */
export function text(message: Message): string {
  return message.body?.text ?? message.state;
}

/** The code discriminates problems. */
export function explain(problem: Problem): string {
  switch (problem.code) {
    case 'blocked':
      return 'they take no messages from you';
    case 'client_id_reused':
      return 'that was another message';
    case 'ticket_expired':
    case 'token_expired':
      return 'log in again';
    default:
      return `${problem.code}: ${problem.detail} (${problem.field ?? problem.status})`;
  }
}

/** Code that must not compile: a missing error is itself an error. */
export async function refused(api: Client<paths>): Promise<void> {
  const send = '/v1/conversations/{conversation}/messages';
  // @ts-expect-error: a misspelt member
  await api.POST(send, { ...bob, body: { type: 'text', body: { text: 'hi' }, clientid: 'c-1' } });
  // @ts-expect-error: the body of another type
  await api.POST(send, { ...bob, body: { type: 'text', body: { latitude: 1, longitude: 1 } } });
  // @ts-expect-error: a body without a required member
  await api.POST(send, { ...bob, body: { type: 'location', body: { latitude: 1 } } });
  // @ts-expect-error: no such type
  await api.POST(send, { ...bob, body: { type: 'sonnet', body: { text: 'hi' } } });
  // @ts-expect-error: no conversation
  await api.POST(send, { body: { type: 'text', body: { text: 'hi' } } });
  // @ts-expect-error: no such value in a role
  await api.POST('/v1/spaces/{space}/roles', { params: { path: { space: 's' } }, body: { name: 'r', permissions: { send: 'maybe' } } });
  // @ts-expect-error: a thread needs a message
  await api.POST('/v1/conversations', { body: { kind: 'thread', name: 't' } });
  // @ts-expect-error: no such path
  await api.GET('/v1/message');
  // @ts-expect-error: no such filter
  await api.GET(send, { params: { ...bob.params, query: { afterseq: 1 } } });
  const { data, error } = await api.GET('/v1/messages/{message}', { params: { path: { message: 'm' } } });
  // @ts-expect-error: no such member
  void data?.text;
  // @ts-expect-error: an erased message has no body
  void data?.body.text;
  // @ts-expect-error: a body has no such member
  void data?.body?.texts;
  // @ts-expect-error: no such code
  void (error?.code === 'not_here');
}
