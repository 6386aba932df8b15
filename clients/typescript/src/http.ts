import { failedFetch, problemOf, readProblem, Problem, TransportError } from './errors.js';

/** The argument of a {@link TokenSource}. */
export interface TokenRequest {
  /** The token that the server has just refused, if any. Return another one, or the same one to give up. */
  refused: string | undefined;
}

/**
 * A token, or a function that returns one. The function is called before every request, so it
 * should keep a token until that is refused or about to expire.
 */
export type TokenSource = string | ((request: TokenRequest) => string | Promise<string>);

/** Options of a client. */
export interface Options {
  /** The tokens; without it none is sent. */
  token?: TokenSource | undefined;
  /**
   * The id of this installation; without it that of the token. A device does not receive events
   * that it caused itself, so clients that run at the same time, such as two tabs of a browser,
   * must not share an id: each would miss what the other sends, reads or hides.
   */
  device?: string | undefined;
  /** Sends the requests; the global `fetch` by default. */
  fetch?: typeof fetch | undefined;
  /** How long `send` and `create` wait for each answer, in milliseconds; 10,000 by default. */
  sendTimeout?: number | undefined;
}

/** A request before it has a token. */
export interface Call {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | Blob | ReadableStream<Uint8Array> | undefined;
  signal?: AbortSignal | undefined;
}

/** Sends requests to one server. */
export class Http {
  readonly #server: URL;
  readonly #token: TokenSource;
  readonly #device: string | undefined;
  readonly #fetch: typeof fetch;
  /** The request for another token that is under way, so that many refused requests make one. */
  #renewal: { refused: string; token: Promise<string> } | undefined;

  constructor(server: string | URL, options: Options) {
    const page = (globalThis as { location?: { href: string } }).location;
    this.#server = new URL(server, page?.href);
    if (!/^https?:$/.test(this.#server.protocol)) throw new TypeError('the server is not an http or https URL');
    this.#server.search = this.#server.hash = '';
    if (!this.#server.pathname.endsWith('/')) this.#server.pathname += '/';
    this.#token = options.token ?? '';
    this.#device = options.device;
    if (this.#device !== undefined && !/^[ -~]{1,128}$/.test(this.#device)) throw new TypeError('a device is 1 to 128 printable ASCII characters');
    // A browser's fetch may not be called as a method of another object.
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
  }

  /** The URL of a path, which begins with a slash. */
  url(path: string): string {
    return this.#server.href + path.slice(1);
  }

  /** Returns a token: another than a refused one if there is another. */
  async token(refused?: string): Promise<string> {
    const source = this.#token;
    if (typeof source === 'string') return source;
    if (refused === undefined) return source({ refused });
    if (this.#renewal?.refused !== refused) {
      const token = Promise.resolve(source({ refused }));
      const renewal = this.#renewal = { refused, token };
      const done = () => { if (this.#renewal === renewal) this.#renewal = undefined; };
      token.then(done, done);
    }
    return this.#renewal!.token;
  }

  /** The headers of a request. */
  headers(token: string, more: Record<string, string> = {}): Record<string, string> {
    const headers: Record<string, string> = { Accept: 'application/json', ...more };
    if (token) headers['Authorization'] = `Bearer ${token}`;
    if (this.#device) headers['X-Device-Id'] = this.#device;
    return headers;
  }

  /** Makes one attempt. The error is the reason of the signal, or a {@link TransportError}. */
  async attempt(call: Call, token: string): Promise<Response> {
    call.signal?.throwIfAborted();
    const init: RequestInit & { duplex?: 'half' } = {
      method: call.method,
      headers: new Headers(this.headers(token, call.headers)), // not in the try below: its TypeError is not a TransportError
      cache: 'no-store',
    };
    if (call.signal) init.signal = call.signal;
    if (call.body !== undefined) init.body = call.body;
    if (call.body instanceof ReadableStream) init.duplex = 'half';
    try {
      return await this.#fetch(this.url(call.path), init);
    } catch (error) {
      call.signal?.throwIfAborted();
      throw failedFetch(error);
    }
  }

  /** Makes a request, a second time with another token if the first one is refused. */
  request(call: Call): Promise<Response> {
    return this.renewing(token => this.answer(call, token), !(call.body instanceof ReadableStream));
  }

  /** Makes one attempt. A status of 400 or more is a {@link Problem}. */
  async answer(call: Call, token: string): Promise<Response> {
    const response = await this.attempt(call, token);
    if (response.status >= 400) throw await problemOf(response);
    return response;
  }

  /** Calls with a token, and if that is refused and repeating is possible once more with another. */
  async renewing<T>(attempt: (token: string) => Promise<T>, repeatable = true): Promise<T> {
    const token = await this.token();
    try {
      return await attempt(token);
    } catch (error) {
      if (!repeatable || !isRefusedToken(error)) throw error;
      const other = await this.token(token);
      if (other === token) throw error;
      return attempt(other);
    }
  }

  /** Makes a request with XMLHttpRequest, the only way in a browser to learn how much of a body was sent. */
  async upload(call: Call & { body: Blob }, onProgress: (sent: number, total: number) => void): Promise<string> {
    return this.renewing(token => new Promise<string>((resolve, reject) => {
      const { signal } = call;
      if (signal?.aborted) return reject(signal.reason as Error);
      const request = new XMLHttpRequest();
      const abort = () => request.abort();
      signal?.addEventListener('abort', abort);
      request.upload.onprogress = progress => onProgress(progress.loaded, call.body.size);
      request.onabort = () => reject(signal?.reason as Error);
      request.onerror = () => reject(new TransportError('connection_lost'));
      request.onloadend = () => signal?.removeEventListener('abort', abort);
      request.onload = () => {
        const { status, statusText, responseText: text } = request;
        if (status < 400) return resolve(text);
        reject(readProblem({ status, statusText, text, header: name => request.getResponseHeader(name) }));
      };
      request.open(call.method, this.url(call.path));
      for (const [name, value] of Object.entries(this.headers(token, call.headers))) request.setRequestHeader(name, value);
      request.send(call.body);
    }));
  }
}

/** Reports whether an error is the refusal of a token. */
export function isRefusedToken(error: unknown): error is Problem {
  return error instanceof Problem && error.status === 401;
}

/** Waits for a promise, no longer than until a signal is aborted. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort: (() => void) | undefined;
  try {
    return await Promise.race([work, new Promise<never>((_, reject) => {
      abort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
    })]);
  } finally {
    signal.removeEventListener('abort', abort!);
  }
}

/** Reads the body of an answer as text. */
export async function readText(response: Response, signal?: AbortSignal): Promise<string> {
  try {
    return await response.text();
  } catch (error) {
    signal?.throwIfAborted();
    throw new TransportError('connection_lost', error);
  }
}

/** Reads JSON. */
export function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TransportError('unexpected_answer', error);
  }
}

/** A path with its parameters and a query. */
export function fill(template: string, path: Record<string, unknown> = {}, query: Record<string, unknown> = {}): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => segment(name, path[name]));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) search.append(name, String(value));
  }
  const text = search.toString();
  return text ? `${filled}?${text}` : filled;
}

/**
 * Encodes a parameter of a path. An empty one, `.` and `..` are refused: they name nothing on the
 * server, and with them a URL stands for another path.
 */
export function segment(name: string, value: unknown): string {
  const text = String(value ?? '');
  if (text === '' || text === '.' || text === '..') throw new TypeError(`${name} is ${JSON.stringify(text)}`);
  return encodeURIComponent(text).replaceAll('%40', '@');
}
