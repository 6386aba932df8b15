/**
 * The least wait before a reconnection, in milliseconds. Without it the client would reconnect in
 * a busy loop if the server sent `retry: 0`.
 */
const leastBackoff = 10;

/**
 * Computes the wait before the next connection, in milliseconds. It starts with a base, the
 * server's `retry`, and doubles after each failure.
 */
export class Backoff {
  #failures = 0;

  constructor(public base: number, readonly most: number, readonly random: () => number = Math.random) {}

  /**
   * Returns the wait and counts a failure. It adds up to half of the wait at random, to spread the
   * clients that a restart of the server disconnected.
   */
  next(): number {
    const base = Math.max(this.base, leastBackoff);
    const wait = Math.max(base, Math.min(base * 2 ** Math.min(this.#failures, 30), this.most));
    this.#failures++;
    return wait + Math.floor(this.random() * (wait / 2 + 1));
  }

  /** Sets the number of failures to zero. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Waits for a time in milliseconds, less if the signal is aborted or the browser is online again. */
export async function pause(time: number, signal: AbortSignal | undefined): Promise<void> {
  if (time <= 0 || signal?.aborted) return;
  const browser = 'addEventListener' in globalThis ? globalThis as unknown as EventTarget : undefined; // or a worker of one
  let done: (() => void) | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await new Promise<void>(resolve => {
      done = resolve;
      timer = setTimeout(resolve, time);
      signal?.addEventListener('abort', resolve as () => void);
      browser?.addEventListener('online', resolve as () => void);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', done!);
    browser?.removeEventListener('online', done!);
  }
}
