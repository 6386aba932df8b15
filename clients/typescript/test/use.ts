// Uses of the client that compile, and others that do not: a missing error is itself an error.
import { Imapi, Problem, TransportError, type Draft, type Event, type EventHandlers, type EventOf, type Message, type Schemas } from '@imapi/client';

export async function use(client: Imapi): Promise<void> {
  const draft: Draft = { type: 'custom', body: { name: 'order', data: { number: 7 } } };
  const message: Message = await client.send('@bob', draft);
  const seq: number = message.seq;
  const conversations: Schemas['Conversation'][] = (await client.get('/v1/conversations')).items;
  const page = await client.get('/v1/conversations/{conversation}/messages', { path: { conversation: '@bob' }, query: { after_seq: seq } });
  const next: string | null = page.next_page_token;
  const nothing: undefined = await client.put('/v1/blocks/{user}', { path: { user: 'mallory' } });
  const lines: string = await client.get('/v1/admin/export');
  const results: string = await client.post('/v1/admin/import', { body: lines });
  for await (const { user } of client.list('/v1/conversations/{conversation}/members', { path: { conversation: 'c' } })) void user.length;
  const group: Schemas['Conversation'] = await client.create('/v1/conversations', { body: { kind: 'group', name: 'Weekend' } });
  const space: Schemas['Space'] = await client.create('/v1/spaces', { body: { name: 'Club' } });
  void [conversations, next, nothing, results, group, space];

  // @ts-expect-error: no such path
  void client.get('/v1/message');
  // @ts-expect-error: no such method of this path
  void client.put('/v1/conversations');
  // @ts-expect-error: without its parameter
  void client.get('/v1/messages/{message}');
  // @ts-expect-error: no such parameter
  void client.get('/v1/conversations', { query: { colour: 'red' } });
  // @ts-expect-error: without its query
  void client.get('/v1/messages/search');
  // @ts-expect-error: a misspelt member
  void client.post('/v1/conversations', { body: { kind: 'group', nam: 'Weekend' } });
  // @ts-expect-error: no body
  void client.post('/v1/spaces');
  // @ts-expect-error: nothing is created there
  void client.create('/v1/unread/clear');
  // @ts-expect-error: no name
  void client.create('/v1/spaces', { body: {} });
  // @ts-expect-error: this has no pages
  void client.list('/healthz');
  // @ts-expect-error: the stream has a method of its own
  void client.get('/v1/events');
  // @ts-expect-error: the body of another type
  void client.send('@bob', { type: 'text', body: { latitude: 1, longitude: 1 } });
  // @ts-expect-error: commands have a method of their own
  void client.send('@bob', { type: 'command', body: { action: 'typing' } });
}

/** The type tells events apart. */
export function show(event: Event): string {
  switch (event.type) {
    case 'message.created':
      return event.message?.body?.text ?? event.message_id;
    case 'command':
      // @ts-expect-error: a command has no seq
      void event.seq;
      return event.action;
    case 'member.removed':
      return event.user;
    case 'ready':
    case 'reset':
      return event.id;
    // @ts-expect-error: no such type
    case 'message.exploded':
      return '';
    default:
      return event.type;
  }
}

export const handlers: EventHandlers = {
  'message.revoked': event => { void event.message_id; },
  'stream.started': async (event: EventOf<'stream.started'>) => { void event.stream_id; },
  // @ts-expect-error: no such type
  'message.revokd': () => {},
};

export function explain(error: unknown): string {
  if (error instanceof Problem) {
    switch (error.code) {
      case 'blocked':
        return 'they take no messages from you';
      // @ts-expect-error: no such code
      case 'blokked':
        return '';
      default:
        return `${error.field ?? ''} ${error.detail} ${error.retryAfter ?? 0}`;
    }
  }
  return error instanceof TransportError ? `${error.kind} ${error.clientId ?? ''}` : 'a fault of ours';
}
