/**
 * How long clients may wait in the kernel's queue while the listener is full, and how many are refused then. A place is
 * usually free again in a moment. But if no client leaves for long, the queue would wait for ever; and if balancers
 * form a loop (A to B to A), each waits for a place at the other, even when the clients that began it are long gone.
 * One refused client ends its chain.
 */

/**
 * How long no client has left before the first is refused, in milliseconds. After this time without a full listener the
 * state is reset.
 */
export const patienceMillis = 10_000;

/** The interval of further refusals while no client leaves, in milliseconds. */
export const paceMillis = 500;

/** The most that are refused at once. */
const most = 64;

/**
 * What is remembered between two looks at a full listener. The first refusal is of one client, the next of two, then
 * of four: a loop that many clients began is undone in as many steps as their number has binary digits.
 */
export class AcceptQueueTimeout {
  /** When it was last full. */
  #full = Number.NEGATIVE_INFINITY;
  /** When a client last left or was refused, and how many had left by then. */
  #since = 0;
  #left = 0;
  #wait = patienceMillis;
  #next = 1;

  /**
   * To be called while the listener is full, at a monotonic time in milliseconds; `left` is how many clients have left
   * since the start. Returns how many waiting clients to refuse.
   */
  full(now: number, left: number): number {
    if (now - this.#full >= patienceMillis) {
      this.#since = now;
      this.#wait = patienceMillis;
      this.#next = 1;
    } else if (left !== this.#left) this.#since = now;
    this.#full = now;
    this.#left = left;
    if (now - this.#since < this.#wait) return 0;
    const refused = this.#next;
    this.#since = now;
    this.#wait = paceMillis;
    this.#next = Math.min(2 * refused, most);
    return refused;
  }
}
