/**
 * What a listener is to those who compose it: how it starts, what it says of its sessions, and how it drains, apart from
 * any other listener.
 */
import { assert, describe, it } from "@effect/vitest";
import { Chunk, Deferred, Duration, Effect, Exit, Fiber, FiberStatus, Logger, Scope, Stream } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import { Recorder } from "../../src/metrics/Recorder.js";
import * as CidrSet from "../../src/net/CidrSet.js";
import { codeOf } from "../../src/proxy/ConnectionRecord.js";
import * as LoadBalancer from "../../src/proxy/LoadBalancer.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as CapturedLog from "../support/CapturedLog.js";
import { succeeded } from "../support/Observations.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";
import { eventually } from "../support/Sockets.js";

const instances = [1001, 1002].map((port) => ({ id: `b${port}`, address: { host: "127.0.0.1", port } }));

/** A registry, and listeners over it that are started one by one. */
const make = Effect.gen(function* () {
  const log = yield* CapturedLog.make;
  const metrics = new Recorder();
  const sessions = yield* Sessions.make;
  const registry = yield* Registry.make({ algorithm: roundRobin, rise: 2, fall: 3 }).pipe(
    Effect.provideService(Metrics, metrics),
    Effect.provide(log.layer),
  );
  const discover = Effect.gen(function* () {
    const { added } = yield* registry.discovered(instances);
    for (const backend of added) yield* registry.observed(backend, succeeded);
  });
  /** A listener whose relays a test ends. */
  const listen = (options: Partial<LoadBalancer.Options> = {}) =>
    Effect.gen(function* () {
      const relays = ScriptedTransport.relays();
      const transport = yield* ScriptedTransport.make(relays.forward);
      const scope = yield* Scope.make();
      const stop = Effect.provide(Scope.close(scope, Exit.void), log.layer);
      yield* Effect.addFinalizer(() => stop);
      const balancer = yield* LoadBalancer.make({ port: 8082, drainTimeout: Duration.zero, ...options }).pipe(
        Effect.provide(transport.layer),
        Effect.provide(log.layer),
        Effect.provideService(BackendRegistry, registry),
        Effect.provideService(Metrics, metrics),
        Effect.provideService(Sessions.Sessions, sessions),
        Effect.provideService(Scope.Scope, scope),
      );
      /** Clients with these ports connect, and are relayed. */
      const connect = (...ports: ReadonlyArray<number>) =>
        Effect.gen(function* () {
          const before = relays.open();
          yield* transport.accept(...ports.map((port) => ScriptedTransport.client(port)));
          yield* eventually(() => relays.open() === before + ports.length);
        });
      return { balancer, connect, relays, transport, stop };
    });
  const lines = (message: string) => log.lines.filter((line) => line.message === message);
  return { registry, metrics, sessions, discover, listen, lines };
});

const test = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(title, () => Effect.orDie(Effect.provide(body, Logger.remove(Logger.defaultLogger))));

const asleep = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) =>
  Effect.repeat(Effect.yieldNow(), {
    until: () => Effect.map(Fiber.status(fiber), FiberStatus.isSuspended),
  });

