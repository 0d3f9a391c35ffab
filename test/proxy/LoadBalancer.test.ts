import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Deferred, Duration, Effect, Exit, Fiber, Logger, LogLevel, type Scope } from "effect";
import type { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import * as Pool from "../../src/backend/Pool.js";
import { catalog } from "../../src/metrics/Catalog.js";
import type { Recorder } from "../../src/metrics/Recorder.js";
import { AcceptError, ConnectError, type RelayOutcome } from "../../src/transport/Transport.js";
import { failed, succeeded } from "../support/Observations.js";
import * as Ports from "../support/Ports.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";
import { descriptors, dial, eventually, receive, serve } from "../support/Sockets.js";
import { codes, lines, type StartedBalancer, start, until } from "../support/StartedBalancer.js";
import { blackHole } from "../support/StoppableServer.js";

const test = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(title, () => Effect.orDie(Effect.provide(body, Logger.remove(Logger.defaultLogger))));

const connections = (registry: typeof BackendRegistry.Service) =>
  Effect.map(registry.pool, (pool) => pool.connections);

/** What a client receives that only listens; it may be reset before it has noticed that it was connected. */
const reach = (port: number) => Effect.promise(() => receive(connect({ host: "127.0.0.1", port })));

/** Succeeds when nothing listens on this loopback port. */
const refusedBy = (port: number) =>
  Effect.acquireRelease(
    Effect.async<Socket, "accepted">((resume) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.once("connect", () => {
        socket.destroy();
        resume(Effect.fail("accepted"));
      });
      socket.once("error", () => resume(Effect.succeed(socket)));
    }),
    (socket) => Effect.sync(() => socket.destroy()),
  );

const idle = ({ balancer, registry }: StartedBalancer) =>
  until(
    Effect.map(
      Effect.all([balancer.open, registry.pool]),
      ([open, { connections }]) => open === 0 && connections === 0,
    ),
  );

/** What has been counted since the start. */
const counts = (metrics: Recorder) => {
  const all = [metrics, ...metrics.backends.values()].flatMap(({ series }) => series);
  const count = (family: { readonly name: string }) =>
    all
      .filter(({ name }) => name === family.name)
      .reduce((sum, { value }) => sum + (typeof value === "number" ? value : 0), 0);
  return {
    accepted: count(catalog.opened),
    refused: count(catalog.refused),
    acceptErrors: count(catalog.acceptErrors),
    connectFailures: count(catalog.connectFailures),
    redispatches: count(catalog.redispatches),
  };
};

const echo = serve((socket) => socket.pipe(socket));

/** Serves connections that stay open and say who answers. */
const greeting = (name: string) => serve((socket) => socket.write(name));

const said = (socket: Socket) =>
  Effect.promise(async () => {
    const [chunk] = await once(socket, "data");
    return String(chunk);
  });

