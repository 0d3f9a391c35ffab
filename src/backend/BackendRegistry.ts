/**
 * The only holder of the pool: every change is one synchronous step by a pure function of {@link Pool}. This module
 * adds the clock, the log, the metrics and the events.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { BackendRegistry, Pool, roundRobin } from "zeitwork-load-balancer"
 *
 * const program = Effect.gen(function* () {
 *   const registry = yield* BackendRegistry.BackendRegistry
 *   yield* registry.discovered([{ id: "a", address: { host: "10.0.0.1", port: 80 } }])
 *   yield* Effect.log(`${Pool.healthy(yield* registry.pool)} healthy`)
 *   yield* Stream.runForEach(yield* registry.events, (event) => Effect.log(event._tag))
 * }).pipe(Effect.scoped, Effect.provide(BackendRegistry.layer({ algorithm: roundRobin })))
 * ```
 */
import {
  Cause,
  Config,
  type ConfigError,
  Context,
  Deferred,
  type Duration,
  Effect,
  Layer,
  MutableRef,
  PubSub,
  Queue,
  Runtime,
  type Scope,
  Stream,
  SubscriptionRef,
} from "effect";
import type { Subscribable } from "effect/Subscribable";
import type { Algorithm, Client } from "../balancing/Algorithm.js";
import { algorithms } from "../balancing/Algorithms.js";
import { limitBounds, weightBounds } from "../balancing/Members.js";
import { Deadlines, Expiring } from "../clock/Deadlines.js";
import * as FiberLoop from "../clock/FiberLoop.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as InvalidOption from "../config/InvalidOption.js";
import * as Settings from "../config/Settings.js";
import { Metrics, layer as metricsLayer } from "../metrics/Metrics.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import * as AlgorithmPreparation from "./AlgorithmPreparation.js";
import type { Admin, Backend, Instance } from "./Backend.js";
import { ConnectionQueue } from "./ConnectionQueue.js";
import type { Observation } from "./Health.js";
import * as Listing from "./Listing.js";
import * as Pool from "./Pool.js";
import type { PoolEvent } from "./PoolEvent.js";
import * as PoolLog from "./PoolLog.js";
import * as SlowStarts from "./SlowStarts.js";

/**
 * What is left out is as the program's settings have it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** How a backend is chosen for a connection; round-robin unless said otherwise. */
  readonly algorithm?: Algorithm;
  /** Successes in a row that bring a backend up again: 1 to 1000, 2 unless said otherwise. */
  readonly rise?: number;
  /** Failures in a row that take a backend down: 1 to 1000, 3 unless said otherwise. */
  readonly fall?: number;
  /**
   * The most connections of a backend of which discovery says nothing else: 1 to 1,000,000; no limit unless said
   * otherwise. A backend that has this many is passed over.
   */
  readonly maxConnections?: number | undefined;
  /** How long a client may wait for a place while all healthy backends are full. */
  readonly queueTimeout?: Duration.DurationInput;
  /** The maximum number of clients that wait: 0 to 10,000. With 0 no client waits. */
  readonly queueLimit?: number;
  /**
   * Over how long a backend that comes up, a new one too, gets from a tenth of its weight to all of it: up to 20 days,
   * 0 (at once) unless said otherwise. Backends of the first list that are up at their first check have all of it.
   */
  readonly slowStart?: Duration.DurationInput;
}

/**
 * A client that waits for a place at a backend. One of the three callbacks is called, once, unless the client has left
 * before. They are called on the path of other connections: they have to be quick, and must not throw.
 *
 * @since 0.2.0
 * @category models
 */
export interface Waiting {
  readonly client: Client;
  /** Backends to which its connect has failed: it is given none of them. */
  readonly tried: ReadonlyArray<Backend>;
  /** It has a place, which is to be released like any other assignment. */
  readonly assigned: (assignment: Pool.Assignment) => void;
  /** It has no place: `queueTimeout` is over, or no healthy backend is left that it has not tried. */
  readonly ended: (why: "timeout" | "no-backend") => void;
  /** The algorithm threw when it was asked for this client. */
  readonly threw: (defect: unknown) => void;
}

