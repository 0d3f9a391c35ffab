/**
 * The loop of a data thread, in place of Node's: timers, and what is to run soon. It waits in the kernel, in the one
 * epoll descriptor of the thread's engine, and never for longer than a second, so that a thread that is to end does.
 */
import type { DataThreadPhase } from "../../net/DataThreadStatus.js";
import type { Service as HostLoop } from "../linux/HostLoop.js";

interface Timer {
  readonly at: number;
  readonly task: () => void;
}

/** The longest wait in the kernel, in milliseconds. */
const longestWait = 1_000;

export class BlockingLoop {
  /** A handful: the engine's round, and one for each list of deadlines. */
  readonly #timers: Array<Timer> = [];
  #soon: Array<() => void> = [];
  #next: Array<() => void> = [];
  /** What the engine needs of it. The engine's descriptor is the one that is waited for: `watch` has nothing to do. */
  readonly hostLoop: HostLoop;

  constructor(
    /** Milliseconds of a clock that never goes back. */
    readonly now: () => number,
    /** Told before each kind of work. */
    readonly enters: (phase: DataThreadPhase) => void = () => {},
  ) {
    this.hostLoop = {
      watch: () => ({ close: () => {} }),
      soon: (task) => {
        this.#next.push(task);
      },
      now,
      after: (millis, task) => {
        const timer = { at: now() + millis, task };
        this.#timers.push(timer);
        return { cancel: () => this.#remove(timer) };
      },
    };
  }

  /** Runs what is due. Returns how long the thread may wait in the kernel then, in whole milliseconds. */
  turn(): number {
    this.enters("timers");
    const now = this.now();
    // From the last on: a task may set and cancel others, and what is passed over by that is due in the next turn, at
    // once.
    for (let i = this.#timers.length - 1; i >= 0; i--) {
      const timer = this.#timers[i];
      if (timer === undefined || timer.at > now) continue;
      this.#remove(timer);
      timer.task();
    }
    const due = this.#next;
    this.#next = this.#soon;
    this.#soon = due;
    this.enters("relaying");
    // By index: an iterator is an object for each step until V8 has optimised the loop.
    for (let i = 0; i < due.length; i++) due[i]?.();
    due.length = 0;
    if (this.#next.length > 0) return 0;
    let wait = longestWait;
    // By the reading from before the tasks: a timer comes late by as much as they took, a millisecond or two.
    for (let i = 0; i < this.#timers.length; i++)
      wait = Math.min(wait, Math.ceil((this.#timers[i] as Timer).at - now)); // inside the array
    return Math.max(0, wait);
  }

  #remove(timer: Timer): void {
    const at = this.#timers.indexOf(timer);
    if (at >= 0) this.#timers.splice(at, 1);
  }
}
