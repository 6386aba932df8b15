import { Problem, TransportError } from './errors.js';
import { abortable, type Http, parseJSON, readText } from './http.js';
import { pause } from './backoff.js';

/** What an attempt came to. */
type Attempt<T> =
  | { result: T }
  | { error: unknown; final: true }
  | { error: Problem | TransportError; final: false; reached: boolean };

/** Posts a message, or a conversation to be created, a second time if there was no answer. */
export async function postOnce<T>(
  http: Http, path: string, draft: { client_id?: string | undefined }, timeout: number, signal: AbortSignal | undefined,
): Promise<T> {
  const clientId = draft.client_id || randomId();
  const body = JSON.stringify({ ...draft, client_id: clientId });
  signal?.throwIfAborted();

  const begun = performance.now();
  const first = await attempt<T>(http, path, body, timeout, signal);
  if ('result' in first) return first.result;
  if (first.final) throw first.error;

  let wait = timeout - (performance.now() - begun);
  if (first.error instanceof Problem && first.error.retryAfter) wait = Math.min(wait, first.error.retryAfter * 1000);
  await pause(wait, signal);
  if (signal?.aborted) throw undecided(first.reached, signal.reason, clientId);

  const second = await attempt<T>(http, path, body, timeout, signal);
  if ('result' in second) return second.result;
  if (second.final || second.error instanceof Problem) throw second.error;
  throw undecided(first.reached || second.reached, signal?.aborted ? signal.reason : second.error.cause, clientId);
}

/** The error for a request without an answer. It may be done if any attempt reached the server. */
function undecided(reached: boolean, cause: unknown, clientId: string): TransportError {
  return new TransportError(reached ? 'connection_lost' : 'unreachable', cause, clientId);
}

async function attempt<T>(
  http: Http, path: string, body: string, timeout: number, signal: AbortSignal | undefined,
): Promise<Attempt<T>> {
  const inTime = new AbortController();
  const abort = () => inTime.abort(signal?.reason);
  signal?.addEventListener('abort', abort);
  const timer = setTimeout(() => inTime.abort(new Error(`no answer within ${timeout} ms`)), timeout);
  let sent = false;
  try {
    const result = await abortable(http.renewing(async token => {
      sent = true;
      const response = await http.answer({
        method: 'POST', path, body, headers: { 'Content-Type': 'application/json' }, signal: inTime.signal,
      }, token);
      return parseJSON(await readText(response, inTime.signal)) as T;
    }), inTime.signal);
    return { result };
  } catch (error) {
    if (inTime.signal.aborted) {
      // A token source that takes too long has sent nothing.
      return { error: new TransportError('connection_lost', inTime.signal.reason), final: false, reached: sent };
    }
    if (error instanceof TransportError && error.kind !== 'unexpected_answer') {
      return { error, final: false, reached: error.kind === 'connection_lost' };
    }
    // Not final: a proxy gave up, or the server is about to stop; the request may be done or not.
    if (error instanceof Problem && [502, 503, 504].includes(error.status)) return { error, final: false, reached: true };
    return { error, final: true };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** A random id of 128 bits. Unlike crypto.randomUUID this also works on pages without TLS. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}
