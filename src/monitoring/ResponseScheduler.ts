/**
 * Delays expensive responses until all pending connections are accepted, so that a health probe is not stuck behind a
 * burst of page viewers: Node accepts one connection in each turn of its loop. Responses start in the order of their
 * requests, at most one in each turn. A request whose connection closes while it waits costs nothing.
 */

/** At least one response starts every 64 turns, even while connections keep arriving. */
export const mostTurns = 64;

export class ResponseScheduler {
  readonly #waiting: Array<() => void> = [];
  /** Whether this turn has brought a connection. */
  #arrived = false;
  /** For how many turns in succession no response was started. */
  #turns = 0;

  constructor(
    /** Calls back at the end of a turn of the loop, after its input was looked at. */
    readonly afterInput: (task: () => void) => void,
  ) {}

  /** A connection was accepted. */
  arrived(): void {
    this.#arrived = true;
  }

  /** Calls `begin` when the response may start. Bounded: at most one response waits for each open connection. */
  add(begin: () => void): void {
    if (this.#waiting.push(begin) === 1) this.afterInput(this.#next);
  }

  readonly #next = (): void => {
    this.#turns = this.#arrived ? this.#turns + 1 : mostTurns;
    this.#arrived = false;
    const begin = this.#turns < mostTurns ? undefined : this.#waiting.shift();
    if (begin !== undefined) this.#turns = 0;
    if (this.#waiting.length > 0) this.afterInput(this.#next);
    begin?.();
  };
}
