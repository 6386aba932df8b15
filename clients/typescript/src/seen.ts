/** How many ids are remembered. */
const most = 1024;

/** The ids of the latest events. */
export class Seen {
  // A Set iterates in the order of insertion, so its first id is the oldest.
  #ids = new Set<string>();

  /** Adds an id and reports whether it is new. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > most) this.#ids.delete(this.#ids.values().next().value!);
    return true;
  }

  clear(): void {
    this.#ids.clear();
  }
}
