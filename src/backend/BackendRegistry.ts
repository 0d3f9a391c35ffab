/**
 * The only holder of the pool: one `Ref`, one atomic `modify` per event. What becomes of an event is decided by
 * the pure functions of {@link Pool}; this module adds the clock, the log and the events.
 */
import { Cause, Context, Deferred, Effect, Layer, PubSub, Queue, Ref, type Scope, Stream } from "effect";
import type { Algorithm, Client } from "../balancing/Algorithm.js";
import * as EventLoop from "../clock/EventLoop.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import { Metrics, layer as metricsLayer } from "../metrics/Metrics.js";
import { type Admin, type Backend, describe, type Instance } from "./Backend.js";
import type { Thresholds } from "./Health.js";
import * as Pool from "./Pool.js";
import type { PoolEvent } from "./PoolEvent.js";

export interface Options extends Thresholds {
  readonly algorithm: Algorithm;
}

export class BackendRegistry extends Context.Tag("zeitwork-load-balancer/BackendRegistry")<
  BackendRegistry,
  {
    /** The pool of this moment. */
    readonly pool: Effect.Effect<Pool.Pool>;
    /**
     * What changes in the pool from now on. Each reader has a buffer of 256 events and loses the oldest ones when it
     * does not keep up: a reader that must not miss a change takes an event as a hint to read {@link pool} again.
     */
    readonly events: Effect.Effect<Stream.Stream<PoolEvent>, never, Scope.Scope>;
    /** Waits until this is true of the pool; not at all if it is true now. Asked again after every event. */
    readonly until: (holds: (pool: Pool.Pool) => boolean) => Effect.Effect<void>;
    /** Discovery lists exactly these instances. From the first list on the pool is `serving`, which means ready. */
    readonly discovered: (instances: ReadonlyArray<Instance>) => Effect.Effect<Pool.DiscoveryChange>;
    /** A probe, or the connect of a client's connection, told something about a backend. */
    readonly observed: (backend: Backend, observation: Pool.Observation) => Effect.Effect<void>;
    /** Chooses a backend and counts the connection on it; see {@link Pool.assigned}. */
    readonly assign: (client: Client, tried: ReadonlyArray<Backend>) => Effect.Effect<Backend | undefined>;
    /** A connection that was assigned is no more. Exactly once for each assignment. */
    readonly release: (backend: Backend) => Effect.Effect<void>;
    /**
     * An operator chooses what becomes of the listed backend with this id. `by` says who asked, for the log.
     * Undefined when no such backend is listed.
     */
    readonly steer: (id: string, admin: Admin, by: string) => Effect.Effect<Backend | undefined>;
    /** A discovery ended without a list. The last list stands; where there is none, the pool says why. */
    readonly discoveryFailed: (why: string) => Effect.Effect<void>;
    /**
     * Waits for the end of the first discovery, well or badly. Listeners open then: without a list they reset their
     * clients, and the pool is not `serving`.
     */
    readonly awaitFirstDiscovery: Effect.Effect<void>;
  }
>() {}