const checked = (options: Options) =>
  Effect.all({
    rise: InvalidOption.count(
      "rise",
      options.rise ?? Settings.defaults.healthCheckRise,
      Settings.table.healthCheckRise.bounds,
    ),
    fall: InvalidOption.count(
      "fall",
      options.fall ?? Settings.defaults.healthCheckFall,
      Settings.table.healthCheckFall.bounds,
    ),
    maxConnections:
      options.maxConnections === undefined
        ? Effect.succeed(Infinity)
        : InvalidOption.count("maxConnections", options.maxConnections, limitBounds),
    queueTimeoutMillis: InvalidOption.duration(
      "queueTimeout",
      options.queueTimeout ?? Settings.defaults.queueTimeout,
    ),
    queueLimit: InvalidOption.count(
      "queueLimit",
      options.queueLimit ?? Settings.defaults.queueLimit,
      Settings.table.queueLimit.bounds,
    ),
    slowStartMillis: InvalidOption.duration("slowStart", options.slowStart ?? Settings.defaults.slowStart, 0),
  });

/**
 * The only holder of the pool.
 *
 * @since 0.2.0
 * @category tags
 */
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
    /**
     * Discovery lists exactly these instances. From the first list on the pool is `serving`, which means ready.
     * Instances that cannot be a backend (no IP address, no port, an id that cannot be printed) are left out, with a
     * warning for each that is new.
     *
     * Done in slices, so that a list of many thousands holds up no connection. Lists are taken over one after the
     * other.
     */
    readonly discovered: (instances: ReadonlyArray<Instance>) => Effect.Effect<Pool.DiscoveryChange>;
    /** A probe, or the connect of a client's connection, said something about a backend. */
    readonly observed: (backend: Backend, observation: Observation) => Effect.Effect<void>;
    /**
     * The connect of a client's connection succeeded: that ends a run of failures of this backend. To be called for
     * every connection, on its path: nothing is done while no backend has a run of failures.
     */
    readonly connected: (backend: Backend) => void;
    /**
     * Chooses a backend and counts the connection on it; see {@link Pool.assigned}. Also undefined while places are being
     * given to waiting clients, so that new clients do not overtake them.
     */
    readonly assign: (
      client: Client,
      tried: ReadonlyArray<Backend>,
    ) => Effect.Effect<Pool.Assignment | undefined>;
    /**
     * Joins the queue for a place: first come, first served. Exception: where the algorithm prefers a backend for each
     * client (ip-hash), a place of that backend is given to the first client that prefers it. Answers a function that
     * leaves the queue; undefined if `queueLimit` clients wait already.
     */
    readonly join: (waiting: Waiting) => (() => void) | undefined;
    /** The maximum number of waiting clients; 0 if no client may wait. */
    readonly queueLimit: number;
    /** The number of clients that wait for a place now. */
    readonly queued: Effect.Effect<number>;
    /** An assigned connection has ended. To be called exactly once for each assignment. */
    readonly release: (backend: Backend) => Effect.Effect<void>;
    /**
     * An operator chooses what becomes of the listed backends with this id, or with this name (`name:port`, for all the
     * addresses of a host name). `by` says who asked, for the log. Returns them as they are then: none where there is
     * no such backend.
     */
    readonly steer: (idOrName: string, admin: Admin, by: string) => Effect.Effect<ReadonlyArray<Backend>>;
    /**
     * An operator chooses the weight of the listed backends with this id or name, 0 to 256, in place of what discovery
     * says; undefined gives that back. Otherwise as {@link steer}.
     */
    readonly weigh: (
      idOrName: string,
      weight: number | undefined,
      by: string,
    ) => Effect.Effect<ReadonlyArray<Backend>, InvalidOption.InvalidOption>;
    /**
     * Operators chose this earlier, in another process: see {@link Pool.restored}. To be called before discovery lists, so
     * that a drained backend gets no connection meanwhile.
     */
    readonly restore: (choices: ReadonlyArray<Pool.Choice>) => Effect.Effect<void>;
    /** Clients are listened to at this address until the scope closes: a backend there would be the balancer itself. */
    readonly listening: (address: SocketAddress) => Effect.Effect<void, never, Scope.Scope>;
    /** Where clients are listened to. */
    readonly listeners: Subscribable<ReadonlyArray<SocketAddress>>;
    /** A discovery ended without a list. The last list stands; where there is none, the pool says why. */
    readonly discoveryFailed: (why: string) => Effect.Effect<void>;
    /**
     * Waits for the end of the first discovery, well or badly. Listeners open then: without a list they reset their
     * clients, and the pool is not `serving`.
     */
    readonly awaitFirstDiscovery: Effect.Effect<void>;
  }
>() {}

/** Backends that are added, removed or logged in one step. */
const stepSize = 4;

