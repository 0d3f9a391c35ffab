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