/** Builds the registry. Its scope owns the fiber that prepares the algorithm's tables. */
export const make = ({ algorithm, rise, fall }: Options) =>
  Effect.gen(function* () {
    const ref = yield* Ref.make(Pool.make(algorithm, { rise, fall }));
    const metrics = yield* Metrics;
    const events = yield* PubSub.sliding<PoolEvent>(256);
    yield* Effect.addFinalizer(() => PubSub.shutdown(events));
    const publish = (event: PoolEvent) => PubSub.publish(events, event);

    // One place is enough: a signal says "the eligible backends are not those you prepared for".
    const stale = yield* Queue.sliding<void>(1);
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.gen(function* () {
          yield* Queue.take(stale);
          const pool = yield* Ref.get(ref);
          const slices = pool.algorithm.prepare?.(pool.roster);
          if (slices === undefined) return;
          const prepared = yield* EventLoop.inSlices(slices);
          yield* Ref.update(ref, (now) => Pool.prepared(now, prepared));
        }).pipe(
          // An algorithm may be anybody's: one that throws is asked again when the backends change once more.
          Effect.catchAllDefect((defect) =>
            Effect.logError("the algorithm could not be prepared", Cause.die(defect)),
          ),
        ),
      ),
    );

    const firstDiscovery = yield* Deferred.make<void>();

    const change = <A>(transition: (pool: Pool.Pool) => readonly [Pool.Pool, A]): Effect.Effect<A> =>
      Effect.flatMap(
        Ref.modify(ref, (before) => {
          const [after, answer] = transition(before);
          const moved = before.roster.eligibility !== after.roster.eligibility;
          return [{ answer, moved, prepares: after.algorithm.prepare !== undefined }, after] as const;
        }),
        ({ answer, moved, prepares }) =>
          moved && prepares ? Effect.as(Queue.offer(stale, undefined), answer) : Effect.succeed(answer),
      );

    return BackendRegistry.of({
      pool: Ref.get(ref),
      events: Effect.map(PubSub.subscribe(events), (subscription) => Stream.fromQueue(subscription)),
      until: (holds) =>
        Effect.scoped(
          Effect.flatMap(PubSub.subscribe(events), (subscription) =>
            Stream.concat(Stream.void, Stream.fromQueue(subscription)).pipe(
              Stream.mapEffect(() => Ref.get(ref)),
              Stream.takeUntil(holds),
              Stream.runDrain,
            ),
          ),
        ),
      discovered: (instances) =>
        Effect.gen(function* () {
          const { found, first } = yield* change((pool) => {
            const [after, found] = Pool.discovered(pool, instances);
            return [after, { found, first: after.phase !== pool.phase }];
          });
          for (const backend of found.added) {
            metrics.track(backend);
            yield* Effect.logInfo("backend added").pipe(Effect.annotateLogs(annotations(backend)));
            yield* publish({ _tag: "Added", backend });
          }
          for (const backend of found.removed) {
            if (backend.connections === 0) metrics.forget(backend);
            yield* Effect.logInfo("backend removed").pipe(
              Effect.annotateLogs({ ...annotations(backend), connections: backend.connections }),
            );
            yield* publish({ _tag: "Removed", backend });
          }
          if (first) yield* publish({ _tag: "Phase", phase: "serving" });
          yield* Deferred.succeed(firstDiscovery, undefined);
          return found;
        }),
      observed: (backend, observation) =>
        Effect.gen(function* () {
          const at = yield* MonotonicClock.now;
          const transition = yield* change((pool) => Pool.observed(pool, backend, observation, at));
          if (transition === undefined) return;
          const told = annotations(transition.backend);
          metrics.backend(backend).transitioned(transition.up);
          if (observation.succeeded) {
            yield* Effect.logInfo("backend is up").pipe(Effect.annotateLogs(told));
            yield* publish({ _tag: "Up", backend: transition.backend });
          } else {
            const { why } = observation;
            yield* Effect.logWarning("backend is down").pipe(Effect.annotateLogs({ ...told, why }));
            yield* publish({ _tag: "Down", backend: transition.backend, why });
          }
        }),
      steer: (id, admin, by) =>
        Effect.gen(function* () {
          const at = yield* MonotonicClock.now;
          const steered = yield* change((pool) => Pool.steered(pool, id, admin, { at, by }));
          if (steered === undefined) return undefined;
          const { backend, before } = steered;
          yield* Effect.logInfo(`backend is ${admin}`).pipe(
            Effect.annotateLogs({ ...annotations(backend), before, by }),
          );
          yield* publish({ _tag: "Steered", backend, by });
          return backend;
        }),
      assign: (client, tried) =>
        Ref.modify(ref, (pool) => {
          const [after, backend] = Pool.assigned(pool, client, tried);
          return [backend, after] as const;
        }),
      // A backend that leaves with its last connection was not eligible: nothing to prepare for.
      release: (backend) =>
        Ref.update(ref, (pool) => {
          const after = Pool.released(pool, backend);
          if (after.roster.size < pool.roster.size) metrics.forget(backend);
          return after;
        }),
      discoveryFailed: (why) =>
        Effect.zipRight(
          change((pool) => [Pool.discoveryFailed(pool, why), undefined]),
          Deferred.succeed(firstDiscovery, undefined),
        ),
      awaitFirstDiscovery: Deferred.await(firstDiscovery),
    });
  });

const annotations = (backend: Backend) => ({ backend: describe(backend) });

/**
 * The registry of one balancer, with metrics that are given.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerWithoutDependencies = (options: Options): Layer.Layer<BackendRegistry, never, Metrics> =>
  Layer.scoped(BackendRegistry, make(options));

/**
 * The registry of one balancer, and its metrics: two registries never share a count. The series of a backend go when it
 * does.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<BackendRegistry | Metrics> =>
  Layer.provideMerge(layerWithoutDependencies(options), metricsLayer());
