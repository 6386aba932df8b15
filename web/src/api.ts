// The TypeScript client as one user's device, with all that it does shown in the drawer.
import { Imapi, TransportError, type Arguments, type Attachment, type Event, type ItemOf, type PagedPath } from '@imapi/client';
import { recorded, shown, wire } from './wire';

export { Problem, TransportError } from '@imapi/client';

export type Light = 'connecting' | 'live' | 'reconnecting' | 'stopped';

/** The longest wait before a stream reconnects: visitors are less patient than programs. */
const maxBackoff = 5000;

export class Api extends Imapi {
  /** @param renew Returns another token if the server refuses the one that there is. */
  constructor(readonly user: string, readonly device: string, token: string, renew?: () => Promise<string>) {
    super('/', {
      token: async ({ refused }) => {
        if (refused === token && renew) token = await renew();
        return token;
      },
      device, fetch: recorded(user, device), sendTimeout: 4000, // then the page shows that it waits
    });
  }

  /** Returns the items of all pages. */
  async all<P extends PagedPath>(path: P, ...options: Arguments<P, 'get'>): Promise<ItemOf<P>[]> {
    const items: ItemOf<P>[] = [];
    for await (const item of this.list(path, ...options)) items.push(item);
    return items;
  }

  /** Uploads a file. Its progress is a number from 0 to 1. */
  async uploaded(file: File, signal: AbortSignal, progress: (part: number) => void): Promise<Attachment> {
    const entry = wire.add({
      user: this.user, device: this.device, kind: 'request', method: 'POST', sent: '(bytes)',
      title: shown(new URL(`/v1/attachments?${new URLSearchParams({ name: file.name })}`, location.href)),
    });
    try {
      const attachment = await this.upload(file, { signal, onProgress: (sent, total) => progress(sent / Math.max(1, total)) });
      entry.status = 201;
      entry.got = JSON.stringify(attachment);
      return attachment;
    } catch (error) {
      entry.status = error instanceof TransportError ? -1 : (error as { status?: number }).status ?? -1;
      throw error;
    } finally {
      wire.changed();
    }
  }

  /** Follows the event stream until the signal, and says how it is. */
  async follow(signal: AbortSignal, on: { event(event: Event): void; light(light: Light): void }): Promise<void> {
    let cursor = '', opened = false;
    const stream = this.events({
      signal, maxBackoff, minBackoff: 500,
      onCursor: position => { cursor = position; },
      onState: ({ state }) => {
        if (state === 'open') opened = true; // the event `ready` follows
        else if (state !== 'closed') on.light(opened ? 'reconnecting' : 'connecting');
      },
    });
    for await (const event of stream) {
      wire.add({ user: this.user, device: this.device, kind: 'event', title: event.type, got: JSON.stringify(event), cursor });
      on.event(event);
    }
  }

  /** Reads the text of a data stream. Returns the id of its final message, if it has one. */
  async read(stream: string, signal: AbortSignal, text: (text: string) => void): Promise<string | undefined> {
    for await (const item of this.frames(stream, { signal, maxBackoff })) {
      if (item.type === 'stream.frame') text(item.text ?? '');
      if (item.type === 'stream.ended') return item.message_id;
    }
    return undefined;
  }
}

// Over HTTP/1 a browser has six connections to a host for all of its tabs. Each page keeps two,
// for the event streams of its phones, and one must be left for requests.
const pages = 'imapi-demo-page', reader = 'imapi-demo-reader';
void navigator.locks?.request(pages, { mode: 'shared' }, () => new Promise(() => {})); // as long as the page is open

/** Does work that keeps a connection, if one can be spared. */
export async function withConnection(work: () => Promise<void>): Promise<boolean> {
  const held = (await navigator.locks?.query())?.held?.filter(lock => lock.name === pages).length ?? 1;
  if (held <= 1) { await work(); return true; }
  if (held > 2) return false;
  return navigator.locks.request(reader, { ifAvailable: true }, async lock => {
    if (lock) await work();
    return lock !== null;
  });
}
