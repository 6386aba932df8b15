import { dispatch, type EventHandlers, takeEvents } from './events.js';
import { type FrameItem, Pusher, takeFrames } from './frames.js';
import { fill, Http, type Options, parseJSON, readText, segment } from './http.js';
import { postOnce } from './send.js';
import { Stream, type StreamOptions } from './stream.js';
import { mediaType } from './errors.js';
import type {
  AcceptedCommand, Answer, Arguments, Attachment, Command, CreatingPath, Draft, Event, ItemOf, Message, Method, PagedPath, PathOf,
} from './types.js';

/** Options of an upload. */
export interface UploadOptions {
  signal?: AbortSignal | undefined;
  /** The name of the file; by default that of a `File`. */
  name?: string | undefined;
  /** Is called as the file is sent, with the numbers of bytes. */
  onProgress?: ((sent: number, total: number) => void) | undefined;
}

/** Options of a download. */
export interface DownloadOptions {
  signal?: AbortSignal | undefined;
  /** Get the thumbnail instead of the file. */
  thumbnail?: boolean | undefined;
  /** Get only these bytes, such as `bytes=0-1023`. The answer then has the status 206. */
  range?: string | undefined;
}

/** Options of a {@link Pusher}. */
export interface PushOptions {
  signal?: AbortSignal | undefined;
  /** The user whom the frames are from, by default that of the token; others require the scope `admin`. */
  as?: string | undefined;
}

/** What a request takes, without its types. */
interface Request {
  path?: Record<string, unknown>;
  query?: Record<string, unknown>;
  body?: unknown;
  signal?: AbortSignal;
}

/**
 * A client of an imapi server, for one user on one device.
 *
 * Every method is rejected with a {@link Problem} if the server refuses the request, with a
 * {@link TransportError} if there is no answer, with the reason of the signal if that is aborted,
 * and with the error of the token source if that throws.
 */
export class Imapi {
  readonly #http: Http;
  readonly #sendTimeout: number;

  /** @param server An http or https URL; in a browser it may be relative to the page. */
  constructor(server: string | URL, options: Options = {}) {
    this.#http = new Http(server, options);
    this.#sendTimeout = options.sendTimeout ?? 10_000;
  }

  /** Gets what is at a path. */
  get<P extends PathOf<'get'>>(path: P, ...[options]: Arguments<P, 'get'>): Promise<Answer<P, 'get'>> {
    return this.#call('get', path, options);
  }

  /** Posts to a path. */
  post<P extends PathOf<'post'>>(path: P, ...[options]: Arguments<P, 'post'>): Promise<Answer<P, 'post'>> {
    return this.#call('post', path, options);
  }

  /** Puts what is at a path. */
  put<P extends PathOf<'put'>>(path: P, ...[options]: Arguments<P, 'put'>): Promise<Answer<P, 'put'>> {
    return this.#call('put', path, options);
  }

  /** Changes what is at a path. */
  patch<P extends PathOf<'patch'>>(path: P, ...[options]: Arguments<P, 'patch'>): Promise<Answer<P, 'patch'>> {
    return this.#call('patch', path, options);
  }

  /** Deletes what is at a path. */
  delete<P extends PathOf<'delete'>>(path: P, ...[options]: Arguments<P, 'delete'>): Promise<Answer<P, 'delete'>> {
    return this.#call('delete', path, options);
  }

  /** Yields the items of all pages, which are requested as the loop needs them. */
  async *list<P extends PagedPath>(path: P, ...[options]: Arguments<P, 'get'>): AsyncGenerator<ItemOf<P>, void, undefined> {
    const request = (options ?? {}) as Request;
    for (let token: string | null | undefined = undefined; token !== null;) {
      const query: Record<string, unknown> = { ...request.query, ...(token !== undefined && { page_token: token }) };
      const page: { items: ItemOf<P>[]; next_page_token: string | null } = await this.#call('get', path, { ...request, query });
      yield* page.items;
      token = page.next_page_token;
    }
  }