/** Steps of the queue that are made at once: in one step of a slice, and when a place opens. */
const looksPerStep = 16;

/** A waiting client with its deadline. */
class Queued extends Expiring {
  constructor(
    readonly waiting: Waiting,
    readonly onExpired: (queued: Queued) => void,
  ) {
    super();
  }

  get client(): Client {
    return this.waiting.client;
  }

  get tried(): ReadonlyArray<Backend> {
    return this.waiting.tried;
  }

  expire(): void {
    this.onExpired(this);
  }
}

/**
 * Builds the registry. Its scope owns the fibers that prepare the algorithm's tables, settle the queue, and raise
 * backends in a slow start.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options,
): Effect.Effect<Context.Tag.Service<BackendRegistry>, InvalidOption.InvalidOption, Metrics | Scope.Scope> =>
  Effect.gen(function* () {
    const { maxConnections, queueLimit, queueTimeoutMillis, slowStartMillis, ...thresholds } =
      yield* checked(options);
    const algorithm = options.algorithm ?? algorithms[Settings.defaults.algorithm];
    const state = MutableRef.make(Pool.make(algorithm, thresholds, maxConnections, slowStartMillis > 0));
    const metrics = yield* Metrics;
    const log = PoolLog.make();
    const events = yield* PubSub.sliding<PoolEvent>(256);
    yield* Effect.addFinalizer(() => PubSub.shutdown(events));
    const publish = (event: PoolEvent) => PubSub.publish(events, event);
    const firstDiscovery = yield* Deferred.make<void>();
    const listeners = yield* SubscriptionRef.make<ReadonlyArray<SocketAddress>>([]);
    const pool = Effect.sync(() => state.current);
    const now = yield* MonotonicClock.reader;

    const prepare = yield* AlgorithmPreparation.make(pool, (prepared) =>
      Effect.sync(() => {
        state.current = Pool.prepared(state.current, prepared);
      }),
    );

    const queue = new ConnectionQueue<Queued>(queueLimit);
    const run = Runtime.runFork(yield* Effect.runtime());
    const deadlines = new Deadlines(yield* FiberLoop.make, (defect) =>
      run(Effect.logError("the end of a wait for a place failed by a defect", defect)),
    );
    yield* Effect.addFinalizer(() => Effect.sync(() => deadlines.close()));
    /** The queue is worked on in slices: until that is done, new clients must not overtake waiting ones. */
    let settling = false;
    // A capacity of one is enough: an element says that the queue has steps to make.
    const unsettled = yield* Queue.sliding<void>(1);

    /** To be called when a client has left the queue. */
    const hasLeft = (queued: Queued): Waiting => {
      deadlines.remove(queued);
      metrics.waited(now() - queued.since);
      return queued.waiting;
    };

    /** Makes some steps of the queue; false if there may be more to make. */
    const settle = (): boolean => {
      for (let looked = 0; looked < looksPerStep; looked++) {
        const [after, step] = queue.step(state.current);
        state.current = after;
        switch (step._tag) {
          case "Assigned":
            hasLeft(step.waiter).assigned(step.assignment);
            break;
          case "Hopeless":
            hasLeft(step.waiter).ended("no-backend");
            break;
          case "Broken":
            hasLeft(step.waiter).threw(step.defect);
            break;
          case "Waits":
            break;
          case "Ended":
            settling = false;
            return true;
        }
      }
      return false;
    };

    const settleInSlices = (): void => {
      settling = true;
      Queue.unsafeOffer(unsettled, undefined);
    };

    yield* Queue.take(unsettled).pipe(
      Effect.zipRight(
        Effect.suspend(() =>
          TimeSlices.run(
            (function* () {
              while (!settle()) yield;
            })(),
          ),
        ),
      ),
      // A client whose callback threw has left the queue; the others are served.
      Effect.catchAllDefect((defect) =>
        Effect.zipRight(
          Effect.logError("giving a place failed by a defect", Cause.die(defect)),
          Effect.sync(settleInSlices),
        ),
      ),
      Effect.forever,
      Effect.forkScoped,
    );

    const change = <A>(transition: (pool: Pool.Pool) => readonly [Pool.Pool, A]): Effect.Effect<A> =>
      Effect.suspend(() => {
        const before = state.current;
        const [after, answer] = transition(before);
        state.current = after;
        if (queue.size > 0 && before.members !== after.members) {
          queue.check();
          settleInSlices();
        }
        return before.members.fingerprint === after.members.fingerprint
          ? Effect.succeed(answer)
          : Effect.as(prepare, answer);
      });

    const slowStarts = yield* SlowStarts.make(slowStartMillis, (backends) =>
      Effect.tap(
        change((pool) => Pool.raised(pool, backends)),
        (raised) =>
          Effect.forEach(
            raised,
            (backend) => Effect.zipRight(log.raised(backend), publish({ _tag: "SlowStart", backend })),
            { discard: true },
          ),
      ),
    );

    /** To be called when a backend is no longer known. */
    const forget = (backend: Backend): void => {
      metrics.forget(backend);
      slowStarts.ended(backend);
    };

    const serving = Effect.flatMap(
      change((pool) => [Pool.serving(pool), pool.phase === "starting"]),
      (changed) => (changed ? publish({ _tag: "Phase", phase: "serving" }) : Effect.void),
    );

    const added = (arrivals: ReadonlyArray<Listing.Arrival>) =>
      Effect.map(
        change((pool) => Pool.added(pool, arrivals)),
        (backends) => {
          for (const backend of backends) metrics.track(backend);
          return backends;
        },
      );

    // A backend has its metrics for as long as it is known, its last connection included.
    const removed = (departures: ReadonlyArray<Backend>) =>
      Effect.map(
        change((pool) => Pool.removed(pool, departures)),
        (backends) => {
          for (const backend of backends) {
            if (Pool.current(state.current, backend) === undefined) forget(backend);
          }
          return backends;
        },
      );

    const altered = (alterations: ReadonlyArray<Listing.Alteration>) =>
      change((pool) => Pool.altered(pool, alterations));

    const takeOver = ({ alterations, arrivals, departures, invalid }: Listing.Changes) =>
      Effect.gen(function* () {
        const first = state.current.phase === "starting";
        const come = (yield* TimeSlices.map(arrivals, stepSize, added)).flat();
        const others = (yield* TimeSlices.map(alterations, stepSize, altered)).flat();
        const gone = (yield* TimeSlices.map(departures, stepSize, removed)).flat();
        if (come.length + gone.length > 0) yield* change((pool) => [Pool.relisted(pool), undefined]);
        yield* log.listed(
          { added: come.length, removed: gone.length, altered: others.length, first },
          state.current,
        );
        yield* TimeSlices.map(come, stepSize, (slice) =>
          Effect.forEach(
            slice,
            (backend) => Effect.zipRight(log.added(backend), publish({ _tag: "Added", backend })),
            { discard: true },
          ),
        );
        yield* TimeSlices.map(others, stepSize, (slice) =>
          Effect.forEach(
            slice,
            (backend) => Effect.zipRight(log.altered(backend), publish({ _tag: "Altered", backend })),
            { discard: true },
          ),
        );
        yield* TimeSlices.map(gone, stepSize, (slice) =>
          Effect.forEach(
            slice,
            (backend) =>
              Effect.zipRight(
                log.removed(backend, Pool.connections(state.current, backend)),
                publish({ _tag: "Removed", backend }),
              ),
            { discard: true },
          ),
        );
        yield* serving;
        yield* log.invalid(invalid);
        yield* Deferred.succeed(firstDiscovery, undefined);
        return { added: come, removed: gone, altered: others, invalid };
      });

    // One after the other: what a list changes is compared with what the one before has left.
    const oneList = yield* Effect.makeSemaphore(1);

    return BackendRegistry.of({
      pool,
      events: Effect.map(PubSub.subscribe(events), (subscription) => Stream.fromQueue(subscription)),
      until: (holds) =>
        Effect.scoped(
          Effect.flatMap(PubSub.subscribe(events), (subscription) =>
            Stream.concat(Stream.void, Stream.fromQueue(subscription)).pipe(
              Stream.mapEffect(() => pool),
              Stream.takeUntil(holds),
              Stream.runDrain,
            ),
          ),
        ),
      discovered: (instances) =>
        Effect.suspend(() =>
          TimeSlices.run(Listing.compare(state.current.members, instances, maxConnections)),
        ).pipe(
          // A list is taken over as a whole, or not at all.
          Effect.flatMap((changes) => Effect.uninterruptible(takeOver(changes))),
          oneList.withPermits(1),
        ),
      observed: (backend, observation) =>
        Effect.gen(function* () {
          const at = yield* MonotonicClock.now;
          const transition = yield* change((pool) => Pool.observed(pool, backend, observation, at));
          if (transition === undefined) return;
          const { health, slowStart } = transition.backend;
          if (!health.up) slowStarts.ended(transition.backend);
          else if (slowStart !== undefined) slowStarts.began(transition.backend);
          metrics.backend(backend).transitioned(health.up);
          yield* log.transition(transition, state.current);
          yield* publish(
            health.up
              ? { _tag: "Up", backend: transition.backend }
              : { _tag: "Down", backend: transition.backend, why: health.why?.message ?? "" },
          );
        }),
      connected: (backend) => {
        if (state.current.failing > 0) state.current = Pool.connected(state.current, backend, now());
      },
      assign: (client, tried) =>
        Effect.sync(() => {
          if (settling && !settle()) return undefined;
          const [after, assignment] = Pool.assigned(state.current, client, tried);
          state.current = after;
          return assignment;
        }),
      // A backend that leaves with its last connection was not eligible: nothing to prepare for.
      release: (backend) =>
        Effect.sync(() => {
          const before = state.current;
          state.current = Pool.released(before, backend);
          if (before.members !== state.current.members) forget(backend);
          if (queue.size === 0) return;
          queue.offer();
          if (!settle()) settleInSlices();
        }),
      join: (waiting) => {
        if (queue.isFull) return undefined;
        const queued = new Queued(waiting, (expired) => {
          if (queue.leave(expired)) hasLeft(expired).ended("timeout");
        });
        state.current = queue.join(queued, state.current);
        deadlines.add(queued, queueTimeoutMillis);
        metrics.queued();
        // A place may have opened since the client asked for a backend.
        if (!settling && Pool.hasPlace(state.current, waiting.tried)) {
          queue.offer();
          settleInSlices();
        }
        return () => {
          if (queue.leave(queued)) hasLeft(queued);
        };
      },
      queueLimit,
      queued: Effect.sync(() => queue.size),
      steer: (idOrName, admin, by) =>
        Effect.gen(function* () {
          const at = yield* MonotonicClock.now;
          const changes = yield* change((pool) => Pool.steered(pool, idOrName, admin, { at, by }));
          for (const { backend, before } of changes) {
            yield* log.steered({ backend, before }, by);
            yield* publish({ _tag: "Steered", backend, by });
          }
          return changes.map(({ backend }) => backend);
        }),
      weigh: (idOrName, weight, by) =>
        Effect.gen(function* () {
          if (weight !== undefined) yield* InvalidOption.count("weight", weight, weightBounds);
          const at = yield* MonotonicClock.now;
          const backends = yield* change((pool) => Pool.weighed(pool, idOrName, weight, { at, by }));
          for (const backend of backends) {
            yield* log.weighed(backend, by);
            yield* publish({ _tag: "Weighed", backend, by });
          }
          return backends;
        }),
      restore: (choices) => change((pool) => [Pool.restored(pool, choices), undefined]),
      listening: (address) =>
        Effect.acquireRelease(
          SubscriptionRef.update(listeners, (all) => [...all, address]),
          () => SubscriptionRef.update(listeners, (all) => all.filter((one) => one !== address)),
        ),
      listeners,
      discoveryFailed: (why) =>
        Effect.zipRight(
          change((pool) => [Pool.discoveryFailed(pool, why), undefined]),
          Deferred.succeed(firstDiscovery, undefined),
        ),
      awaitFirstDiscovery: Deferred.await(firstDiscovery),
    });
  });

/**
 * The registry of one balancer, with metrics that are given.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerWithoutDependencies = (
  options: Options,
): Layer.Layer<BackendRegistry, InvalidOption.InvalidOption, Metrics> =>
  Layer.scoped(BackendRegistry, make(options));

/**
 * The registry of one balancer, and its metrics: two registries never share a count. The series of a backend go when it
 * does.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options,
): Layer.Layer<BackendRegistry | Metrics, InvalidOption.InvalidOption> =>
  Layer.provideMerge(layerWithoutDependencies(options), metricsLayer());

/**
 * {@link layer} with options from a ConfigProvider.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { BackendRegistry, Settings } from "zeitwork-load-balancer"
 *
 * const registry = BackendRegistry.layerConfig({
 *   rise: Config.map(Settings.config, ({ healthCheckRise }) => healthCheckRise),
 *   fall: Config.integer("FALL").pipe(Config.withDefault(3)),
 * })
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
): Layer.Layer<BackendRegistry | Metrics, InvalidOption.InvalidOption | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));
