/**
 * Connections that the balancer itself ends, over real sockets, on every transport.
 */
import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, Fiber, Logger, Schedule, type Scope } from "effect";
import * as Pool from "../../src/backend/Pool.js";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import { failed } from "../support/Observations.js";
import { dial, eventually, receive, sendBulk, serve } from "../support/Sockets.js";
import { codes, lines, type StartedBalancer, start, until } from "../support/StartedBalancer.js";
import { blackHole } from "../support/StoppableServer.js";
import { transports } from "../support/Transports.js";

/** Three failed probes. */
const takeDown = ({ registry }: StartedBalancer, id: string) =>
  Effect.gen(function* () {
    const backend = Pool.backends(yield* registry.pool).find((each) => each.id === id);
    if (backend === undefined) return assert.fail(`${id} is gone`);
    yield* Effect.replicateEffect(registry.observed(backend, failed("it is down")), 3);
  });

const greeting = serve((socket) => {
  socket.resume();
  socket.write("hello");
});

/** A client that has heard from its backend, and what it has heard. */
const greeted = (port: number) =>
  Effect.gen(function* () {
    const client = yield* dial(port);
    const chunks: Array<Buffer> = [];
    client.on("data", (chunk) => chunks.push(chunk));
    const received = receive(client);
    yield* eventually(() => chunks.length > 0);
    return { client, received: Effect.promise(() => received) };
  });

