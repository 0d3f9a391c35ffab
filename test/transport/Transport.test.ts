import { assert, describe, it } from "@effect/vitest";
import { Cause, type Context, Deferred, Effect, Exit, Fiber, FiberId } from "effect";
import {
  ConnectError,
  type Connection,
  make as makeTransport,
  type RelayOutcome,
  type Transport,
} from "../../src/transport/Transport.js";

const outcome: RelayOutcome = { end: "client-closed", received: 1, sent: 2 };

/** A connection that is made, and a relay that ends, when the test says so. */
const scripted = <A>(
  use: (transport: Context.Tag.Service<typeof Transport>) => Effect.Effect<A, ConnectError>,
) =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>();
    const state = { resets: 0, givenUp: 0, aborted: 0 };
    const connection: Connection = {
      remote: { host: "10.0.0.1", port: 1 },
      close: () => {},
      reset: () => {
        state.resets += 1;
      },
    };
    let make: () => void = () => assert.fail("it has not begun");
    let fail: (error: ConnectError) => void = () => assert.fail("it has not begun");
    let end: () => void = () => assert.fail("it is not relayed");
    const transport = makeTransport({
      name: "scripted",
      faults: () => 0,
      watch: () => () => {},
      listen: () => Effect.die("not asked for"),
      probe: () => assert.fail("not asked for"),
      head: () => assert.fail("not asked for"),
      connect: (_target, _options, made, failed) => {
        make = () => made(connection);
        fail = failed;
        Deferred.unsafeDone(begun, Exit.void);
        return () => {
          state.givenUp += 1;
        };
      },
      relay: (_client, backend, _meter, ended) => {
        assert.strictEqual(backend, connection);
        end = () => ended(outcome);
        return () => {
          state.aborted += 1;
        };
      },
    });
    const fiber = yield* Effect.fork(Effect.uninterruptible(use(transport)));
    yield* Deferred.await(begun);
    return {
      state,
      connection,
      fiber,
      make: () => make(),
      fail: (error: ConnectError) => fail(error),
      end: () => end(),
    };
  });

const address = { host: "10.0.0.1", port: 1 };
const untouched = { resets: 0, givenUp: 0, aborted: 0 };

describe("connecting", () => {
  const connect = scripted((transport) => transport.connect(address, { timeoutMillis: 1_000 }));

  it.effect("answers the connection, or why there is none", () =>
    Effect.gen(function* () {
      const good = yield* connect;
      good.make();
      assert.strictEqual(yield* Fiber.join(good.fiber), good.connection);
      const bad = yield* connect;
      const error = new ConnectError({ reason: "refused", address: good.connection.remote, code: undefined });
      bad.fail(error);
      assert.strictEqual(yield* Effect.flip(Fiber.join(bad.fiber)), error);
      assert.deepStrictEqual([good.state, bad.state], [untouched, untouched]);
    }),
  );

  it.effect("gives up when it is interrupted, in an uninterruptible region too", () =>
    Effect.gen(function* () {
      const { fiber, state } = yield* connect;
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)));
      assert.deepStrictEqual(state, { ...untouched, givenUp: 1 });
    }),
  );

  it.effect("resets a connection that was made when the fiber was interrupted before it heard of it", () =>
    Effect.gen(function* () {
      const { fiber, make, state } = yield* connect;
      make();
      fiber.unsafeInterruptAsFork(FiberId.none);
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)));
      assert.deepStrictEqual(state, { ...untouched, resets: 1 });
    }),
  );
});

describe("forwarding", () => {
  const client: Connection = {
    remote: { host: "10.0.0.2", port: 2 },
    close: () => assert.fail("not the transport's to close"),
    reset: () => assert.fail("not the transport's to reset"),
  };
  const counts = { received: 0, sent: 0 };
  const forward = (connected: () => void) =>
    scripted((transport) => transport.forward(client, address, { timeoutMillis: 1_000, connected }, counts));

  it.effect("connects, says so, relays and answers how that ended", () =>
    Effect.gen(function* () {
      let told = 0;
      const { end, fiber, make, state } = yield* forward(() => {
        told += 1;
      });
      assert.strictEqual(told, 0);
      make();
      assert.strictEqual(told, 1);
      end();
      assert.deepStrictEqual(yield* Fiber.join(fiber), outcome);
      assert.deepStrictEqual(state, untouched);
    }),
  );

  it.effect("leaves the client alone when there is no connection", () =>
    Effect.gen(function* () {
      const { fail, fiber, state } = yield* forward(() => assert.fail("it was not connected"));
      const error = new ConnectError({ reason: "refused", address, code: undefined });
      fail(error);
      assert.strictEqual(yield* Effect.flip(Fiber.join(fiber)), error);
      assert.deepStrictEqual(state, untouched);
    }),
  );

  it.effect("gives up what it is at when it is interrupted: the connecting, or the relay", () =>
    Effect.gen(function* () {
      const connecting = yield* forward(() => {});
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(connecting.fiber)));
      assert.deepStrictEqual(connecting.state, { ...untouched, givenUp: 1 });
      const relaying = yield* forward(() => {});
      relaying.make();
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(relaying.fiber)));
      assert.deepStrictEqual(relaying.state, { ...untouched, aborted: 1 });
    }),
  );

  it.effect("resets the backend and fails with the defect when the caller's code throws", () =>
    Effect.gen(function* () {
      const { fiber, make, state } = yield* forward(() => {
        throw new Error("a bug");
      });
      make();
      const exit = yield* Fiber.await(fiber);
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause));
      assert.deepStrictEqual(state, { ...untouched, resets: 1 });
    }),
  );
});
