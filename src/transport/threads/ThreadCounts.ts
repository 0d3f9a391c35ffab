/**
 * What a data thread counts of itself, in shared memory, for whoever asks: it is never told.
 *
 * Each word is written by the data thread alone. Counts are 64-bit floating-point numbers at addresses of multiples of 8,
 * which are read and written as a whole (see {@link Slots}): what is read was true a moment ago.
 */

/** In 64-bit numbers. */
const id = 0;
const turns = 1;
const waits = 2;
const words = 3;

export class ThreadCounts {
  readonly #counts: Float64Array;

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(8 * words);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#counts = new Float64Array(memory);
  }

  /** The data thread's, once. */
  begin(threadId: number): void {
    this.#counts[id] = threadId;
  }

  /** The data thread's: it has waited in the kernel, or only looked, and handled what has come. */
  turned(waited: boolean): void {
    this.#counts[turns] = this.turns + 1;
    if (waited) this.#counts[waits] = this.waits + 1;
  }

  /**
   * The system's number of the thread, by which /proc/self/task/NUMBER/schedstat has its processor time; 0 where it is
   * not known.
   */
  get id(): number {
    return this.#counts[id] as number; // inside the array, as are the next
  }

  /** Turns of its loop since it started. One that waits takes at least one in a second. */
  get turns(): number {
    return this.#counts[turns] as number;
  }

  /** How often it has waited in the kernel, and was woken by something or by its time. */
  get waits(): number {
    return this.#counts[waits] as number;
  }
}
