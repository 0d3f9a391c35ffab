/**
 * Every session leaves through one exit. A defect at any step of it ends the client, gives the backend back, and leaves
 * a count, a record and a line behind; a drain does not wait for it, and the next client is served.
 */
import { assert, describe, it } from "@effect/vitest";
import { Context, Duration, Effect, Exit, Fiber, FiberStatus, Layer, Logger, Scope, Stream } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import { type BackendRecorder, Recorder } from "../../src/metrics/Recorder.js";
import { type ConnectionRecord, codeOf } from "../../src/proxy/ConnectionRecord.js";
import * as LoadBalancer from "../../src/proxy/LoadBalancer.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import { ConnectError } from "../../src/transport/Transport.js";
import * as CapturedLog from "../support/CapturedLog.js";
import { succeeded } from "../support/Observations.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";
import { eventually } from "../support/Sockets.js";

const bug = "a bug of a test";

/** Throws while it is switched on. */
class Trap {
  on = false;
  spring(): void {
    if (this.on) throw new Error(bug);
  }
}

interface Brought {
  readonly algorithm: Algorithm;
  readonly registry: (registry: typeof BackendRegistry.Service) => typeof BackendRegistry.Service;
  readonly metrics: Recorder;
  readonly forward: ScriptedTransport.Forward;
  readonly onEnded: (record: ConnectionRecord) => void;
  readonly log: () => void;
  readonly reset: () => void;
}

class TrappedRecorder extends Recorder {
  constructor(
    readonly method: "ended" | "backend",
    readonly trap: Trap,
  ) {
    super();
  }
  override ended(...record: Parameters<Recorder["ended"]>): void {
    super.ended(...record);
    if (this.method === "ended") this.trap.spring();
  }
  override backend(subject: Parameters<Recorder["backend"]>[0]): BackendRecorder {
    if (this.method === "backend") this.trap.spring();
    return super.backend(subject);
  }
}

/** An algorithm that throws while the trap is on. */
const trapped = (algorithm: Algorithm, trap: Trap): Algorithm => ({
  name: algorithm.name,
  initial: algorithm.initial,
  choose: (members, load, state, client) => {
    trap.spring();
    return algorithm.choose(members, load, state, client);
  },
});

interface Step {
  readonly name: string;
  readonly brings: (trap: Trap) => Partial<Brought>;
  /** The termination code of the client that met the defect. */
  readonly code: string;
  /** Whether the client has to be reset, since nothing else ended it. */
  readonly reset: boolean;
  /** Where the defect is the log's own, no line can be asked for. */
  readonly logged?: false;
  /** Where the defect is the release's own, the backend's count is lost with it. */
  readonly released?: false;
}

const steps: ReadonlyArray<Step> = [
  {
    name: "the algorithm",
    brings: (trap) => ({ algorithm: trapped(roundRobin, trap) }),
    code: "defect/choosing",
    reset: true,
  },
  {
    name: "the count of the chosen backend",
    brings: (trap) => ({ metrics: new TrappedRecorder("backend", trap) }),
    code: "defect/connecting",
    reset: true,
  },
  {
    name: "the transport, before it answers an effect",
    brings: (trap) => ({
      forward: (...asked) => {
        trap.spring();
        return ScriptedTransport.relayOnce(...asked);
      },
    }),
    code: "defect/connecting",
    reset: true,
  },
  {
    name: "the transport, before it has connected",
    brings: (trap) => ({
      forward: (...asked) => (trap.on ? Effect.die(new Error(bug)) : ScriptedTransport.relayOnce(...asked)),
    }),
    code: "defect/connecting",
    reset: true,
  },
  {
    name: "what is learnt from a failed connect",
    brings: (trap) => ({
      registry: (registry) => ({
        ...registry,
        observed: (backend, observation) =>
          Effect.suspend(() => {
            trap.spring();
            return registry.observed(backend, observation);
          }),
      }),
      forward: (client, target, options, counts) =>
        trap.on
          ? Effect.fail(new ConnectError({ reason: "refused", address: target, code: "ECONNREFUSED" }))
          : ScriptedTransport.relayOnce(client, target, options, counts),
    }),
    code: "defect/connecting",
    reset: true,
  },
  {
    name: "the transport, while it relays",
    brings: (trap) => ({
      forward: (client, target, options, counts) =>
        Effect.flatMap(ScriptedTransport.relayOnce(client, target, options, counts), (ended) =>
          Effect.sync(() => {
            trap.spring();
            return ended;
          }),
        ),
    }),
    code: "defect/relaying",
    reset: true,
  },
  {
    name: "the release of the backend",
    brings: (trap) => ({
      registry: (registry) => ({
        ...registry,
        release: (backend) =>
          Effect.suspend(() => {
            trap.spring();
            return registry.release(backend);
          }),
      }),
    }),
    code: "client/relaying",
    reset: false,
    released: false,
  },
  {
    name: "the count of ended connections",
    brings: (trap) => ({ metrics: new TrappedRecorder("ended", trap) }),
    code: "client/relaying",
    reset: false,
  },
  {
    name: "onEnded",
    brings: (trap) => ({ onEnded: () => trap.spring() }),
    code: "client/relaying",
    reset: false,
  },
  {
    name: "the log",
    brings: (trap) => ({ log: () => trap.spring() }),
    code: "client/relaying",
    reset: false,
    logged: false,
  },
  {
    name: "the reset of the client",
    brings: (trap) => ({
      reset: () => trap.spring(),
      forward: (...asked) =>
        trap.on ? Effect.die(new Error("another")) : ScriptedTransport.relayOnce(...asked),
    }),
    code: "defect/connecting",
    reset: true,
  },
];

