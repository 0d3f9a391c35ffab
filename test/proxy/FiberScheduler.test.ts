import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Fiber } from "effect";
import * as FiberScheduler from "../../src/proxy/FiberScheduler.js";

describe("the scheduler of the session fibers", () => {
  it.effect("runs what was resumed in one turn after it, in that order", () =>
    Effect.gen(function* () {
      const ran: Array<number> = [];
      const gates = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>(), Deferred.make<void>()]);
      const fibers = yield* Effect.withScheduler(
        Effect.forEach(gates, (gate, i) =>
          Effect.forkDaemon(
            Effect.andThen(
              Deferred.await(gate),
              Effect.sync(() => ran.push(i)),
            ),
          ),
        ),
        FiberScheduler.make(),
      );
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
      const [first, second, third] = gates;
      yield* Effect.sync(() => {
        for (const gate of [third, first, second]) Deferred.unsafeDone(gate, Effect.void);
        assert.deepStrictEqual(ran, []);
      });
      yield* Fiber.joinAll(fibers);
      assert.deepStrictEqual(ran, [2, 0, 1]);
    }),
  );

  it.effect("lets the loop turn while fibers go on and on", () =>
    Effect.gen(function* () {
      const turns = FiberScheduler.make();
      const busy = yield* Effect.forkDaemon(Effect.withScheduler(Effect.forever(Effect.yieldNow()), turns));
      const computing = yield* Effect.forkDaemon(Effect.withScheduler(Effect.forever(Effect.void), turns));
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(() => setImmediate(resolve))));
      yield* Fiber.interruptAll([busy, computing]);
    }),
  );
});
