import { Backoff, pause } from './backoff.js';
import { mediaType, Problem, problemOf, TransportError } from './errors.js';
import { abortable, type Http, isRefusedToken } from './http.js';
import { type Block, Parser } from './sse.js';

/** The state of a stream. */
export type StreamState =
  /** A connection is being made. */
  | { state: 'connecting' }
  /** The server has answered. Missed events are delivered first, then new ones. */
  | { state: 'open' }
  /** There is no connection. The next attempt is made after `wait` milliseconds. */
  | { state: 'waiting'; error: unknown; wait: number }
  /** The stream has ended: because the loop did, the signal was aborted, or with an error. */
  | { state: 'closed'; error?: unknown };

/** Options of a stream. An error that a callback throws ends the stream. */
export interface StreamOptions {
  /** Ends the stream. The loop then ends without an error. */
  signal?: AbortSignal | undefined;
  /**
   * The position to resume after: the last value that `onCursor` got, or the `id` of the last
   * event. Without it an event stream begins with the next event, and a data stream with the
   * oldest frame that the server has.
   */
  cursor?: string | undefined;
  /**
   * Is called with the new position of the stream, after the event at that position was handled.
   * The position also moves while there are no events. Store it to resume after a restart.
   */
  onCursor?: ((cursor: string) => void) | undefined;
  /** Is called with each new state. */
  onState?: ((state: StreamState) => void) | undefined;
  /**
   * The first wait before reconnecting, in milliseconds; 1,000 by default. A `retry` of the server
   * replaces it. It doubles after each failure up to `maxBackoff`; 30,000 by default.
   */
  minBackoff?: number | undefined;
  maxBackoff?: number | undefined;
  /**
   * Closes a connection on which nothing arrives for this time, in milliseconds; 45,000 by
   * default. The server sends something every 15 s.
   */
  idleTimeout?: number | undefined;
}

/** How a connection ended. */
interface Ending {
  error?: unknown;
  /** Reconnecting is of no use. */
  final?: boolean;
  /** Reconnect without a wait. */
  atOnce?: boolean;
}

/** What a block holds. */
export interface Taken<T> {
  item?: T | undefined;
  /** It is the last one of the stream. */
  last?: boolean;
}

/** Follows a stream, and reconnects until it ends. */
export class Follower<T> {
  cursor: string | undefined;
  readonly #http: Http;
  readonly #path: string;
  readonly #options: StreamOptions;
  readonly #take: (block: Block) => Taken<T>;
  readonly #backoff: Backoff;
  readonly #idleTimeout: number;
  readonly #stop = new AbortController();
  /** The last token, if it was refused, and why. */
  #refused: { token: string; problem: Problem } | undefined;
  /** How many tokens were refused in a row. */
  #refusals = 0;

  constructor(http: Http, path: string, options: StreamOptions, take: (block: Block) => Taken<T>) {
    this.#http = http;
    this.#path = path;
    this.#options = options;
    this.#take = take;
    this.cursor = options.cursor || undefined;
    this.#backoff = new Backoff(options.minBackoff ?? 1000, options.maxBackoff ?? 30_000);
    this.#idleTimeout = options.idleTimeout ?? 45_000;
  }

  /** Ends the stream, also while it waits for the server. */
  stop(): void {
    this.#stop.abort();
  }

