// The requests and events of this page, for the drawer: the newest few hundred, as they passed.
import { Watched } from './watched';

export interface Entry {
  n: number;
  at: Date;
  user: string;
  kind: 'request' | 'event';
  /** The method and path of a request, or the type of an event. */
  method: string;
  title: string;
  status: number; // of the answer; 0 until there is one, -1 if there is none
  took: number; // milliseconds
  sent: string; // the body of a request
  got: string; // the body of the answer, or the data of an event
  /** The cursor before an event: the stream from there begins with it. */
  cursor: string;
  device: string;
}

const most = 300;
const longest = 20_000; // characters of a body that is kept

/** JSON as it is shown and copied: what changes the direction of text is escaped, so that it does not. */
function kept(json: string): string {
  return json.slice(0, longest).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

class Wire extends Watched {
  entries: Entry[] = [];
  #n = 0;

  constructor() { super(work => requestAnimationFrame(work)); }

  add(part: Partial<Entry> & Pick<Entry, 'user' | 'kind' | 'title'>): Entry {
    const entry: Entry = { n: ++this.#n, at: new Date(), method: '', status: 0, took: 0, sent: '', got: '', cursor: '', device: '', ...part };
    entry.sent = kept(entry.sent);
    entry.got = kept(entry.got);
    this.entries = [entry, ...this.entries.slice(0, most - 1)];
    this.changed();
    return entry;
  }

  clear(): void {
    this.entries = [];
    this.changed();
  }
}

export const wire = new Wire();

/** Returns a fetch that records what it does. */
export function recorded(user: string, device: string): typeof fetch {
  return async (input, init) => {
    const given = input instanceof Request ? input : undefined;
    const url = new URL(given?.url ?? String(input), location.href);
    const body = init?.body;
    const entry = wire.add({
      user, device, kind: 'request', method: (init?.method ?? given?.method ?? 'GET').toUpperCase(), title: shown(url),
      sent: typeof body === 'string' ? body : given && given.method !== 'GET' ? await given.clone().text() : body ? '(bytes)' : '',
    });
    const began = performance.now();
    try {
      const answer = await fetch(input, init);
      entry.status = answer.status;
      entry.took = performance.now() - began;
      if (/json/.test(answer.headers.get('Content-Type') ?? '')) {
        void answer.clone().text().then(text => {
          entry.got = kept(text);
          wire.changed();
        }, () => {}); // whoever asked learns of it
      }
      return answer;
    } catch (error) {
      entry.status = -1;
      entry.took = performance.now() - began;
      throw error;
    } finally {
      wire.changed();
    }
  };
}

/** A path and query without the ticket in it, which is as good as a token. */
export function shown(url: URL): string {
  const query = new URLSearchParams(url.search);
  query.delete('ticket');
  return url.pathname + (query.size ? `?${query}` : '');
}

/** The command that repeats a request, or streams events from before one on. */
export function curl(entry: Entry): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`TOKEN=$(bin/imapi token --user ${quoted(entry.user)})`];
  if (entry.kind === 'event') {
    const query = entry.cursor ? `?${new URLSearchParams({ cursor: entry.cursor })}` : '';
    lines.push(`curl -N -H "Authorization: Bearer $TOKEN" ${quoted(`${location.origin}/v1/events${query}`)}`);
    return lines.join('\n');
  }
  const parts = ['curl'];
  if (entry.method !== 'GET') parts.push('-X', entry.method);
  parts.push('-H "Authorization: Bearer $TOKEN"', '-H', quoted(`X-Device-Id: ${entry.device}`));
  if (entry.sent && entry.sent !== '(bytes)') parts.push('-H', quoted('Content-Type: application/json'), '--data-binary', quoted(entry.sent));
  else if (entry.sent) parts.push('-H', quoted('Content-Type: application/octet-stream'), '--data-binary', '@FILE');
  lines.push(`${parts.join(' ')} ${quoted(location.origin + entry.title)}`);
  return lines.join('\n');
}
