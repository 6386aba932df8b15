import type { Schemas } from './types.js';

/** The stable code of a refusal, such as `blocked`. */
export type ProblemCode = Schemas['ProblemCode'];

/** The fields of a {@link Problem}. */
interface ProblemFields {
  readonly status: number;
  readonly title: string;
  readonly code: ProblemCode | '';
  readonly detail: string;
  readonly field?: string | undefined;
  readonly hookCode?: string | undefined;
  readonly hookText?: string | undefined;
  readonly retryAfter?: number | undefined;
}

/** The server answered with a status of 400 or more. */
export class Problem extends Error implements ProblemFields {
  override readonly name = 'Problem';
  /** The HTTP status. */
  readonly status: number;
  /** The HTTP status in words. */
  readonly title: string;
  /** What is wrong; `''` if the answer comes from a proxy and not from imapi. */
  readonly code: ProblemCode | '';
  /** An explanation for developers. */
  readonly detail: string;
  /** What is at fault: a path into the body, or a parameter. */
  readonly field: string | undefined;
  /** With `refused_by_hook`: the code that the application gives. */
  readonly hookCode: string | undefined;
  /** With `refused_by_hook`: what the application tells the sender, as plain text. */
  readonly hookText: string | undefined;
  /** How long to wait before the next attempt, in seconds, if the server said so. */
  readonly retryAfter: number | undefined;

  constructor(fields: ProblemFields) {
    super(describe(fields));
    this.status = fields.status;
    this.title = fields.title;
    this.code = fields.code;
    this.detail = fields.detail;
    this.field = fields.field;
    this.hookCode = fields.hookCode;
    this.hookText = fields.hookText;
    this.retryAfter = fields.retryAfter;
  }
}

function describe({ status, title, code, detail, field }: ProblemFields): string {
  return `${status} ${code || title}${detail && `: ${detail}`}${field ? ` (${field})` : ''}`;
}

/** The parts of an answer that a problem is read from. */
export interface Refusal {
  status: number;
  statusText: string;
  header(name: string): string | null;
  text: string;
}

/** Reads the problem in an answer. One that is not a problem, such as that of a proxy, has no code. */
export function readProblem(refusal: Refusal): Problem {
  const { status } = refusal;
  const retryAfter = seconds(refusal.header('Retry-After'));
  const plain = { status, title: refusal.statusText || 'HTTP error', code: '', detail: '', retryAfter } as const;
  if (mediaType(refusal.header('Content-Type')) !== 'application/problem+json') return new Problem(plain);
  try {
    const said = JSON.parse(refusal.text) as Partial<Schemas['Problem']>;
    return new Problem({
      status, // of the status line, which proxies go by
      title: said.title ?? plain.title,
      code: said.code ?? '',
      detail: said.detail ?? '',
      field: said.field,
      hookCode: said.hook_code,
      hookText: said.hook_text,
      retryAfter,
    });
  } catch {
    return new Problem(plain);
  }
}

/** Reads the problem in a response of fetch. */
export async function problemOf(response: Response): Promise<Problem> {
  return readProblem({
    status: response.status,
    statusText: response.statusText,
    header: name => response.headers.get(name),
    text: await response.text().catch(() => ''),
  });
}

/** The media type in a Content-Type, in lower case and without parameters. */
export function mediaType(contentType: string | null): string {
  return (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
}

/** Reads the form of Retry-After that the server sends: a number of seconds. */
function seconds(value: string | null): number | undefined {
  return value !== null && /^\d{1,5}$/.test(value) ? Number(value) : undefined;
}

/**
 * Why there was no answer from imapi.
 *
 * - `unreachable`: no connection could be made. The server has not seen the request.
 * - `connection_lost`: the request may have been sent, and no answer arrived. It is unknown
 *   whether the server carried it out. Browsers do not say whether there was a connection,
 *   so there it is always this one.
 * - `unexpected_answer`: there was an answer, but not from imapi; from a proxy, perhaps.
 */
export type TransportErrorKind = 'unreachable' | 'connection_lost' | 'unexpected_answer';

const explanations: Record<TransportErrorKind, string> = {
  unreachable: 'the server could not be reached',
  connection_lost: 'the connection was lost before the answer',
  unexpected_answer: 'the answer is not from imapi',
};

/** A request got no answer from imapi. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly kind: TransportErrorKind;
  /**
   * Of {@link Imapi.send} and {@link Imapi.create}: the `client_id` of the request. Sent again with
   * it, now or after a restart, the message, conversation or space is created only once.
   */
  readonly clientId: string | undefined;

  constructor(kind: TransportErrorKind, cause?: unknown, clientId?: string) {
    const reason = cause instanceof Error ? cause.message : cause === undefined ? '' : String(cause);
    super(explanations[kind] + (reason && `: ${reason}`), { cause });
    this.kind = kind;
    this.clientId = clientId;
  }
}

/** The error for a fetch that failed with an error. */
export function failedFetch(error: unknown): TransportError {
  return new TransportError(neverConnected(error) ? 'unreachable' : 'connection_lost', error);
}

/** Reports whether a request failed before it was sent, which only Node.js reveals. */
function neverConnected(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { cause, code, syscall, errors } = error as { cause?: unknown; code?: unknown; syscall?: unknown; errors?: unknown };
  if (Array.isArray(errors) && errors.length > 0) return errors.every(neverConnected); // one for each address
  if (syscall === 'connect' || syscall === 'getaddrinfo' || code === 'UND_ERR_CONNECT_TIMEOUT') return true;
  return cause !== error && neverConnected(cause);
}
