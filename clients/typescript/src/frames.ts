import { pause } from './backoff.js';
import { Problem } from './errors.js';
import { type Http, parseJSON, readText } from './http.js';
import type { Block } from './sse.js';
import type { Taken } from './stream.js';
import type { PushedFrames, Schemas } from './types.js';

/** A frame of a data stream. It has one of `text`, `json` and `bytes`. */
export interface Frame {
  type: 'stream.frame';
  /** Rises by one from frame to frame, from 1 on. */
  id: number;
  /** The user who pushed it. */
  from: string;
  /** What the data is, as the application defines: 0 to 255. */
  dtype: number;
  text?: string;
  json?: unknown;
  bytes?: Uint8Array;
}

/** Frames were lost here, because this reader was too slow or came too late. */
export interface FrameGap {
  type: 'stream.gap';
  /** How many. */
  lost: number;
}

/** The data stream has ended. This is its last item. */
export interface FramesEnd {
  type: 'stream.ended';
  reason: Schemas['StreamEndReason'];
  /** The id of the final message, if there is one. */
  message_id?: string;
}

/** What a reader of a data stream receives. */
export type FrameItem = Frame | FrameGap | FramesEnd;

/** Returns a function that reads the items of a data stream, each frame once. */
export function takeFrames(cursor: string | undefined): (block: Block) => Taken<FrameItem> {
  let next = /^\d+$/.test(cursor ?? '') ? Number(cursor) + 1 : 0;
  return block => {
    if (block.data === undefined) return {};
    const data = () => JSON.parse(block.data!) as never;
    switch (block.event) {
      case 'stream.frame': {
        const { base64, ...frame } = data() as Schemas['StreamFrame'];
        if (frame.id < next) return {}; // after a reconnection
        next = frame.id + 1;
        return { item: { type: 'stream.frame', ...frame, ...(base64 !== undefined && { bytes: decode(base64) }) } };
      }
      case 'stream.gap':
        return { item: { type: 'stream.gap', ...(data() as Schemas['StreamGap']) } };
      case 'stream.ended':
        return { item: { type: 'stream.ended', ...(data() as Schemas['StreamEnded']) }, last: true };
      default:
        return {};
    }
  };
}

function decode(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), character => character.charCodeAt(0));
}

function encode(bytes: Uint8Array): string {
  let text = '';
  // Too many arguments overflow the stack.
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

/** The least time between two requests that push, in milliseconds: 20 of the 100 requests that a user may make a second. */
const interval = 50;
/** How many characters may wait to be pushed, and go into one request, unless a single frame has more. */
const room = 1 << 20;

/**
 * Pushes frames to a data stream, in order. Frames that are pushed while a request is under way go
 * into the next one: not every browser can stream the body of a request.
 *
 * A failure ends the pusher, because it is unknown which frames of a request arrived: every later
 * call is rejected with it.
 */
export class Pusher {
  readonly #http: Http;
  readonly #path: string;
  readonly #signal: AbortSignal | undefined;
  #lines: string[] = [];
  #waiting = 0; // characters in #lines
  #running: Promise<void> | undefined;
  #closed = false;
  #hurry: (() => void) | undefined;
  #room: (() => void)[] = [];
  #failure: { error: unknown } | undefined;
  #pushed: PushedFrames = { frames: 0, last_id: null };

  /** @internal */
  constructor(http: Http, path: string, signal: AbortSignal | undefined) {
    this.#http = http;
    this.#path = path;
    this.#signal = signal;
  }

  /** Pushes text. The promise is resolved when there is room for more. */
  text(text: string, dtype = 0): Promise<void> {
    return this.#push({ dtype, text });
  }

  /** Pushes a value as JSON. */
  json(json: unknown, dtype = 0): Promise<void> {
    return this.#push({ dtype, json });
  }

  /** Pushes bytes. */
  bytes(bytes: Uint8Array, dtype = 0): Promise<void> {
    return this.#push({ dtype, base64: encode(bytes) });
  }

  /** Pushes what is left, and returns how many frames were pushed and the id of the last one. */
  async close(): Promise<PushedFrames> {
    this.#closed = true;
    this.#hurry?.();
    await this.#running;
    if (this.#failure) throw this.#failure.error;
    return this.#pushed;
  }

  async #push(frame: Schemas['PushFrame']): Promise<void> {
    if (this.#failure) throw this.#failure.error;
    if (this.#closed) throw new Error('the pusher is closed');
    const line = JSON.stringify(frame) + '\n';
    this.#lines.push(line);
    this.#waiting += line.length;
    this.#running ??= this.#run();
    while (this.#waiting > room && !this.#failure) await new Promise<void>(resolve => this.#room.push(resolve));
    if (this.#failure) throw (this.#failure as { error: unknown }).error;
  }

  /** Sends requests until nothing is left. */
  async #run(): Promise<void> {
    try {
      await undefined; // frames pushed in the same turn share a request
      while (this.#lines.length > 0) {
        await this.#request(this.#batch());
        this.#room.splice(0).forEach(resolve => resolve());
        if (!this.#closed) await this.#rest();
      }
    } catch (error) {
      this.#failure = { error };
      this.#lines = [];
      this.#room.splice(0).forEach(resolve => resolve());
    } finally {
      this.#running = undefined;
    }
  }

  /** Takes the lines of the next request. */
  #batch(): string {
    let count = 0, size = 0;
    do size += this.#lines[count++]!.length; while (count < this.#lines.length && size + this.#lines[count]!.length <= room);
    this.#waiting -= size;
    return this.#lines.splice(0, count).join('');
  }

  async #request(body: string): Promise<void> {
    const call = {
      method: 'POST', path: this.#path, body, signal: this.#signal, headers: { 'Content-Type': 'application/x-ndjson' },
    };
    let response: Response | undefined;
    while (!response) {
      try {
        response = await this.#http.request(call);
      } catch (error) {
        // Refused before anything of it was read, so it can be repeated.
        if (!(error instanceof Problem && error.code === 'rate_limited')) throw error;
        await pause((error.retryAfter ?? 1) * 1000, this.#signal);
      }
    }
    const pushed = parseJSON(await readText(response, this.#signal)) as PushedFrames;
    this.#pushed = { frames: this.#pushed.frames + pushed.frames, last_id: pushed.last_id ?? this.#pushed.last_id };
  }

  /** Waits between two requests, less if the pusher is being closed. */
  async #rest(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>(resolve => {
      this.#hurry = resolve;
      timer = setTimeout(resolve, interval);
    });
    clearTimeout(timer);
    this.#hurry = undefined;
  }
}