  /**
   * Sends a message to a conversation, given by its id or as `@user`. A message without a
   * `client_id` gets one.
   *
   * If no answer arrives within `sendTimeout`, it is sent once more with the same `client_id`, so
   * it is created only once. If the first attempt fails early, the second one waits for the rest
   * of that time, because a restarting server needs a moment. A `Retry-After` of the server
   * shortens the wait. The TransportError has the `clientId`.
   *
   * After a Problem with the status 502, 503 or 504, too, it is unknown whether the message was
   * stored. A draft with a `client_id` of its own can be sent again.
   */
  send(conversation: string, draft: Draft, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<Message> {
    return postOnce(this.#http, `/v1/conversations/${segment('conversation', conversation)}/messages`, draft, this.#sendTimeout, signal);
  }

  /**
   * Creates a conversation or space by posting to a path, with the attempts and errors of
   * {@link send}. Without a `client_id` the body gets one, so it is created only once.
   */
  create<P extends CreatingPath>(path: P, ...[options]: Arguments<P, 'post'>): Promise<Answer<P, 'post'>> {
    const request = options as Request & { body: { client_id?: string } };
    return postOnce(this.#http, fill(path, request.path), request.body, this.#sendTimeout, request.signal);
  }

  /**
   * Sends a command to a conversation. It is not stored: only open streams receive it, as an event
   * of the type `command`. There is one attempt, because a late command is of no use.
   */
  async command(conversation: string, command: Command, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<AcceptedCommand> {
    return this.#call('post', '/v1/conversations/{conversation}/messages', {
      path: { conversation }, body: { ...command, type: 'command' }, signal,
    });
  }

  /**
   * Follows the event stream of the user. It reconnects by itself, resumes at its cursor, and
   * yields each event once and in order. That includes `ready`, at the start of each connection,
   * and `reset`, which means that the server no longer has the events after the cursor: reload
   * everything that you show.
   *
   * The loop ends without an error when the signal is aborted, and with a Problem if the server
   * refuses the stream for good. A token that is refused ends it only if the token source returns
   * it again. If the token source throws, it is called again after a wait.
   */
  events(options: StreamOptions = {}): Stream<Event> {
    return new Stream(this.#http, '/v1/events', options, takeEvents(options.cursor));
  }

  /**
   * Follows the event stream like {@link events} and calls a handler for each event. The promise
   * is resolved when the signal is aborted, and rejected with the error of the stream or of a
   * handler, which ends the stream.
   */
  async listen(handlers: EventHandlers, options: StreamOptions = {}): Promise<void> {
    for await (const event of this.events(options)) await dispatch(event, handlers);
  }

  /**
   * Uploads a file, in one attempt. Send a message with the id of the attachment within 24 hours,
   * or it is deleted.
   */
  async upload(file: Blob, options: UploadOptions = {}): Promise<Attachment> {
    const { signal, onProgress } = options;
    const name = options.name ?? (file as Partial<File>).name;
    const call = {
      method: 'POST', path: fill('/v1/attachments', {}, { name }), signal, body: file,
      headers: { 'Content-Type': 'application/octet-stream' },
    };
    if (onProgress && typeof XMLHttpRequest !== 'undefined') return parseJSON(await this.#http.upload(call, onProgress)) as Attachment;
    const response = await this.#http.renewing(token =>
      this.#http.answer({ ...call, body: onProgress ? counted(file, onProgress) : file }, token));
    return parseJSON(await readText(response, signal)) as Attachment;
  }

  /**
   * Downloads an attachment. The response has its bytes as they arrive, its type and its name.
   * Reading fails if the attachment is erased, or the user loses access to it, before its end.
   */
  async download(attachment: string, options: DownloadOptions = {}): Promise<Response> {
    const { signal, thumbnail, range } = options;
    const path = `/v1/attachments/${segment('attachment', attachment)}${thumbnail ? '/thumbnail' : ''}`;
    return this.#http.request({ method: 'GET', path, signal, headers: { Accept: '*/*', ...(range && { Range: range }) } });
  }

  /**
   * Reads a data stream: from the oldest frame that the server has, or after the one that
   * `cursor` names by its id. It reconnects by itself, and yields each frame once and in order, a
   * gap where frames were lost, and the end as the last item.
   *
   * If the data stream ended more than a minute ago, the error is a Problem with the code
   * `stream_not_found`.
   */
  frames(stream: string, options: StreamOptions = {}): Stream<FrameItem> {
    return new Stream(this.#http, `/v1/streams/${segment('stream', stream)}/events`, options, takeFrames(options.cursor));
  }

  /** Pushes frames to a data stream. Close the pusher to know that all were pushed. */
  push(stream: string, { as, signal }: PushOptions = {}): Pusher {
    return new Pusher(this.#http, fill('/v1/streams/{stream}/frames', { stream }, { as }), signal);
  }

  async #call<T>(method: Method, template: string, options: unknown): Promise<T> {
    const { path, query, body, signal } = (options ?? {}) as Request;
    const raw = typeof body === 'string' || body instanceof Blob || body instanceof ReadableStream;
    const response = await this.#http.request({
      method: method.toUpperCase(),
      path: fill(template, path, query),
      signal,
      ...(body !== undefined && {
        body: raw ? body : JSON.stringify(body),
        headers: { 'Content-Type': raw ? 'application/x-ndjson' : 'application/json' },
      }),
    });
    const text = await readText(response, signal);
    if (text === '') return undefined as T;
    return (mediaType(response.headers.get('Content-Type')) === 'application/json' ? parseJSON(text) : text) as T;
  }
}

/** The bytes of a file in small parts, counted as they are read to be sent. */
function counted(file: Blob, onProgress: (sent: number, total: number) => void): ReadableStream<Uint8Array> {
  const size = 64 << 10;
  let sent = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const part = new Uint8Array(await file.slice(sent, sent + size).arrayBuffer());
      if (part.length > 0) controller.enqueue(part);
      sent += part.length;
      onProgress(sent, file.size);
      if (sent >= file.size) controller.close();
    },
  });
}
