/**
 * Event counters (eventfd(2)): a descriptor that is readable while its count is above zero, by which one thread, or the
 * kernel, wakes another that waits in epoll.
 */
import type { Result } from "./Libc.js";

export interface EventCounters {
  /** A new counter at zero, non-blocking and close-on-exec. */
  readonly eventCounter: () => Result;
  /** Adds one: its descriptor is readable from now on. Any thread may. */
  readonly raiseCounter: (counter: number) => Result;
  /** Sets it back to zero. */
  readonly clearCounter: (counter: number) => Result;
}
