/**
 * A balancer on a free loopback port, with backends of a test, over any transport.
 */
import { Duration, Effect, Exit, Layer, Logger, LogLevel, Scope } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import { Recorder } from "../../src/metrics/Recorder.js";
import * as LoadBalancer from "../../src/proxy/LoadBalancer.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as NodeTransport from "../../src/transport/node/NodeTransport.js";
import type { Transport } from "../../src/transport/Transport.js";
import * as CapturedLog from "./CapturedLog.js";
import { succeeded } from "./Observations.js";

export interface Settings {
  /** Backends on loopback, by port. */
  readonly ports: ReadonlyArray<number>;
  /** Whether a first probe has found them up. */
  readonly up?: boolean;
  readonly options?: Partial<LoadBalancer.Options>;
  readonly transport?: Layer.Layer<Transport, unknown>;
  readonly level?: LogLevel.LogLevel;
  /** Of each backend; no limit unless said otherwise. */
  readonly maxConnections?: number;
  /** How many may wait for a place, and for how long; as many and as long as by default unless said otherwise. */
  readonly queueLimit?: number;
  readonly queueTimeout?: Duration.DurationInput;
}

const instance = (port: number) => ({ id: `b${port}`, address: { host: "127.0.0.1", port } });

/** A balancer on a free loopback port, after its first discovery. */
export const start = ({
  ports,
  up = true,
  options = {},
  transport = NodeTransport.layer,
  level = LogLevel.Info,
  maxConnections,
  queueLimit = 1024,
  queueTimeout = "5 seconds",
}: Settings) =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      effect.pipe(Logger.withMinimumLogLevel(level), Effect.provide(log.layer));
    const metrics = new Recorder();
    const sessions = yield* Sessions.make;
    const registry = yield* logged(
      Effect.provideService(
        Registry.make({ algorithm: roundRobin, rise: 2, fall: 3, maxConnections, queueLimit, queueTimeout }),
        Metrics,
        metrics,
      ),
    );
    const { added } = yield* logged(registry.discovered(ports.map(instance)));
    if (up) {
      for (const backend of added) yield* logged(registry.observed(backend, succeeded));
    }
    log.take();
    const transportContext = yield* Layer.build(transport);
    const scope = yield* Scope.make();
    const stop = logged(Scope.close(scope, Exit.void));
    yield* Effect.addFinalizer(() => stop);
    const balancer = yield* logged(
      LoadBalancer.make({
        host: "127.0.0.1",
        port: 0,
        connectTimeout: Duration.seconds(5),
        connectRetries: 2,
        drainTimeout: Duration.seconds(30),
        ...options,
      }).pipe(
        Effect.provide(transportContext),
        Effect.provideService(BackendRegistry, registry),
        Effect.provideService(Metrics, metrics),
        Effect.provideService(Sessions.Sessions, sessions),
        Effect.provideService(Scope.Scope, scope),
      ),
    );
    return { port: balancer.address.port, balancer, registry, metrics, sessions, log, stop };
  });

export type StartedBalancer = Effect.Effect.Success<ReturnType<typeof start>>;

/** Waits until an effect says so; what never comes is cut off by the test's time limit. */
export const until = (condition: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.repeat(Effect.zipLeft(condition, Effect.sleep(1)), { until: (is) => is }).pipe(Effect.asVoid);

/** The termination codes of the access log. */
export const codes = (log: CapturedLog.CapturedLog) =>
  lines(log, "connection").map(({ annotations }) => annotations["code"]);

export const lines = (log: CapturedLog.CapturedLog, message: string) =>
  log.lines.filter((line) => line.message === message);