describe("LoadBalancer", () => {
  test(
    "logs how each connection ended, what it carried and how often it was retried",
    Effect.gen(function* () {
      const dead = yield* Ports.unused;
      const alive = yield* serve((socket) => socket.once("data", () => socket.end("answer")));
      const started = yield* start({ ports: [dead, alive.port], options: { accessLog: "all" } });
      const client = yield* dial(started.port);
      const { localPort } = client;
      const answer = receive(client);
      client.once("end", () => client.end());
      client.write("question");
      yield* Effect.promise(() => answer);
      yield* idle(started);
      const [line] = lines(started.log, "connection");
      const { accepted, connect_ms, duration_ms, id, ...rest } = line?.annotations ?? {};
      assert.isTrue(Number.isSafeInteger(id));
      assert.deepStrictEqual(rest, {
        code: "backend/relaying",
        client: `127.0.0.1:${localPort}`,
        backend: `b${alive.port} (127.0.0.1:${alive.port})`,
        received: "question".length,
        sent: "answer".length,
        retries: 1,
        backend_connections: 1,
      });
      assert.isBelow(Number(connect_ms), Number(duration_ms));
      assert.closeTo(Date.parse(String(accepted)), Date.now(), 30_000);
    }),
  );

  test(
    "gives clients to the backends in turn, counts their connections, and releases them",
    Effect.gen(function* () {
      const servers = yield* Effect.all([greeting("a"), greeting("b"), greeting("c")]);
      const started = yield* start({ ports: servers.map(({ port }) => port) });
      const clients = yield* Effect.replicateEffect(dial(started.port), 6);
      const answers = yield* Effect.all(clients.map(said), { concurrency: "unbounded" });
      assert.deepStrictEqual([...answers].sort(), ["a", "a", "b", "b", "c", "c"]);
      const pool = yield* started.registry.pool;
      assert.deepStrictEqual(
        Pool.backends(pool).map((backend) => Pool.connections(pool, backend)),
        [2, 2, 2],
      );
      assert.strictEqual(yield* started.balancer.open, 6);
      for (const client of clients) client.resetAndDestroy();
      yield* idle(started);
      assert.deepStrictEqual(counts(started.metrics), {
        accepted: 6,
        refused: 0,
        acceptErrors: 0,
        connectFailures: 0,
        redispatches: 0,
      });
    }),
  );

  test(
    "takes another backend when one refuses, keeps what the client has sent, and counts the failure once",
    Effect.gen(function* () {
      const dead = yield* Ports.unused;
      const alive = yield* echo;
      const started = yield* start({ ports: [dead, alive.port] });
      const client = yield* dial(started.port);
      const answer = receive(client);
      client.end("sent before any backend was there");
      assert.strictEqual(
        (yield* Effect.promise(() => answer)).bytes.toString(),
        "sent before any backend was there",
      );
      yield* idle(started);
      assert.deepStrictEqual(counts(started.metrics), {
        accepted: 1,
        refused: 0,
        acceptErrors: 0,
        connectFailures: 1,
        redispatches: 1,
      });
      const pool = yield* started.registry.pool;
      assert.strictEqual(pool.failing, 1, "the failed connect counts as a failed probe");
      const [first] = Pool.backends(pool);
      assert.isDefined(first === undefined ? undefined : Pool.lastCheck(pool, first));
      const [line] = lines(started.log, "backend could not be connected to");
      assert.match(String(line?.annotations["why"]), /refused the connection/);
      assert.strictEqual(line?.annotations["backend"], `b${dead} (127.0.0.1:${dead})`);
    }),
  );

  test(
    "takes a backend out after as many failed connects as HEALTH_CHECK_FALL, whatever its probes would say",
    Effect.gen(function* () {
      const dead = yield* Ports.unused;
      const alive = yield* echo;
      const started = yield* start({ ports: [dead, alive.port] });
      for (let n = 0; n < 8; n++) {
        const client = yield* dial(started.port);
        const answer = receive(client);
        client.end("x");
        assert.strictEqual((yield* Effect.promise(() => answer)).end, "fin");
      }
      assert.strictEqual(counts(started.metrics).connectFailures, 3);
      assert.strictEqual(Pool.healthy(yield* started.registry.pool), 1);
      assert.lengthOf(lines(started.log, "backend is down"), 1);
    }),
  );

  test(
    "resets the client at once when no backend is healthy, counts it, and logs it once in a while",
    Effect.gen(function* () {
      const started = yield* start({ ports: [] });
      for (let n = 0; n < 5; n++) {
        const { end } = yield* reach(started.port);
        assert.strictEqual(end, "reset");
      }
      yield* idle(started);
      const { accepted, refused } = counts(started.metrics);
      assert.deepStrictEqual({ accepted, refused }, { accepted: 5, refused: 5 });
      const told = lines(started.log, "connection refused");
      assert.lengthOf(told, 1);
      assert.strictEqual(told[0]?.annotations["why"], "no healthy backend");
      assert.deepStrictEqual(codes(started.log), Array(5).fill("no-backend/choosing"));
      assert.match(String(told[0]?.annotations["client"]), /^127\.0\.0\.1:\d+$/);
    }),
  );

  test(
    "passes over a full backend, resets clients while all are full and none may wait, and serves when one has a place again",
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([greeting("one"), greeting("other")]);
      const started = yield* start({ ports: [one.port, other.port], maxConnections: 1, queueLimit: 0 });
      const [first, second] = yield* Effect.all([dial(started.port), dial(started.port)]);
      const names = yield* Effect.all([said(first), said(second)]);
      assert.sameMembers(names, ["one", "other"]);
      assert.strictEqual((yield* reach(started.port)).end, "reset");
      yield* eventually(() => codes(started.log).includes("backends-full/choosing"));
      assert.strictEqual(started.metrics.refusalsByReason.get("backends-full"), 1);
      first.resetAndDestroy();
      yield* until(Effect.map(connections(started.registry), (open) => open === 1));
      const third = yield* dial(started.port);
      assert.strictEqual(yield* said(third), names[0]);
      for (const client of [second, third]) client.resetAndDestroy();
    }),
  );

  test(
    "tries as many further backends as it may, then resets the client",
    Effect.gen(function* () {
      const dead = yield* Effect.replicateEffect(Ports.unused, 5);
      const started = yield* start({ ports: [...new Set(dead)], options: { connectRetries: 1 } });
      assert.strictEqual((yield* reach(started.port)).end, "reset");
      yield* idle(started);
      const { connectFailures, redispatches, refused } = counts(started.metrics);
      assert.deepStrictEqual(
        { connectFailures, redispatches, refused },
        { connectFailures: 2, redispatches: 0, refused: 1 },
      );
      assert.deepStrictEqual(codes(started.log), ["connect-failed/connecting"]);
      assert.strictEqual(lines(started.log, "connection")[0]?.annotations["retries"], 1);
    }),
  );

  test(
    "does not ask a backend twice for one connection, however many tries are left",
    Effect.gen(function* () {
      const dead = yield* Ports.unused;
      const started = yield* start({ ports: [dead], options: { connectRetries: 100 } });
      assert.strictEqual((yield* reach(started.port)).end, "reset");
      yield* idle(started);
      assert.strictEqual(counts(started.metrics).connectFailures, 1);
      assert.strictEqual(
        lines(started.log, "connection refused")[0]?.annotations["why"],
        "no other healthy backend to try",
      );
    }),
  );

  test(
    "takes another backend when one is a black hole, after CONNECT_TIMEOUT",
    Effect.gen(function* () {
      const hole = yield* blackHole;
      const alive = yield* echo;
      const started = yield* start({
        ports: [hole, alive.port],
        options: { connectTimeout: Duration.millis(100) },
      });
      const client = yield* dial(started.port);
      const answer = receive(client);
      client.end("hello");
      assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "hello");
      yield* idle(started);
      assert.strictEqual(counts(started.metrics).redispatches, 1);
      assert.match(
        String(lines(started.log, "backend could not be connected to")[0]?.annotations["why"]),
        /did not answer in time/,
      );
    }),
  );

  test(
    "makes early clients wait for the first verdict on the backends, and serves them when it is good",
    Effect.gen(function* () {
      const alive = yield* echo;
      const started = yield* start({ ports: [alive.port], up: false });
      const client = yield* dial(started.port);
      const answer = receive(client);
      client.end("early");
      yield* until(Effect.map(started.balancer.open, (open) => open === 1));
      const [backend] = Pool.backends(yield* started.registry.pool);
      if (backend === undefined) return assert.fail("the backend is gone");
      yield* started.registry.observed(backend, succeeded);
      assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "early");
    }),
  );

  test(
    "resets early clients when the first verdict is bad",
    Effect.gen(function* () {
      const started = yield* start({ ports: [yield* Ports.unused], up: false });
      const client = yield* dial(started.port);
      const answer = receive(client);
      yield* until(Effect.map(started.balancer.open, (open) => open === 1));
      const [backend] = Pool.backends(yield* started.registry.pool);
      if (backend === undefined) return assert.fail("the backend is gone");
      yield* started.registry.observed(backend, failed("refused"));
      assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
      yield* idle(started);
      assert.strictEqual(counts(started.metrics).refused, 1);
    }),
  );

  test(
    "resets early clients when no verdict comes within CONNECT_TIMEOUT",
    Effect.gen(function* () {
      const started = yield* start({
        ports: [yield* Ports.unused],
        up: false,
        options: { connectTimeout: Duration.millis(50) },
      });
      assert.strictEqual((yield* reach(started.port)).end, "reset");
    }),
  );

  test(
    "drains: refuses new clients, lets open connections end by themselves, then is done",
    Effect.gen(function* () {
      const backend = yield* echo;
      const started = yield* start({ ports: [backend.port] });
      const client = yield* dial(started.port);
      client.write("before ");
      assert.strictEqual(yield* said(client), "before ");
      const stopping = yield* Effect.fork(started.stop);
      yield* until(Effect.map(started.sessions.phase, (phase) => phase === "draining"));
      yield* until(
        Effect.map(Effect.exit(Effect.scoped(refusedBy(started.port))), (exit) => Exit.isSuccess(exit)),
      );
      assert.isNull(stopping.unsafePoll());
      const answer = receive(client);
      client.end("after");
      assert.deepStrictEqual(yield* Effect.promise(() => answer), {
        bytes: Buffer.from("after"),
        end: "fin",
      });
      yield* Fiber.join(stopping);
      assert.lengthOf(lines(started.log, "drained"), 1);
      assert.lengthOf(lines(started.log, "drain timeout is over, resetting connections"), 0);
    }),
  );

  test(
    "drains as well when the fiber that ran it was interrupted, as a signal does",
    Effect.gen(function* () {
      const backend = yield* echo;
      const running = yield* Deferred.make<StartedBalancer>();
      const fiber = yield* start({ ports: [backend.port] }).pipe(
        Effect.flatMap((started) => Deferred.succeed(running, started)),
        Effect.zipRight(Effect.never),
        Effect.scoped,
        Effect.fork,
      );
      const started = yield* Deferred.await(running);
      const client = yield* dial(started.port);
      client.write("before");
      assert.strictEqual(yield* said(client), "before");
      yield* Fiber.interruptFork(fiber);
      yield* until(Effect.map(started.sessions.phase, (phase) => phase === "draining"));
      client.write("after");
      assert.strictEqual(yield* said(client), "after");
      client.end();
      yield* Fiber.await(fiber);
      assert.lengthOf(lines(started.log, "drained"), 1);
    }),
  );

  test(
    "resets what is still open when DRAIN_TIMEOUT is over, on both sides",
    Effect.gen(function* () {
      const atBackend: Array<ReturnType<typeof receive>> = [];
      const backend = yield* serve((socket) => {
        atBackend.push(receive(socket));
        socket.write("hello");
      });
      const started = yield* start({
        ports: [backend.port],
        options: { drainTimeout: Duration.millis(50) },
      });
      const client = yield* dial(started.port);
      yield* said(client);
      const answer = receive(client);
      yield* started.stop;
      assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
      const [server] = yield* Effect.promise(() => Promise.all(atBackend));
      assert.strictEqual(server?.end, "reset");
      assert.strictEqual(yield* connections(started.registry), 0);
      const [line] = lines(started.log, "drain timeout is over, resetting connections");
      assert.strictEqual(line?.annotations["connections"], 1);
      assert.deepStrictEqual(codes(started.log), ["drain-timeout/draining"]);
      // What it had carried until then is told too.
      assert.strictEqual(lines(started.log, "connection")[0]?.annotations["sent"], "hello".length);
      assert.deepStrictEqual(started.metrics.bytesEnded, { received: 0, sent: "hello".length });
    }),
  );

  test(
    "resets a client that is still waiting for a backend when DRAIN_TIMEOUT is over",
    Effect.gen(function* () {
      const hole = yield* blackHole;
      const started = yield* start({
        ports: [hole],
        options: { drainTimeout: Duration.zero, connectTimeout: Duration.minutes(1) },
      });
      const client = yield* dial(started.port);
      yield* until(Effect.map(connections(started.registry), (open) => open === 1));
      const answer = receive(client);
      yield* started.stop;
      assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
      assert.strictEqual(yield* connections(started.registry), 0);
    }),
  );

  test(
    "resets the connections of a backend that an operator disables, and no others",
    Effect.gen(function* () {
      const servers = yield* Effect.all([greeting("a"), greeting("b")]);
      const started = yield* start({
        ports: servers.map(({ port }) => port),
        options: { drainTimeout: Duration.zero },
      });
      const [first, second] = yield* Effect.replicateEffect(dial(started.port), 2);
      if (first === undefined || second === undefined) return assert.fail("two were asked for");
      yield* Effect.all([said(first), said(second)]);
      const cut = receive(first);
      yield* started.registry.steer(`b${servers[0].port}`, "disabled", "a test");
      assert.strictEqual((yield* Effect.promise(() => cut)).end, "reset");
      yield* until(Effect.map(connections(started.registry), (open) => open === 1));
      assert.deepStrictEqual(codes(started.log), ["disabled/relaying"]);
      const third = yield* dial(started.port);
      assert.strictEqual(yield* said(third), "b");
      assert.isFalse(second.destroyed);
    }),
  );

  test(
    "lets the connections of a backend run on that an operator drains, and gives it no new ones",
    Effect.gen(function* () {
      const servers = yield* Effect.all([echo, greeting("b")]);
      const started = yield* start({
        ports: servers.map(({ port }) => port),
        options: { drainTimeout: Duration.zero },
      });
      const first = yield* dial(started.port);
      first.write("one");
      assert.strictEqual(yield* said(first), "one");
      yield* started.registry.steer(`b${servers[0].port}`, "draining", "a test");
      for (let n = 0; n < 3; n++) assert.strictEqual(yield* said(yield* dial(started.port)), "b");
      first.write("two");
      assert.strictEqual(yield* said(first), "two");
    }),
  );

  test(
    "leaves no descriptor and no count behind after a hundred connections that end in every way",
    Effect.gen(function* () {
      const dead = yield* Ports.unused;
      const backends = yield* Effect.all([
        echo,
        serve((socket) => socket.resetAndDestroy()),
        serve((socket) => socket.on("data", () => socket.end()).on("end", () => socket.end())),
      ]);
      const before = descriptors();
      const started = yield* start({ ports: [dead, ...backends.map(({ port }) => port)] });
      const ways: ReadonlyArray<(socket: Socket) => void> = [
        (socket) => socket.end("all"),
        (socket) => socket.resetAndDestroy(),
        (socket) => socket.write("some", () => socket.resetAndDestroy()),
        (socket) => socket.destroy(),
        (socket) => socket.once("data", () => socket.end()).write("answer me"),
      ];
      yield* Effect.forEach(
        Array.from({ length: 100 }, (_, n) => n),
        (n) =>
          Effect.scoped(
            Effect.flatMap(dial(started.port), (client) => {
              const over = receive(client);
              ways[n % ways.length]?.(client);
              return Effect.promise(() => over);
            }),
          ),
        { concurrency: 10 },
      );
      yield* idle(started);
      yield* started.stop;
      yield* eventually(() => descriptors() === before);
    }),
  );

  test(
    "does not hold it against a backend that this host is out of descriptors",
    Effect.gen(function* () {
      let resets = 0;
      const transport = yield* ScriptedTransport.make((_client, address) =>
        Effect.fail(new ConnectError({ reason: "exhausted", address, code: "EMFILE" })),
      );
      const started = yield* start({ ports: [1001, 1002, 1003], transport: transport.layer });
      yield* transport.accept(
        ScriptedTransport.client(5, () => {
          resets += 1;
        }),
      );
      yield* idle(started);
      assert.strictEqual(resets, 1);
      assert.deepStrictEqual(codes(started.log), ["connect-failed/connecting"]);
      assert.strictEqual((yield* started.registry.pool).failing, 0);
    }),
  );

  test(
    "resets the client when the transport itself breaks, and gives its count back",
    Effect.gen(function* () {
      const over = yield* Deferred.make<void>();
      const transport = yield* ScriptedTransport.make((_client, _target, { connected }) =>
        Effect.zipRight(
          Effect.sync(() => connected?.()),
          Effect.die(new Error("a bug in the transport")),
        ),
      );
      const started = yield* start({ ports: [1001], transport: transport.layer });
      yield* transport.accept(ScriptedTransport.client(5, () => Deferred.unsafeDone(over, Exit.void)));
      yield* Deferred.await(over);
      yield* idle(started);
      assert.deepStrictEqual(codes(started.log), ["defect/relaying"]);
      assert.include(lines(started.log, "a session failed by a defect")[0]?.text, "a bug in the transport");
    }),
  );

  test(
    "lets no connection suffer for another that was cut in the moment in which it ended",
    Effect.gen(function* () {
      const relays: Array<(outcome: Effect.Effect<RelayOutcome>) => void> = [];
      const transport = yield* ScriptedTransport.make((_client, _target, { connected }) =>
        Effect.interruptible(
          Effect.async((resume) => {
            connected?.();
            relays.push(resume);
          }),
        ),
      );
      const started = yield* start({
        ports: [1001, 1002],
        transport: transport.layer,
        options: { accessLog: "all" },
      });
      const accept = transport.accept(ScriptedTransport.client(5));
      const ended = Effect.succeed<RelayOutcome>({ end: "client-closed", received: 0, sent: 0 });
      for (const backend of ["b1001", "b1002"]) {
        yield* accept;
        yield* eventually(() => relays.length === 1);
        // Its session ends and is cut in the same moment: either may come first.
        yield* started.registry.steer(backend, "disabled", "a test");
        relays.pop()?.(ended);
        yield* idle(started);
        yield* started.registry.steer(backend, "enabled", "a test");
        yield* accept;
        yield* eventually(() => relays.length === 1);
        relays.pop()?.(ended);
        yield* idle(started);
      }
      assert.deepStrictEqual(
        codes(started.log).filter((_, n) => n % 2 === 1),
        ["client/relaying", "client/relaying"],
      );
    }),
  );

  test(
    "counts connections that could not be accepted, and logs them once in a while",
    Effect.gen(function* () {
      const transport = yield* ScriptedTransport.make(ScriptedTransport.relayOnce);
      const started = yield* start({ ports: [], transport: transport.layer });
      const { onAcceptError } = yield* transport.listening;
      for (let n = 0; n < 10; n++) onAcceptError(new AcceptError({ code: "EMFILE" }));
      yield* idle(started);
      assert.strictEqual(counts(started.metrics).acceptErrors, 10);
      const told = started.log.lines.filter(({ message }) => message.includes("(EMFILE)"));
      assert.lengthOf(told, 1);
      assert.include(told[0]?.message, "raise ulimit -n");
    }),
  );

  test(
    "says which backend was chosen at debug, and not at info",
    Effect.gen(function* () {
      const backend = yield* greeting("hi");
      for (const [level, count] of [
        [LogLevel.Debug, 1],
        [LogLevel.Info, 0],
      ] as const) {
        const started = yield* start({ ports: [backend.port], level });
        const client = yield* dial(started.port);
        yield* said(client);
        assert.lengthOf(lines(started.log, "backend chosen"), count);
        client.resetAndDestroy();
        yield* idle(started);
      }
    }),
  );
});
