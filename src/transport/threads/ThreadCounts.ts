/**
 * What a data thread counts of itself, in shared memory, for whoever asks: it is never told.
 *
 * Each word is written by the data thread alone. Counts are 64-bit floating-point numbers at addresses of multiples of 8,
 * which are read and written as a whole (see {@link Slots}): what is read was true a moment ago.
 */
import { readFileSync } from "node:fs";

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

  /** The data thread's, once: the system's number of it. */
  begin(threadId: number): void {
    this.#counts[id] = threadId;
  }

  /** The data thread's: it has waited in the kernel, or only looked, and handled what has come. */
  turned(waited: boolean): void {
    this.#counts[turns] = this.turns + 1;
    if (waited) this.#counts[waits] = this.waits + 1;
  }

  /** Processor time that it has used, in seconds; undefined where the system does not say. */
  get cpuSeconds(): number | undefined {
    try {
      // Nanoseconds on a processor come first (Linux, Documentation/scheduler/sched-stats).
      const [nanos] = readFileSync(`/proc/self/task/${this.#counts[id]}/schedstat`, "utf8").split(" ");
      return Number(nanos) / 1e9;
    } catch {
      return undefined;
    }
  }

  /** Turns of its loop since it started. One that waits takes at least one in a second. */
  get turns(): number {
    return this.#counts[turns] as number; // inside the array, as is the next
  }

  /** How often it has waited in the kernel, and was woken by something or by its time. */
  get waits(): number {
    return this.#counts[waits] as number;
  }
}
