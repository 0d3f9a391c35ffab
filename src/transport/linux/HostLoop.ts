/**
 * The event loop that the Linux transport runs in: watching a descriptor, running a task soon or later, and a clock.
 * Implementations: Node's loop in the main thread, a blocking loop in a data thread, a simulated one in tests.
 */

export interface Watch {
  /** After this the callback is not called again, and the descriptor may be closed. */
  readonly close: () => void;
}

export interface Timer {
  /** After this the task is not run. Does nothing when it has run. */
  readonly cancel: () => void;
}

export interface Service {
  /**
   * Calls back again and again for as long as the descriptor is readable (level-triggered), between other things
   * that the loop has to do. The callback must not throw. Throws where the descriptor cannot be watched.
   */
  readonly watch: (fd: number, onReadable: () => void) => Watch;
  /**
   * Runs the task once, in a turn of the loop of its own, with fibers that were resumed before it running after it
   * at the latest. The task must not throw.
   */
  readonly soon: (task: () => void) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Runs the task once after this many milliseconds. The task must not throw. */
  readonly after: (millis: number, task: () => void) => Timer;
}
