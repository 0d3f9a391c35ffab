import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Exit, Fiber, FiberId } from "effect";
import { ConnectError, type Connection, connecting } from "../../src/transport/Transport.js";

/** A connection that is made when the test says so. */
const scripted = Effect.gen(function* () {
  const begun = yield* Deferred.make<void>();
  const state = { resets: 0, givenUp: 0 };
  const connection: Connection = {
    remote: { host: "10.0.0.1", port: 1 },
    close: () => {},
    reset: () => {
      state.resets += 1;
    },
  };
  let make: () => void = () => assert.fail("it has not begun");
  let fail: (error: ConnectError) => void = () => assert.fail("it has not begun");
  const connect = connecting((made, failed) => {
    make = () => made(connection);
    fail = failed;
    Deferred.unsafeDone(begun, Exit.void);
    return () => {
      state.givenUp += 1;
    };
  });
  const fiber = yield* Effect.fork(Effect.uninterruptible(connect));
  yield* Deferred.await(begun);
  return { state, connection, fiber, make: () => make(), fail: (error: ConnectError) => fail(error) };
});

describe("connecting", () => {
  it.effect("answers the connection, or why there is none", () =>
    Effect.gen(function* () {
      const good = yield* scripted;
      good.make();
      assert.strictEqual(yield* Fiber.join(good.fiber), good.connection);
      const bad = yield* scripted;
      const error = new ConnectError({ reason: "refused", address: good.connection.remote, code: undefined });
      bad.fail(error);
      assert.strictEqual(yield* Effect.flip(Fiber.join(bad.fiber)), error);
      assert.deepStrictEqual(
        [good.state, bad.state],
        [
          { resets: 0, givenUp: 0 },
          { resets: 0, givenUp: 0 },
        ],
      );
    }),
  );

  it.effect("gives up when it is interrupted, in an uninterruptible region too", () =>
    Effect.gen(function* () {
      const { fiber, state } = yield* scripted;
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)));
      assert.deepStrictEqual(state, { resets: 0, givenUp: 1 });
    }),
  );

  it.effect("resets a connection that was made when the fiber was interrupted before it heard of it", () =>
    Effect.gen(function* () {
      const { fiber, make, state } = yield* scripted;
      make();
      fiber.unsafeInterruptAsFork(FiberId.none);
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)));
      assert.deepStrictEqual(state, { resets: 1, givenUp: 0 });
    }),
  );
});