describe.each(Object.entries(transports))("on %s", (name, transport) => {
  const run = (body: Effect.Effect<void, unknown, Scope.Scope>) =>
    Effect.orDie(Effect.provide(body, Logger.remove(Logger.defaultLogger)));
  const test = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
    it.scopedLive(title, () => run(body));

  test(
    "a connection is found by what it carries and for how long it is idle, and cut alone",
    Effect.gen(function* () {
      const { port } = yield* greeting;
      const started = yield* start({ ports: [port], transport, options: { drainTimeout: Duration.zero } });
      const { log, sessions } = started;
      const quiet = yield* greeted(started.port);
      const busy = yield* greeted(started.port);
      const talking = yield* Effect.fork(
        Effect.forever(Effect.tap(TimeSlices.turn, () => busy.client.write("something"))),
      );
      const [first, second, ...others] = yield* sessions.sample({ order: "busiest", limit: 10 });
      yield* Fiber.interrupt(talking);
      assert.isEmpty(others);
      if (first === undefined || second === undefined) return assert.fail("two are open");
      assert.strictEqual(first.client.port, busy.client.localPort);
      assert.strictEqual(second.client.port, quiet.client.localPort);
      assert.isAbove(first.receivedPerSecond, 0);
      assert.deepStrictEqual(
        [first.sentPerSecond, second.receivedPerSecond, second.sentPerSecond],
        [0, 0, 0],
      );
      assert.deepStrictEqual([second.received, second.sent, second.phase], [0, "hello".length, "relaying"]);
      if (name === "node")
        assert.deepStrictEqual([first.idleMillis, second.idleMillis], [undefined, undefined]);
      else assert.isBelow(first.idleMillis ?? Infinity, second.idleMillis ?? 0);

      assert.deepInclude(yield* sessions.cut(second.id), { id: second.id, client: second.client });
      assert.strictEqual((yield* quiet.received).end, "reset");
      yield* until(Effect.map(sessions.open, (open) => open === 1));
      const lines = log.take().filter(({ message }) => message === "connection");
      assert.deepStrictEqual(
        lines.map(({ annotations }) => [annotations["code"], annotations["id"]]),
        [["cut/relaying", second.id]],
      );
      // Once more, and one of a process that was started an hour ago.
      assert.isUndefined(yield* sessions.cut(second.id));
      assert.isUndefined(yield* sessions.cut(first.id - 3_600_000 * 1_024));
      assert.strictEqual(yield* sessions.open, 1);
    }),
  );

  test(
    "a backend that goes down takes its connections with it, and no others, where that is asked for",
    Effect.gen(function* () {
      const atBackend: Array<ReturnType<typeof receive>> = [];
      const first = yield* serve((socket) => {
        atBackend.push(receive(socket));
        socket.write("hello");
      });
      const second = yield* greeting;
      const ports = [first.port, second.port];
      const started = yield* start({ ports, transport, options: { onBackendDown: "reset" } });
      const cut = yield* greeted(started.port);
      const kept = yield* greeted(started.port);
      yield* takeDown(started, `b${first.port}`);
      assert.strictEqual((yield* cut.received).end, "reset");
      const [server] = yield* Effect.promise(() => Promise.all(atBackend));
      assert.strictEqual(server?.end, "reset");
      yield* until(Effect.map(started.registry.pool, ({ connections }) => connections === 1));
      assert.deepStrictEqual(codes(started.log), ["backend-down/relaying"]);
      assert.strictEqual(lines(started.log, "connection")[0]?.annotations["sent"], "hello".length);
      yield* takeDown(started, `b${second.port}`);
      assert.strictEqual((yield* kept.received).end, "reset");
    }),
  );

  test(
    "connections of a backend that goes down run on unless told otherwise",
    Effect.gen(function* () {
      const echo = yield* serve((socket) => socket.write("hello") && socket.pipe(socket));
      const started = yield* start({ ports: [echo.port], transport });
      const { client, received } = yield* greeted(started.port);
      yield* takeDown(started, `b${echo.port}`);
      client.end(" and on");
      const { bytes, end } = yield* received;
      assert.deepStrictEqual([bytes.toString(), end], ["hello and on", "fin"]);
    }),
  );

  test(
    "a client whose backend goes down while it is connected to gets another one",
    Effect.gen(function* () {
      const hole = yield* blackHole;
      const alive = yield* greeting;
      const started = yield* start({
        ports: [hole, alive.port],
        transport,
        options: {
          onBackendDown: "reset",
          connectTimeout: Duration.millis(500),
          drainTimeout: Duration.zero,
        },
      });
      const client = yield* dial(started.port);
      const chunks: Array<Buffer> = [];
      client.on("data", (chunk) => chunks.push(chunk));
      yield* until(Effect.map(started.registry.pool, ({ connections }) => connections === 1));
      yield* takeDown(started, `b${hole}`);
      yield* eventually(() => chunks.length > 0);
      assert.deepStrictEqual(codes(started.log), []);
    }),
  );

  test(
    "a connection is reset at its age, on both sides, however busy it is",
    Effect.gen(function* () {
      const echo = yield* serve((socket) => socket.write("hello") && socket.pipe(socket));
      const started = yield* start({
        ports: [echo.port],
        transport,
        options: { maxConnectionAge: Duration.millis(500) },
      });
      const { client, received } = yield* greeted(started.port);
      // What comes back is sent again, for as long as it lasts.
      client.on("data", (chunk) => client.write(chunk));
      client.write("ping");
      assert.strictEqual((yield* received).end, "reset");
      yield* until(Effect.map(started.registry.pool, ({ connections }) => connections === 0));
      yield* eventually(() => echo.sockets.size === 0);
      assert.deepStrictEqual(codes(started.log), ["max-age/relaying"]);
      const [line] = lines(started.log, "connection");
      assert.isAtLeast(Number(line?.annotations["duration_ms"]), 0.9 * 500);
    }),
  );

  test(
    "a connection without a byte for IDLE_TIMEOUT is reset on both sides, and one with bytes goes on",
    Effect.gen(function* () {
      const echo = yield* serve((socket) => socket.write("hello") && socket.pipe(socket));
      const started = yield* start({
        ports: [echo.port],
        transport,
        options: { idleTimeout: Duration.seconds(1), drainTimeout: Duration.zero },
      });
      const busy = yield* greeted(started.port);
      busy.client.on("data", (chunk) => busy.client.write(chunk));
      busy.client.write("ping");
      for (let n = 0; n < 2; n++) {
        const idle = yield* greeted(started.port);
        assert.strictEqual((yield* idle.received).end, "reset");
      }
      yield* until(Effect.map(started.registry.pool, ({ connections }) => connections === 1));
      yield* eventually(() => echo.sockets.size === 1);
      assert.deepStrictEqual(codes(started.log), ["idle-timeout/relaying", "idle-timeout/relaying"]);
      assert.isFalse(busy.client.destroyed);
    }),
  );

  test(
    "a half-closed connection without a byte for HALF_CLOSED_TIMEOUT is reset, and one that is open goes on",
    Effect.gen(function* () {
      const server = yield* greeting;
      const started = yield* start({
        ports: [server.port],
        transport,
        options: { halfClosedTimeout: Duration.seconds(1), drainTimeout: Duration.zero },
      });
      const open = yield* greeted(started.port);
      for (let n = 0; n < 2; n++) {
        const half = yield* greeted(started.port);
        half.client.end("no more from here");
        assert.strictEqual((yield* half.received).end, "reset");
      }
      yield* until(Effect.map(started.registry.pool, ({ connections }) => connections === 1));
      assert.deepStrictEqual(codes(started.log), [
        "half-closed-timeout/relaying",
        "half-closed-timeout/relaying",
      ]);
      assert.isFalse(open.client.destroyed);
    }),
  );

  it.scopedLive.skipIf(name === "node")(
    "a reader that takes bytes slowly is not idle, and one that takes none is",
    () =>
      run(
        Effect.gen(function* () {
          const server = yield* serve((socket) => sendBulk(socket, 256 * 1024 * 1024));
          const started = yield* start({
            ports: [server.port],
            transport,
            options: { idleTimeout: Duration.seconds(1), drainTimeout: Duration.zero },
          });
          const client = yield* dial(started.port);
          client.pause();
          // A little at a time: it takes far longer than the limit before there is room for more in the kernel's buffers.
          const reading = Effect.sync(() => client.read(32 * 1024)).pipe(
            Effect.repeat(Schedule.spaced("50 millis")),
          );
          yield* Effect.timeoutOption(reading, "5 seconds");
          assert.deepStrictEqual(codes(started.log), []);
          assert.isFalse(client.destroyed);
          yield* eventually(() => codes(started.log).length > 0);
          assert.deepStrictEqual(codes(started.log), ["idle-timeout/relaying"]);
        }),
      ),
  );
});