describe("a listener", () => {
  test(
    "says that it waits for the first list of backends, and when it serves",
    Effect.gen(function* () {
      const { discover, lines, listen, sessions } = yield* make;
      const phases = yield* sessions.phases.pipe(
        Stream.takeUntil((phase) => phase === "listening"),
        Stream.runCollect,
        Effect.fork,
      );
      yield* asleep(phases);
      const starting = yield* Effect.fork(listen());
      yield* eventually(() => lines("waiting for the first list of backends").length === 1);
      assert.strictEqual(yield* sessions.phase, "waiting");
      assert.lengthOf(lines("listening"), 0);
      yield* discover;
      const { balancer } = yield* Fiber.join(starting);
      assert.lengthOf(lines("listening"), 1);
      assert.strictEqual(yield* balancer.phase, "listening");
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(phases)), [
        undefined,
        "waiting",
        "listening",
      ]);
    }),
  );

  test(
    "does not say that it waits where a list is there",
    Effect.gen(function* () {
      const { discover, lines, listen } = yield* make;
      yield* discover;
      yield* listen();
      assert.lengthOf(lines("waiting for the first list of backends"), 0);
    }),
  );

  test(
    "can be closed while it waits",
    Effect.gen(function* () {
      const { lines, listen, sessions } = yield* make;
      const starting = yield* Effect.fork(Effect.scoped(listen()));
      yield* eventually(() => lines("waiting for the first list of backends").length === 1);
      yield* Fiber.interrupt(starting);
      assert.isUndefined(yield* sessions.phase);
    }),
  );

  test(
    "lists its open sessions, the oldest first, with what they have carried so far",
    Effect.gen(function* () {
      const { discover, lines, listen } = yield* make;
      yield* discover;
      const { balancer, connect, relays } = yield* listen({ accessLog: "all" });
      yield* connect(1, 2, 3);
      relays.end(2);
      yield* eventually(() => lines("connection").length === 1);
      const open = yield* balancer.sessions;
      assert.deepStrictEqual(
        open.map(({ backend, client, phase, received, sent }) => ({
          backend: backend?.id,
          client: client.port,
          phase,
          received,
          sent,
        })),
        [
          { backend: "b1001", client: 1, phase: "relaying", received: 3, sent: 5 },
          { backend: "b1001", client: 3, phase: "relaying", received: 3, sent: 5 },
        ],
      );
    }),
  );

  test(
    "streams the records of its own sessions, and not those of another listener",
    Effect.gen(function* () {
      const { discover, listen, sessions } = yield* make;
      yield* discover;
      const a = yield* listen();
      const b = yield* listen();
      const read = (ended: typeof sessions.ended, count: number) =>
        Effect.tap(
          ended.pipe(
            Stream.map((record) => `${record.client.port} ${codeOf(record)}`),
            Stream.take(count),
            Stream.runCollect,
            Effect.map(Chunk.toReadonlyArray),
            Effect.fork,
          ),
          asleep,
        );
      const ofA = yield* read(a.balancer.ended, 2);
      const ofAll = yield* read(sessions.ended, 3);
      yield* a.connect(1, 2);
      yield* b.connect(3);
      a.relays.end(1);
      b.relays.end(3, "backend-reset");
      a.relays.end(2, "backend-closed");
      assert.deepStrictEqual(yield* Fiber.join(ofA), ["1 client/relaying", "2 backend/relaying"]);
      assert.deepStrictEqual([...(yield* Fiber.join(ofAll))].sort(), [
        "1 client/relaying",
        "2 backend/relaying",
        "3 backend-reset/relaying",
      ]);
    }),
  );

  test(
    "has a record of a client that was refused for want of a place, counts it and says so",
    Effect.gen(function* () {
      const { discover, lines, listen, metrics, sessions } = yield* make;
      yield* discover;
      const { balancer, connect, transport } = yield* listen({ accessLog: "all" });
      yield* connect(1);
      const records = yield* Effect.tap(
        Effect.fork(Stream.runCollect(Stream.take(balancer.ended, 1))),
        asleep,
      );
      let resets = 0;
      const { onRefused } = yield* transport.listening;
      onRefused?.(
        ScriptedTransport.client(2, () => {
          resets += 1;
        }),
      );
      const [record] = Chunk.toReadonlyArray(yield* Fiber.join(records));
      assert.deepInclude(record, { by: "at-capacity", phase: "choosing", backend: undefined });
      assert.strictEqual(record?.client.port, 2);
      assert.strictEqual(resets, 1);
      yield* eventually(() => lines("connection").length === 1);
      assert.strictEqual(lines("connection")[0]?.annotations["code"], "at-capacity/choosing");
      assert.lengthOf(lines("connection refused"), 1);
      assert.strictEqual(metrics.refusalsByReason.get("at-capacity"), 1);
      assert.deepStrictEqual([metrics.total, yield* sessions.open], [2, 1]);
    }),
  );

  /** Clients with these addresses and ports connect; answers the ports of those that were reset. */
  const come = (
    transport: ScriptedTransport.ScriptedTransport,
    ...clients: ReadonlyArray<readonly [host: string, port: number]>
  ) =>
    Effect.gen(function* () {
      const reset: Array<number> = [];
      yield* transport.accept(
        ...clients.map(([host, port]) => ({
          ...ScriptedTransport.client(port, () => reset.push(port)),
          remote: { host, port },
        })),
      );
      return reset;
    });

  const cidrs = (text: string) => {
    const set = CidrSet.parse(text);
    return set instanceof CidrSet.CidrSet ? set : assert.fail(set.wrong);
  };

  test(
    "resets clients that may not come before a backend is chosen, and has a record of each",
    Effect.gen(function* () {
      const { discover, lines, listen, metrics, registry } = yield* make;
      yield* discover;
      const { balancer, relays, transport } = yield* listen({
        accessLog: "all",
        allowClients: cidrs("10.0.0.0/8,2001:db8::/32"),
        denyClients: cidrs("10.0.0.66"),
      });
      const reset = yield* come(
        transport,
        ["10.0.0.1", 1],
        ["10.0.0.66", 2],
        ["192.0.2.1", 3],
        ["2001:db8::1", 4],
        ["10.0.0.66", 5],
      );
      assert.deepStrictEqual(reset, [2, 3, 5]);
      yield* eventually(() => relays.open() === 2);
      assert.strictEqual((yield* registry.pool).connections, 2);
      assert.strictEqual(yield* balancer.open, 2);
      assert.strictEqual(metrics.refusalsByReason.get("denied"), 3);
      yield* eventually(() => lines("connection").length === 3);
      assert.deepStrictEqual(
        lines("connection").map(({ annotations }) => annotations["code"]),
        ["denied/choosing", "denied/choosing", "denied/choosing"],
      );
      // One line for all of them in five seconds, and no line of an error.
      assert.lengthOf(lines("clients turned away"), 1);
      assert.deepInclude(lines("clients turned away")[0]?.annotations, {
        count: 1,
        "most from": "10.0.0.66",
      });
      assert.lengthOf(lines("connection refused"), 0);
    }),
  );

  test(
    "has no more connections of one client than one may have, however often it was turned away",
    Effect.gen(function* () {
      const { discover, listen, metrics } = yield* make;
      yield* discover;
      const { relays, transport } = yield* listen({ maxConnectionsPerClient: 2 });
      const many = Array.from({ length: 5_000 }, (_, i) => ["10.0.0.1", i + 1] as const);
      const reset = yield* come(transport, ...many, ["10.0.0.2", 9_000]);
      assert.lengthOf(reset, 4_998);
      yield* eventually(() => relays.open() === 3);
      assert.strictEqual(metrics.refusalsByReason.get("client-limit"), 4_998);
      relays.end(1);
      yield* eventually(() => metrics.bytesEnded.received > 0);
      assert.deepStrictEqual(yield* come(transport, ["10.0.0.1", 9_001], ["10.0.0.1", 9_002]), [9_002]);
    }),
  );

  test(
    "gives a client's place back whatever ended its connection",
    Effect.gen(function* () {
      const { discover, listen, metrics } = yield* make;
      yield* discover;
      const { relays, transport } = yield* listen({ maxConnectionsPerClient: 1 });
      for (const [i, end] of (["client-reset", "backend-closed", "thread-lost"] as const).entries()) {
        const port = 100 + i;
        assert.deepStrictEqual(yield* come(transport, ["10.0.0.1", port]), []);
        yield* eventually(() => relays.open() === 1);
        relays.end(port, end);
        yield* eventually(() => metrics.bytesEnded.received === 3 * (i + 1));
      }
    }),
  );

  test(
    "gives a client's place back where no backend could take it",
    Effect.gen(function* () {
      const { listen, metrics, registry } = yield* make;
      yield* registry.discovered([]);
      const { transport } = yield* listen({ maxConnectionsPerClient: 1 });
      for (let i = 1; i <= 3; i++) {
        yield* come(transport, ["10.0.0.1", i]);
        yield* eventually(() => metrics.refusalsByReason.get("no-backend") === i);
      }
      assert.strictEqual(metrics.refusalsByReason.get("client-limit"), 0);
    }),
  );

  test(
    "resets a client that makes more connections than one may make in a time",
    Effect.gen(function* () {
      const { discover, listen, metrics } = yield* make;
      yield* discover;
      const { transport } = yield* listen({ maxConnectionRatePerClient: { count: 2, per: "minute" } });
      const reset = yield* come(
        transport,
        ["10.0.0.1", 1],
        ["10.0.0.1", 2],
        ["10.0.0.1", 3],
        ["10.0.0.2", 4],
      );
      assert.deepStrictEqual(reset, [3]);
      assert.strictEqual(metrics.refusalsByReason.get("client-rate"), 1);
    }),
  );

  test(
    "drains when it is asked to, answers how many sessions were reset, and drains once",
    Effect.gen(function* () {
      const { discover, lines, listen } = yield* make;
      yield* discover;
      const { balancer, connect, relays, stop, transport } = yield* listen({ accessLog: "all" });
      yield* connect(1, 2, 3);
      relays.end(2);
      yield* eventually(() => lines("connection").length === 1);
      assert.strictEqual(yield* balancer.drain, 2);
      assert.isTrue(transport.closed());
      assert.strictEqual(yield* balancer.phase, "draining");
      assert.strictEqual(yield* balancer.open, 0);
      assert.strictEqual(yield* balancer.drain, 2);
      yield* stop;
      assert.lengthOf(lines("drained"), 1);
      assert.strictEqual(lines("drained")[0]?.annotations["reset"], 2);
    }),
  );

  test(
    "resets nobody in a drain that they leave in time",
    Effect.gen(function* () {
      const { discover, listen } = yield* make;
      yield* discover;
      const { balancer, connect, relays, transport } = yield* listen({ drainTimeout: Duration.hours(1) });
      yield* connect(1, 2);
      const draining = yield* Effect.fork(balancer.drain);
      yield* eventually(transport.closed);
      relays.end(1);
      relays.end(2);
      assert.strictEqual(yield* Fiber.join(draining), 0);
    }),
  );

  test(
    "serves who is accepted while it closes, and drains them too",
    Effect.gen(function* () {
      const { discover, listen } = yield* make;
      yield* discover;
      const { balancer, connect, relays, transport } = yield* listen({ drainTimeout: Duration.hours(1) });
      const ended = yield* Deferred.make<void>();
      yield* connect(1);
      const draining = yield* Effect.fork(
        Effect.ensuring(balancer.drain, Deferred.succeed(ended, undefined)),
      );
      yield* eventually(transport.closed);
      yield* connect(2);
      relays.end(1);
      yield* eventually(() => relays.open() === 1);
      assert.isFalse(yield* Deferred.isDone(ended));
      relays.end(2);
      assert.strictEqual(yield* Fiber.join(draining), 0);
    }),
  );

  test(
    "drains alone: another on the same registry, and the registry, go on",
    Effect.gen(function* () {
      const { discover, listen, registry, sessions } = yield* make;
      yield* discover;
      const a = yield* listen();
      const b = yield* listen();
      assert.strictEqual(yield* a.balancer.drain, 0);
      assert.strictEqual(yield* a.balancer.phase, "draining");
      assert.strictEqual(yield* b.balancer.phase, "listening");
      assert.strictEqual(yield* sessions.phase, "listening");
      const { phase } = yield* registry.pool;
      assert.strictEqual(phase, "serving");
      yield* b.connect(7);
      assert.strictEqual(yield* b.balancer.open, 1);
      assert.strictEqual(yield* a.balancer.open, 0);
      assert.strictEqual(yield* sessions.open, 1);
      yield* a.stop;
      assert.strictEqual(yield* sessions.phase, "listening");
      b.relays.end(7);
      yield* b.balancer.drain;
      assert.strictEqual(yield* sessions.phase, "draining");
    }),
  );
});
