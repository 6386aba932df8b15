/**
 * A client of imapi for browsers and Node.js: see {@link Imapi}.
 *
 * @packageDocumentation
 */
export { Imapi, type DownloadOptions, type PushOptions, type UploadOptions } from './client.js';
export { Problem, TransportError, type ProblemCode, type TransportErrorKind } from './errors.js';
export type { EventHandlers } from './events.js';
export { Pusher, type Frame, type FrameGap, type FrameItem, type FramesEnd } from './frames.js';
export type { Options, TokenRequest, TokenSource } from './http.js';
export { Stream, type StreamOptions, type StreamState } from './stream.js';
export type {
  AcceptedCommand, Answer, Arguments, Attachment, Command, Conversation, DataStream, Draft, Event, EventOf, EventType,
  ItemOf, Lines, Message, PagedPath, PathOf, PushedFrames, RequestOptions, Schemas,
} from './types.js';
export type { components, operations, paths } from './schema.js';
