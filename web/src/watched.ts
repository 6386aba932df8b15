// What others watch, to draw it again when it has changed.

export class Watched {
  readonly #schedule: (work: () => void) => void;
  #watchers = new Set<() => void>();
  #due = false;

  /** @param schedule Calls a function soon, but not at once, so that several changes are drawn as one. */
  constructor(schedule: (work: () => void) => void) { this.#schedule = schedule; }

  /** Calls a function after each change, until the returned one is called. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => { this.#watchers.delete(watcher); };
  }

  changed(): void {
    if (this.#due) return;
    this.#due = true;
    this.#schedule(() => {
      this.#due = false;
      this.#watchers.forEach(watcher => watcher());
    });
  }
}
