/**
 * What a data thread counts of itself, in shared memory, for other threads to read at any time.
 *
 * Each word is written by the data thread alone. Counts are 64-bit floating-point numbers at addresses of multiples of
 * 8, which are read and written as a whole (see {@link Slots}): what is read was true a moment ago.
 */
import { readFileSync } from "node:fs";
import type { DataThreadPhase } from "../../net/DataThreadStatus.js";

/** In 64-bit numbers. */
const id = 0;
const turns = 1;
const waits = 2;
const numbers = 3;

/** In 32-bit words, behind these. */
const phase = 0;
const descriptor = 1;
const words = 2;

/** In the order of the numbers that stand for them; 0 is what memory begins with. */
const phases: ReadonlyArray<DataThreadPhase> = ["starting", "orders", "timers", "relaying", "waiting"];

export class ThreadCounts {
  readonly #counts: Float64Array;
  readonly #words: Int32Array;
  /** The data thread's: the descriptor that it works on. */
  readonly descriptors: Int32Array;

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(8 * numbers + 4 * words);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#counts = new Float64Array(memory, 0, numbers);
    this.#words = new Int32Array(memory, 8 * numbers, words);
    this.descriptors = this.#words.subarray(descriptor, descriptor + 1);
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

  /** The data thread's: what it does from now on. */
  enters(next: DataThreadPhase): void {
    this.#words[phase] = phases.indexOf(next);
  }

  get phase(): DataThreadPhase {
    return phases[this.#words[phase] as number] ?? "starting"; // inside the array
  }

  /** The descriptor that it has worked on last; 0 for none yet. */
  get descriptor(): number {
    return this.#words[descriptor] as number; // inside the array
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
