/**
 * Health checking: one supervised fiber per backend asks, at every interval, whether its port can be connected to.
 * How many answers it takes to believe it up or down is decided by the pool (see backend/Health).
 */
import { Chunk, Context, Duration, Effect, FiberMap, Layer, Random, Stream } from "effect";
import { type Backend, describe } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import { Metrics } from "../metrics/Metrics.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import { type ConnectError, isLocal, Transport } from "../transport/Transport.js";

export interface Options {
  /** From the end of one probe of a backend to the start of its next, give or take 10 % so that they do not bunch. */
  readonly interval: Duration.DurationInput;
  /** How long one probe may take. */
  readonly timeout: Duration.DurationInput;
}

export class HealthChecker extends Context.Tag("zeitwork-load-balancer/HealthChecker")<
  HealthChecker,
  {
    /** How many backends are being probed. */
    readonly probed: Effect.Effect<number>;
  }
>() {}

/**
 * Whether a connection to the address could be made. A failure that `isLocal` says nothing about the backend: this host
 * could not even try.
 */
export const probe = (
  address: SocketAddress,
  timeoutMillis: number,
): Effect.Effect<void, ConnectError, Transport> =>
  Effect.flatMap(Transport, (transport) => transport.probe(address, { timeoutMillis }));

/** What a probe told; undefined when it could not be made. */
const observation = (backend: Backend, timeoutMillis: number) =>
  Effect.matchEffect(probe(backend.address, timeoutMillis), {
    onSuccess: () => Effect.succeed<Pool.Observation | undefined>({ succeeded: true }),
    onFailure: (error) =>
      isLocal(error.reason)
        ? Effect.logWarning("a probe could not be made").pipe(
            Effect.annotateLogs({ backend: describe(backend), why: error.message }),
            Effect.as(undefined),
          )
        : Effect.succeed<Pool.Observation | undefined>({ succeeded: false, why: error.message }),
  });

/** Builds the checker. Its scope owns the fibers; each new backend is probed at once. */
export const make = ({ interval, timeout }: Options) =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const probes = yield* FiberMap.make<string>();
    const intervalMillis = Duration.toMillis(interval);
    const timeoutMillis = Duration.toMillis(timeout);

    const watch = (backend: Backend) =>
      Effect.suspend(() => {
        const from = performance.now();
        return Effect.flatMap(observation(backend, timeoutMillis), (result) => {
          if (result === undefined) return Effect.void;
          metrics.backend(backend).probed(result.succeeded, performance.now() - from);
          return registry.observed(backend, result);
        });
      }).pipe(
        // A defect here is a bug of ours: it is told, and the backend goes on being probed.
        Effect.catchAllDefect((defect) =>
          Effect.logError("probing failed by a defect", defect).pipe(
            Effect.annotateLogs({ backend: describe(backend) }),
          ),
        ),
        Effect.zipRight(
          Effect.flatMap(Random.nextRange(0.9, 1.1), (factor) =>
            Effect.sleep(Duration.millis(intervalMillis * factor)),
          ),
        ),
        Effect.forever,
      );

    const reconcile = Effect.gen(function* () {
      const listed = new Map(Pool.backends(yield* registry.pool).map((backend) => [backend.key, backend]));
      for (const [key] of probes) {
        if (!listed.has(key)) yield* FiberMap.remove(probes, key);
      }
      for (const [key, backend] of listed) {
        yield* FiberMap.run(probes, key, watch(backend), { onlyIfMissing: true });
      }
    });

    const events = yield* registry.events;
    yield* reconcile;
    // A burst of events (a first discovery of thousands) is one reason to look, not thousands.
    yield* events.pipe(
      Stream.chunks,
      Stream.filter(Chunk.some(({ _tag }) => _tag === "Added" || _tag === "Removed")),
      Stream.runForEach(() => reconcile),
      Effect.forkScoped,
    );

    return HealthChecker.of({ probed: FiberMap.size(probes) });
  });

/** Probes every backend of the registry for as long as its scope is open. */
export const layer = (
  options: Options,
): Layer.Layer<HealthChecker, never, BackendRegistry | Metrics | Transport> =>
  Layer.scoped(HealthChecker, make(options));
