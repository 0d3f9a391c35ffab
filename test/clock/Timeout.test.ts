import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Either } from "effect";
import * as Timeout from "../../src/clock/Timeout.js";
import * as StallingClock from "../support/StallingClock.js";

const timeoutMillis = 3000;

/** When an effect that never ends is given up, with sleeps that are late by so much at that time. */
const givenUpAt = (lateness: (now: number) => number) =>
  Effect.suspend(() => {
    const clock = StallingClock.make(lateness);
    return Effect.never.pipe(
      Timeout.timeoutFail(timeoutMillis, () => "timeout"),
      Effect.either,
      Effect.map((result) => {
        assert.deepStrictEqual(result, Either.left("timeout"));
        return clock.now();
      }),
      Effect.provide(clock.layer),
    );
  });

/** Late by so much once, in the first sleep from a time on. */
const once = (from: number, millis: number) => {
  let left = millis;
  return (now: number) => {
    if (now < from) return 0;
    const late = left;
    left = 0;
    return late;
  };
};

describe("Timeout.timeoutFail", () => {
  it.live("gives up at the deadline", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* givenUpAt(() => 0), 3000);
    }),
  );

  it.live("adds the time of a stall, and nothing for turns that are a little late", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* givenUpAt(once(1000, 500)), 3500);
      assert.strictEqual(yield* givenUpAt(once(1000, 10_000)), 13_000);
      // The deadline passes within the turn that is late.
      assert.strictEqual(yield* givenUpAt(once(2750, 499)), 3499);
      assert.strictEqual(yield* givenUpAt(once(2750, 500)), 3500);
    }),
  );

  it.live("adds no more than half a minute in all", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* givenUpAt(once(0, 3_600_000)), 3_600_250);
      // A second in each quarter of one: 30 of them are added, and then time runs as it does.
      assert.isAtMost(yield* givenUpAt(() => 1000), 3000 + 30_000 + 4 * 3000);
    }),
  );

  it.live("takes an answer that is there when the deadline has passed during a stall", () =>
    Effect.gen(function* () {
      const answer = yield* Deferred.make<string>();
      const clock = StallingClock.make((now) => {
        if (now < 2750) return 0;
        // What comes from a socket is looked at in a turn of the event loop.
        setImmediate(() => Deferred.unsafeDone(answer, Effect.succeed("answer")));
        return 60_000;
      });
      const result = yield* Deferred.await(answer).pipe(
        Timeout.timeoutFail(timeoutMillis, () => "timeout"),
        Effect.provide(clock.layer),
      );
      assert.strictEqual(result, "answer");
    }),
  );

  it.live("interrupts what it gives up", () =>
    Effect.gen(function* () {
      const clock = StallingClock.make(() => 0);
      const interrupted = yield* Deferred.make<void>();
      yield* Effect.never.pipe(
        Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)),
        Timeout.timeoutFail(timeoutMillis, () => "timeout"),
        Effect.flip,
        Effect.provide(clock.layer),
      );
      yield* Deferred.await(interrupted);
    }),
  );
});