  async *follow(): AsyncGenerator<T, void, undefined> {
    const { signal, onState } = this.#options;
    const stop = () => this.stop();
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) this.stop();
    const closed: StreamState = { state: 'closed' };
    try {
      while (!this.#stop.signal.aborted) {
        onState?.({ state: 'connecting' });
        const end = yield* this.#connect();
        if (this.#stop.signal.aborted) return;
        if (end.final) {
          if (end.error === undefined) return;
          throw end.error;
        }
        let wait = 0;
        if (!end.atOnce) {
          const least = end.error instanceof Problem ? (end.error.retryAfter ?? 0) * 1000 : 0;
          wait = Math.max(this.#backoff.next(), least);
        }
        onState?.({ state: 'waiting', error: end.error, wait });
        await pause(wait, this.#stop.signal);
      }
    } catch (error) {
      closed.error = error;
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
      this.stop();
      onState?.(closed);
    }
  }

  /** Makes a connection and yields its items until it ends. */
  async *#connect(): AsyncGenerator<T, Ending, undefined> {
    const connection = new AbortController();
    const stop = () => connection.abort();
    this.#stop.signal.addEventListener('abort', stop);
    const idle = new IdleTimer(this.#idleTimeout, connection);
    try {
      let token: string, response: Response;
      try {
        token = await idle.during(this.#http.token(this.#refused?.token));
      } catch (error) {
        return { error }; // not final: in a browser that is offline, a token source fails for a while
      }
      if (token === this.#refused?.token) return { error: this.#refused.problem, final: true };
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (this.cursor !== undefined) headers['Last-Event-ID'] = this.cursor;
      try {
        response = await idle.during(this.#http.attempt(
          { method: 'GET', path: this.#path, headers, signal: connection.signal }, token));
      } catch (error) {
        return { error, final: !(error instanceof TransportError) };
      }
      const refusal = await this.#refuse(response, token);
      if (refusal) return refusal;
      return yield* this.#read(response, connection, idle);
    } finally {
      idle.stop();
      this.#stop.signal.removeEventListener('abort', stop);
      connection.abort(); // after a loop that ended early
    }
  }

  /** Returns how the connection ends if the server refuses it; undefined if it sends a stream. */
  async #refuse(response: Response, token: string): Promise<Ending | undefined> {
    const { status } = response;
    if (status === 200) {
      this.#refused = undefined;
      this.#refusals = 0;
      if (mediaType(response.headers.get('Content-Type')) === 'text/event-stream') return undefined;
      return { error: new TransportError('unexpected_answer', 'not an event stream'), final: true };
    }
    if (status < 400) return { error: new TransportError('unexpected_answer', `status ${status}`), final: true };
    const error = await problemOf(response);
    if (isRefusedToken(error)) {
      this.#refused = { token, problem: error };
      this.#refusals++;
      return { error, atOnce: this.#refusals === 1 };
    }
    return { error, final: status < 500 && ![408, 425, 429].includes(status) };
  }

  async *#read(response: Response, connection: AbortController, idle: IdleTimer): AsyncGenerator<T, Ending, undefined> {
    if (!response.body) return { error: new TransportError('connection_lost', 'an answer without a body') };
    const reader = response.body.getReader();
    const parser = new Parser();
    let open = false;
    for (;;) {
      let part: Uint8Array | undefined;
      try {
        part = (await idle.during(reader.read())).value;
      } catch (error) {
        const reason: unknown = connection.signal.reason;
        return { error: reason instanceof TransportError ? reason : new TransportError('connection_lost', error) };
      }
      if (part === undefined) return { error: new TransportError('connection_lost', 'the server ended the stream') };
      const blocks = parser.parse(part);
      for (;;) {
        let next: IteratorResult<Block, void>;
        try {
          next = blocks.next();
        } catch (error) {
          return { error, final: true };
        }
        if (parser.retry !== undefined) this.#backoff.base = parser.retry;
        if (next.done) break;
        // An overloaded server sends nothing but a retry, so a block means that the stream works.
        this.#backoff.reset();
        if (!open) {
          open = true;
          this.#options.onState?.({ state: 'open' });
        }
        const block = next.value;
        let taken: Taken<T>;
        try {
          taken = this.#take(block);
        } catch (error) {
          return { error: new TransportError('unexpected_answer', error), final: true };
        }
        if (taken.item !== undefined) {
          yield taken.item;
          if (this.#stop.signal.aborted) return {};
        }
        if (taken.last) return { final: true };
        this.#move(block.id);
      }
    }
  }

  /** Moves the cursor to the id of a block. */
  #move(id: string | undefined): void {
    if (id === undefined || id === this.cursor) return;
    this.cursor = id;
    this.#options.onCursor?.(id);
  }
}

/**
 * A timer that runs only while something is awaited: a loop that takes long over an event must
 * not lose the connection.
 */
class IdleTimer {
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly #timeout: number;
  readonly #connection: AbortController;

  constructor(timeout: number, connection: AbortController) {
    this.#timeout = timeout;
    this.#connection = connection;
  }

  /** Waits for something, no longer than until the connection is aborted. */
  async during<V>(work: Promise<V>): Promise<V> {
    this.stop();
    this.#timer = setTimeout(() => this.#connection.abort(
      new TransportError('connection_lost', `nothing received for ${this.#timeout} ms`)), this.#timeout);
    try {
      return await abortable(work, this.#connection.signal);
    } finally {
      this.stop();
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** A stream as an async iterator. It can be iterated once. */
export class Stream<T> implements AsyncIterableIterator<T> {
  readonly #follower: Follower<T>;
  readonly #items: AsyncGenerator<T, void, undefined>;

  /** @internal */
  constructor(http: Http, path: string, options: StreamOptions, take: (block: Block) => Taken<T>) {
    this.#follower = new Follower(http, path, options, take);
    this.#items = this.#follower.follow();
  }

  /** The position of the stream: that of the last event that was handled. */
  get cursor(): string | undefined {
    return this.#follower.cursor;
  }

  next(): Promise<IteratorResult<T, void>> {
    return this.#items.next();
  }

  /** Ends the stream, also while `next` waits. */
  return(): Promise<IteratorResult<T, void>> {
    this.#follower.stop();
    return this.#items.return();
  }

  throw(error: unknown): Promise<IteratorResult<T, void>> {
    this.#follower.stop();
    return this.#items.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