const start = (brought: Partial<Brought>) =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const trappedLogger = Logger.add(Logger.make(() => brought.log?.()));
    const context = yield* Layer.build(
      Layer.mergeAll(
        Layer.succeed(Metrics, brought.metrics ?? new Recorder()),
        Sessions.layer,
        log.layer,
        trappedLogger,
      ),
    );
    const metrics = Context.get(context, Metrics);
    const sessions = Context.get(context, Sessions.Sessions);
    const registry = yield* Effect.provide(
      Registry.make({ algorithm: brought.algorithm ?? roundRobin, rise: 2, fall: 3 }),
      context,
    );
    const { added } = yield* registry.discovered(
      [1001, 1002].map((port) => ({ id: `b${port}`, address: { host: "127.0.0.1", port } })),
    );
    for (const backend of added) yield* registry.observed(backend, succeeded);
    const transport = yield* ScriptedTransport.make(brought.forward ?? ScriptedTransport.relayOnce);
    const records: Array<ConnectionRecord> = [];
    const reader = yield* sessions.ended.pipe(
      Stream.runForEach((record) => Effect.sync(() => records.push(record))),
      Effect.forkScoped,
    );
    yield* Effect.repeat(Effect.yieldNow(), {
      until: () => Effect.map(Fiber.status(reader), FiberStatus.isSuspended),
    });
    const scope = yield* Scope.make();
    const stop = Effect.provide(Scope.close(scope, Exit.void), context);
    // A session that never ends holds it up for ever: then what the test has found is told all the same.
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(Effect.forkDaemon(stop), (stopping) =>
        Effect.interruptible(Effect.timeoutOption(Fiber.await(stopping), Duration.seconds(20))),
      ),
    );
    const balancer = yield* LoadBalancer.make({
      host: "127.0.0.1",
      port: 0,
      connectTimeout: Duration.seconds(5),
      // Nothing is open by then. What a session that never ended has left is reset, and the test can say so.
      drainTimeout: Duration.seconds(10),
      accessLog: "all",
      onEnded: (record) => brought.onEnded?.(record),
    }).pipe(
      Effect.provide(context),
      Effect.provide(transport.layer),
      Effect.provideService(BackendRegistry, (brought.registry ?? ((same) => same))(registry)),
      Effect.provideService(Scope.Scope, scope),
    );
    let resets = 0;
    let clients = 0;
    /** A client comes, and its session ends. */
    const serve = Effect.suspend(() => {
      clients += 1;
      const client = ScriptedTransport.client(clients, () => {
        resets += 1;
        brought.reset?.();
      });
      return Effect.zipRight(
        transport.accept(client),
        eventually(() => records.length === clients),
      );
    });
    return { balancer, sessions, registry, metrics, log, records, serve, stop, resets: () => resets };
  });

const countEnded = ({ series }: Recorder): number =>
  series
    .filter(({ name }) => name === "lb_connections_ended")
    .reduce((total, { value }) => total + (typeof value === "number" ? value : 0), 0);

describe("a session's one exit", () => {
  it.scopedLive("takes no notice of what onEnded returns", () =>
    Effect.gen(function* () {
      const codes: Array<string> = [];
      // It returns a number.
      const { log, serve } = yield* start({ onEnded: (record) => codes.push(codeOf(record)) });
      yield* serve;
      yield* eventually(() => log.lines.some(({ message }) => message === "connection"));
      assert.deepStrictEqual(codes, ["client/relaying"]);
      assert.isEmpty(log.lines.filter(({ level }) => level === "ERROR"));
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)), Effect.orDie),
  );

  for (const step of steps) {
    for (const fiber of ["a new fiber", "a pooled fiber"]) {
      it.scopedLive(`is taken after a defect of ${step.name}, in ${fiber}`, () =>
        Effect.gen(function* () {
          const trap = new Trap();
          const started = yield* start(step.brings(trap));
          const { balancer, log, metrics, records, registry, sessions } = started;
          let clients = 0;
          if (fiber === "a pooled fiber") {
            yield* started.serve;
            clients += 1;
          }
          const before = log.lines.length;
          trap.on = true;
          yield* started.serve;
          clients += 1;
          trap.on = false;
          assert.deepStrictEqual(records.slice(clients - 1).map(codeOf), [step.code]);
          assert.strictEqual(started.resets(), step.reset ? 1 : 0);
          assert.strictEqual(yield* sessions.open, 0);
          assert.strictEqual(countEnded(metrics), clients);
          const { connections } = yield* registry.pool;
          if (step.released !== false) assert.strictEqual(connections, 0);
          if (step.logged !== false) {
            const lines = () => log.lines.slice(before);
            yield* eventually(() => lines().some(({ message }) => message === "connection"));
            yield* eventually(() =>
              lines().some(({ level, text }) => level === "ERROR" && text.includes(bug)),
            );
            assert.deepStrictEqual(
              lines()
                .filter(({ message }) => message === "connection")
                .map(({ annotations }) => annotations["code"]),
              [step.code],
            );
          }
          yield* started.serve;
          assert.strictEqual(records[clients]?.by, "client", "the next client is served");
          assert.strictEqual(yield* balancer.drain, 0);
          yield* started.stop;
          assert.strictEqual(yield* sessions.open, 0);
        }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)), Effect.orDie),
      );
    }
  }
});
