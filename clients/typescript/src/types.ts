// Types derived from the generated ones: names for schemas, and what each path takes and gives.
import type { components, paths } from './schema.js';

/** The schemas of the OpenAPI document by name, such as `Schemas['Conversation']`. */
export type Schemas = components['schemas'];

export type Attachment = Schemas['Attachment'];
export type Conversation = Schemas['Conversation'];
export type DataStream = Schemas['DataStream'];
export type Message = Schemas['Message'];
export type AcceptedCommand = Schemas['AcceptedCommand'];
export type PushedFrames = Schemas['PushedFrames'];

/** An event of the stream. Its `type` says which. */
export type Event = Schemas['Event'];
/** The type of an event, such as `message.created`. */
export type EventType = Event['type'];
/** The event of a type: `EventOf<'message.created'>`. */
export type EventOf<T extends EventType> = Extract<Event, { type: T }>;

/** A message to be sent. Its `type` says what its `body` has. */
export type Draft = Exclude<Schemas['SendMessage'], { type: 'command' }>;
/** A command to be sent. */
export type Command = Omit<Schemas['SendCommand'], 'type'>;

// ---- paths ----

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** The paths for which the client has methods of their own, because they take or give a stream of bytes. */
interface Elsewhere {
  get: '/v1/events' | '/v1/streams/{stream}/events' | '/v1/attachments/{attachment}' | '/v1/attachments/{attachment}/thumbnail';
  post: '/v1/attachments';
  put: never;
  patch: never;
  delete: never;
}

/** The paths that have a method. */
export type PathOf<M extends Method> = Exclude<
  { [P in keyof paths]: paths[P][M] extends { responses: unknown } ? P : never }[keyof paths],
  Elsewhere[M]
>;

/** The paths at which conversations and spaces are created. */
export type CreatingPath =
  '/v1/conversations' | '/v1/spaces' | '/v1/spaces/{space}/channels' | '/v1/messages/{message}/thread';

type OperationOf<P extends keyof paths, M extends Method> = paths[P][M];
type Parameters<O, In extends 'path' | 'query'> = O extends { parameters: infer All } ? All[In & keyof All] : never;
/** Lines of JSON, as they are. */
export type Lines = string | Blob | ReadableStream<Uint8Array>;
type Content<C, Other> = 'application/json' extends keyof C ? C['application/json'] : Other;

/** An object with a member of type T: optional if T may be undefined, absent if it can only be undefined. */
type Given<Name extends string, T> = [T] extends [never] ? unknown
  : [T] extends [undefined] ? { [N in Name]?: never }
    : undefined extends T ? { [N in Name]?: NonNullable<T> }
      : { [N in Name]: T };

type BodyOf<O> = O extends { requestBody: { content: infer C } } ? { body: Content<C, Lines> }
  : O extends { requestBody?: infer B } ? NonNullable<B> extends { content: infer C } ? { body?: Content<C, Lines> } : { body?: never }
    : { body?: never };

/** What a request takes. */
export type RequestOptions<P extends keyof paths, M extends Method> =
  & Given<'path', Parameters<OperationOf<P, M>, 'path'>>
  & Given<'query', Parameters<OperationOf<P, M>, 'query'>>
  & BodyOf<OperationOf<P, M>>
  & {
    /** Aborts the request. It is then rejected with the reason of the signal. */
    signal?: AbortSignal | undefined;
  };

/** The options of a request as the last argument, which may be left out if nothing is required. */
export type Arguments<P extends keyof paths, M extends Method> =
  Record<never, never> extends RequestOptions<P, M> ? [options?: RequestOptions<P, M>] : [options: RequestOptions<P, M>];

/** The answer to a request: decoded JSON, text, or nothing. */
export type Answer<P extends keyof paths, M extends Method> =
  OperationOf<P, M> extends { responses: infer R } ? { [S in keyof R]: R[S] extends { content: infer C }
    ? [C] extends [undefined] ? undefined : Content<C, string>
    : undefined }[keyof R] : never;

/** The paths that give pages. */
export type PagedPath = { [P in PathOf<'get'>]: Answer<P, 'get'> extends { next_page_token: string | null } ? P : never }[PathOf<'get'>];

/** An item of a page. */
export type ItemOf<P extends PagedPath> = Answer<P, 'get'> extends { items: readonly (infer Item)[] } ? Item : never;
