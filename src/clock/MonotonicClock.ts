/**
 * Monotonic time, for spans and deadlines: it is never set back or forward with the wall clock. What people read (the
 * time of a log line, when a backend went down) comes from `Clock.currentTimeMillis` instead.
 *
 * It is the one clock of the program: Effect's own `Clock` in nanoseconds. The live one counts from `process.hrtime`,
 * and `TestClock` replaces it. The few files that read the system's clock directly are listed in
 * `test/architecture.test.ts`, each with its reason.
 *
 * ```ts
 * const now = yield* MonotonicClock.reader
 * const from = now()
 * // ...
 * const millis = now() - from
 * ```
 */
import { Effect } from "effect";

/**
 * A synchronous reader of monotonic time in milliseconds, with fractions. Its origin means nothing: only differences
 * do. For places that read the time often and outside of fibers.
 */
export const reader: Effect.Effect<() => number> = Effect.clockWith((clock) =>
  Effect.succeed(() => Number(clock.unsafeCurrentTimeNanos()) / 1e6),
);

/** Monotonic time now, in milliseconds; see {@link reader}. */
export const now: Effect.Effect<number> = Effect.clockWith((clock) =>
  Effect.sync(() => Number(clock.unsafeCurrentTimeNanos()) / 1e6),
);
