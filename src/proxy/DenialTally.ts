/**
 * Clients that were turned away, added up for the log: how many since the last line, and which most often. A client
 * that comes thousands of times a second costs one look at a table each time.
 */

/** Clients that are told apart between two lines. */
export const mostClients = 1_000;

/** What a line says of the clients that were turned away since the line before. */
export interface Summary {
  /** Turned away since the last line. */
  readonly count: number;
  /** The client that was turned away most often among the first thousand, and how often. */
  readonly mostFrom: string;
  readonly ofThese: number;
  /** Why the last of them was. */
  readonly why: string;
}

export class DenialTally {
  readonly #counts = new Map<string, number>();
  #count = 0;
  #why = "";
  #summarised = Number.NEGATIVE_INFINITY;

  constructor(
    /** From one summary to the next at least, in milliseconds. */
    readonly intervalMillis: number,
  ) {}

  /** Counts a client that was turned away at a monotonic time. Returns a summary if one is due. */
  add(host: string, why: string, now: number): Summary | undefined {
    this.#count += 1;
    this.#why = why;
    const count = this.#counts.get(host);
    if (count !== undefined) this.#counts.set(host, count + 1);
    else if (this.#counts.size < mostClients) this.#counts.set(host, 1);
    return this.rest(now);
  }

  /** What was not said yet, where the last summary is long enough ago; undefined for nothing. */
  rest(now: number): Summary | undefined {
    if (this.#count === 0 || now - this.#summarised < this.intervalMillis) return undefined;
    this.#summarised = now;
    let mostFrom = "";
    let ofThese = 0;
    for (const [host, of] of this.#counts) {
      if (of > ofThese) {
        mostFrom = host;
        ofThese = of;
      }
    }
    const summary = { count: this.#count, mostFrom, ofThese, why: this.#why };
    this.#count = 0;
    this.#counts.clear();
    return summary;
  }
}
