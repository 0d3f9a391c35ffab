/**
 * Deadlines with one timer for all of them and without fibers. Stalls extend them (see `clock/StallLimits`), and after
 * one nothing expires before a full round of input was handled.
 */
import { longestExtension, lookMillis, stallMillis } from "./StallLimits.js";

/** Something with a deadline. All fields are managed by {@link Deadlines}. */
export abstract class Expiring {
  /** When it was added, and when it expires, on the loop's clock. */
  since = 0;
  deadline = 0;
  /** By how much stalls have extended it, in milliseconds. */
  extended = 0;
  earlier: Expiring | undefined;
  later: Expiring | undefined;

  /** Called once when the deadline has passed; not after {@link Deadlines.remove}. */
  abstract expire(): void;
}

/** What deadlines need of the loop that they run in. */
export interface Loop {
  /** Monotonic time in milliseconds. */
  readonly now: () => number;
  /** Runs the task once after `millis` milliseconds. */
  readonly after: (millis: number, task: () => void) => { readonly cancel: () => void };
  /** Runs the task once, after all input that has arrived by now was handled. */
  readonly afterInput: (task: () => void) => void;
}

export class Deadlines {
  #earliest: Expiring | undefined;
  #latest: Expiring | undefined;
  #timer: { readonly cancel: () => void } | undefined;
  /** When the timer should come; of no meaning without it. */
  #timerDue = 0;
  /** After a stall, until a round of input was looked at. */
  #lookingAtInput = false;
  #closed = false;

  constructor(
    readonly loop: Loop,
    /** Called with what an `expire` has thrown. */
    readonly onFault: (fault: unknown) => void,
  ) {}

  /** Calls `expire` after this many milliseconds, unless {@link remove} comes first. */
  add(expiring: Expiring, millis: number): void {
    const now = this.loop.now();
    expiring.since = now;
    expiring.deadline = now + millis;
    expiring.extended = 0;
    this.#insert(expiring);
    if (this.#earliest === expiring) this.#wakeAt(expiring.deadline, now);
  }

  /** Does nothing for one that was not added, was removed, or has expired. */
  remove(expiring: Expiring): void {
    const { earlier, later } = expiring;
    if (earlier === undefined) {
      if (this.#earliest !== expiring) return;
      this.#earliest = later;
    } else earlier.later = later;
    if (later === undefined) this.#latest = earlier;
    else later.earlier = earlier;
    expiring.earlier = undefined;
    expiring.later = undefined;
    // The timer stays set: the next one needs it, and if there is none it comes for nothing, once.
  }

  /** Nothing expires any more. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #insert(expiring: Expiring): void {
    // Nearly always all limits are equal, and the newest belongs at the end.
    let before = this.#latest;
    while (before !== undefined && before.deadline > expiring.deadline) before = before.earlier;
    const after = before === undefined ? this.#earliest : before.later;
    expiring.earlier = before;
    expiring.later = after;
    if (before === undefined) this.#earliest = expiring;
    else before.later = expiring;
    if (after === undefined) this.#latest = expiring;
    else after.earlier = expiring;
  }

  #wakeAt(deadline: number, now: number): void {
    if (this.#closed || this.#lookingAtInput) return;
    const due = Math.min(deadline, now + lookMillis);
    if (this.#timer !== undefined) {
      if (this.#timerDue <= due) return;
      this.#timer.cancel();
    }
    // Timers are set in milliseconds and may come early by a part of one.
    const millis = Math.max(1, due - now);
    this.#timerDue = now + millis;
    this.#timer = this.loop.after(millis, this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const now = this.loop.now();
    const late = now - this.#timerDue;
    if (late < stallMillis) {
      this.#expire();
      return;
    }
    this.#extend(late, now);
    this.#lookingAtInput = true;
    this.loop.afterInput(() => {
      this.#lookingAtInput = false;
      this.#expire();
    });
  };

  /** Adds the time of a stall to every deadline, as far as it was running then. */
  #extend(stall: number, now: number): void {
    const running: Array<Expiring> = [];
    for (let next = this.#earliest; next !== undefined; next = next.later) running.push(next);
    this.#earliest = undefined;
    this.#latest = undefined;
    for (const expiring of running) {
      const extension = Math.min(stall, now - expiring.since, longestExtension - expiring.extended);
      expiring.deadline += extension;
      expiring.extended += extension;
    }
    for (const expiring of running.sort((a, b) => a.deadline - b.deadline)) this.#insert(expiring);
  }

  #expire(): void {
    if (this.#closed) return;
    const now = this.loop.now();
    for (;;) {
      const first = this.#earliest;
      if (first === undefined) return;
      if (first.deadline > now) {
        this.#wakeAt(first.deadline, now);
        return;
      }
      this.remove(first);
      try {
        first.expire();
      } catch (fault) {
        this.onFault(fault);
      }
    }
  }
}
