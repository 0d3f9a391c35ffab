/**
 * How long clients may wait in the kernel's queue while the listener has no place for them, and how many are refused then.
 * A place is mostly free again in a moment. But where no client leaves for long, the queue would wait for ever; and where
 * balancers stand in a loop (A to B to A), each waits for a place at the other, also when the clients who began it are
 * long gone. One refused client undoes its chain.
 */

/**
 * How long nobody has left before the first is refused, in milliseconds. After as long without a full listener all
 * begins anew.
 */
export const patienceMillis = 10_000;

/** From one refusal to the next, as long as nobody leaves, in milliseconds. */
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
  /** When somebody last left or was refused, and how many had left by then. */
  #since = 0;
  #left = 0;
  #wait = patienceMillis;
  #next = 1;

  /** It is full at a time (monotonic, in milliseconds), and so many clients have left in all. Answers how many to refuse. */
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
