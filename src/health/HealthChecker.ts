/**
 * Health checking: at every interval each backend's address is probed, which is to ask whether its port can be
 * connected to. How many results it takes to believe a backend up or down is decided by the pool (see backend/Health).
 *
 * @example
 * ```ts
 * import { Config, Layer } from "effect"
 * import { BackendRegistry, HealthChecker, NodeTransport } from "zeitwork-load-balancer"
 *
 * const checked = HealthChecker.layer({ interval: "2 seconds", timeout: "500 millis" }).pipe(
 *   Layer.provideMerge(BackendRegistry.layer({ rise: 1, fall: 1 })),
 *   Layer.provide(NodeTransport.layer),
 * )
 * const configured = HealthChecker.layerConfig({ interval: Config.duration("PROBE_INTERVAL") })
 * ```
 */
import {
  Config,
  type ConfigError,
  Context,
  Duration,
  Effect,
  FiberMap,
  Layer,
  Random,
  type Scope,
  Stream,
} from "effect";
import { type Backend, describe } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import type { Failure } from "../backend/Health.js";
import * as Pool from "../backend/Pool.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as InvalidOption from "../config/InvalidOption.js";
import * as Settings from "../config/Settings.js";
import { Metrics } from "../metrics/Metrics.js";
import * as DescriptorBudget from "../net/DescriptorBudget.js";
import * as Descriptors from "../net/Descriptors.js";
import * as ProxyHeader from "../net/ProxyHeader.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import { type ConnectError, isLocal, Transport } from "../transport/Transport.js";
import * as OwnAddress from "./OwnAddress.js";

/**
 * What is left out is as the program's settings have it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * From the end of one probe of an address to the start of its next, give or take 10 % so that they do not bunch. 5
   * seconds unless said otherwise.
   */
  readonly interval?: Duration.DurationInput;
  /** How long one probe may take. 2 seconds unless said otherwise. */
  readonly timeout?: Duration.DurationInput;
  /** Where backends expect a PROXY header of this version: a probe that they see begins with one without addresses. */
  readonly proxyProtocolTo?: Settings.ProxyProtocolTo;
  /** How many probes may be under way at a time. As many as the limit of descriptors leaves room for, at most 256. */
  readonly concurrency?: number;
}

/**
 * @since 0.2.0
 * @category tags
 */
export class HealthChecker extends Context.Tag("zeitwork-load-balancer/HealthChecker")<
  HealthChecker,
  {
    /** How many addresses are being probed. Backends with the same address have one probe. */
    readonly probed: Effect.Effect<number>;
  }
>() {}

/** An address that is probed, and the backends that the results are for. */
interface Target {
  readonly address: SocketAddress;
  backends: ReadonlyArray<Backend>;
}

/** Targets whose probing begins in one step, and backends that get a result in one. */
const stepSize = 4;

/** Backends that are sorted by address in one step. */
const sortedInAStep = 32;

/** The listed backends by address, in slices. */
const byAddress = function* (pool: Pool.Pool): Generator<void, ReadonlyMap<string, Target>> {
  const targets = new Map<string, { readonly address: SocketAddress; readonly backends: Array<Backend> }>();
  let sorted = 0;
  for (const backend of Pool.iterate(pool)) {
    sorted += 1;
    if (sorted % sortedInAStep === 0) yield;
    const key = format(backend.address);
    const target = targets.get(key);
    if (target === undefined) targets.set(key, { address: backend.address, backends: [backend] });
    else target.backends.push(backend);
  }
  return targets;
};

/**
 * Whether a connection to the address can be made. A failure that {@link isLocal} says nothing about the backend: this
 * host could not even try, as it is out of descriptors or memory, or of free ports towards that address.
 *
 * @since 0.2.0
 * @category getters
 */
export const probe = (
  address: SocketAddress,
  timeoutMillis: number,
  preface?: Uint8Array,
): Effect.Effect<void, ConnectError, Transport> =>
  Effect.flatMap(Transport, (transport) => transport.probe(address, { timeoutMillis, preface }));

const checked = (options: Options) =>
  Effect.all({
    intervalMillis: InvalidOption.duration(
      "interval",
      options.interval ?? Settings.defaults.healthCheckInterval,
    ),
    timeoutMillis: InvalidOption.duration("timeout", options.timeout ?? Settings.defaults.healthCheckTimeout),
    concurrency: InvalidOption.count(
      "concurrency",
      options.concurrency ?? DescriptorBudget.forProbes(Descriptors.read()?.limit),
      { least: 1, most: 1_000_000 },
    ),
  });

/**
 * Builds the checker. Its scope owns the fibers. An address is probed at once when a backend there is new; of a long
 * list so many at a time as `concurrency` says.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options,
): Effect.Effect<
  Context.Tag.Service<HealthChecker>,
  InvalidOption.InvalidOption,
  BackendRegistry | Metrics | Transport | Scope.Scope
> =>
  Effect.gen(function* () {
    const { concurrency, intervalMillis, timeoutMillis } = yield* checked(options);
    const { proxyProtocolTo = Settings.defaults.proxyProtocolTo } = options;
    const preface = proxyProtocolTo === "off" ? undefined : ProxyHeader.unknown(proxyProtocolTo);
    const registry = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const now = yield* MonotonicClock.reader;
    const fibers = yield* FiberMap.make<string>();
    const permits = yield* Effect.makeSemaphore(concurrency);
    const targets = new Map<string, Target>();
    // The addresses whose last probe could not be made.
    const unprobed = new Set<string>();

    const couldNotBeMade = (target: Target, error: ConnectError) => {
      const address = format(target.address);
      if (unprobed.has(address)) return Effect.void;
      unprobed.add(address);
      return Effect.logWarning("a probe could not be made").pipe(
        Effect.annotateLogs({ backend: target.backends.map(describe)[0], why: error.message }),
      );
    };

    const observed = (
      target: Target,
      began: number,
      failure: Failure | undefined,
      count: (backend: Backend) => void = () => {},
    ) => {
      unprobed.delete(format(target.address));
      return TimeSlices.map(target.backends, stepSize, (slice) =>
        Effect.forEach(
          slice,
          (backend) => {
            count(backend);
            return registry.observed(backend, { by: "probe", began, failure });
          },
          { discard: true },
        ),
      );
    };

    const found = (target: Target, began: number, failure: Failure | undefined) => {
      const millis = now() - began;
      return observed(target, began, failure, (backend) =>
        metrics.backend(backend).probed(failure === undefined, millis),
      );
    };

    // Asked at every probe, as an address can come to this host while it is listed (VRRP).
    const isOwn = (target: Target) =>
      Effect.flatMap(registry.listeners.get, (listeners) => OwnAddress.isOwn(target.address, listeners));

    const ownAddress = (target: Target): Failure => ({
      reason: "own-address",
      message: `${format(target.address)} is where this balancer itself listens to clients`,
    });

    const probeOnce = (target: Target) =>
      Effect.suspend(() => {
        const began = now();
        const probed = Effect.matchEffect(probe(target.address, timeoutMillis, preface), {
          onSuccess: () => found(target, began, undefined),
          onFailure: (error) => {
            const { message, reason } = error;
            return isLocal(reason)
              ? couldNotBeMade(target, error)
              : found(target, began, { reason, message });
          },
        });
        return Effect.flatMap(isOwn(target), (own) =>
          own ? Effect.asVoid(observed(target, began, ownAddress(target))) : Effect.asVoid(probed),
        );
      }).pipe(
        permits.withPermits(1),
        // A defect here is a bug of ours: it is logged, and the backend goes on being probed.
        Effect.catchAllDefect((defect) =>
          Effect.logError("probing failed by a defect", defect).pipe(
            Effect.annotateLogs({ address: format(target.address) }),
          ),
        ),
      );

    const rest = Effect.flatMap(Random.nextRange(0.9, 1.1), (factor) =>
      Effect.sleep(Duration.millis(intervalMillis * factor)),
    );

    const watch = (target: Target) => Effect.forever(Effect.zipRight(probeOnce(target), rest));

    const unwatch = (addresses: ReadonlyArray<string>) =>
      Effect.forEach(
        addresses,
        (address) => {
          targets.delete(address);
          unprobed.delete(address);
          return FiberMap.remove(fibers, address);
        },
        { discard: true },
      );

    // Watches a target, or what it has become: one with a new backend is probed at once.
    const rewatch = ([address, { backends, address: socket }]: readonly [string, Target]) => {
      const before = targets.get(address);
      const known = new Set(before?.backends.map(({ incarnation }) => incarnation));
      const isNew = backends.some(({ incarnation }) => !known.has(incarnation));
      const target = before ?? { address: socket, backends };
      target.backends = backends;
      targets.set(address, target);
      return isNew ? Effect.asVoid(FiberMap.run(fibers, address, watch(target))) : Effect.void;
    };

    let lists = -1;
    const reconcile = Effect.gen(function* () {
      const pool = yield* registry.pool;
      if (pool.lists === lists) return;
      lists = pool.lists;
      const listed = yield* TimeSlices.run(byAddress(pool));
      const gone = [...targets.keys()].filter((address) => !listed.has(address));
      yield* TimeSlices.map(gone, stepSize, unwatch);
      yield* TimeSlices.map([...listed], stepSize, (slice) =>
        Effect.forEach(slice, rewatch, { discard: true }),
      );
    });

    const events = yield* registry.events;
    yield* reconcile;
    yield* events.pipe(
      Stream.filter(({ _tag }) => _tag === "Added" || _tag === "Removed"),
      Stream.runForEach(() => reconcile),
      Effect.forkScoped,
    );

    // Re-probe now the backends whose port matches a new listener (they may be ourselves).
    yield* registry.listeners.changes.pipe(
      Stream.runForEach((listeners) => {
        const ports = new Set(listeners.map(({ port }) => port));
        return Effect.forEach(
          [...targets].filter(([, { address }]) => ports.has(address.port)),
          ([address, target]) => FiberMap.run(fibers, address, watch(target)),
          { discard: true },
        );
      }),
      Effect.forkScoped,
    );

    return HealthChecker.of({ probed: FiberMap.size(fibers) });
  });

/**
 * Probes every backend of the registry for as long as its scope is open. Fails when an option cannot be used.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options,
): Layer.Layer<HealthChecker, InvalidOption.InvalidOption, BackendRegistry | Metrics | Transport> =>
  Layer.scoped(HealthChecker, make(options));

/**
 * The same with options from a ConfigProvider.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
): Layer.Layer<
  HealthChecker,
  InvalidOption.InvalidOption | ConfigError.ConfigError,
  BackendRegistry | Metrics | Transport
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));

/**
 * For tests: finds every backend well as soon as it is listed, and connects to none.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { BackendRegistry, HealthChecker, LoadBalancer, MemoryTransport } from "zeitwork-load-balancer"
 *
 * const network = new MemoryTransport.Network()
 *
 * // A balancer for a test without a network: what the test lists is healthy at once.
 * const balancer = LoadBalancer.layer({ port: 8082 }).pipe(
 *   Layer.provide(HealthChecker.layerTest),
 *   Layer.provideMerge(BackendRegistry.layer({})),
 *   Layer.provide(MemoryTransport.layer(network)),
 * )
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layerTest: Layer.Layer<HealthChecker, never, BackendRegistry> = Layer.scoped(
  HealthChecker,
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const findWell = Effect.gen(function* () {
      const began = yield* MonotonicClock.now;
      const unchecked = Pool.backends(yield* registry.pool).filter(({ health }) => !health.checked);
      for (const backend of unchecked) {
        yield* registry.observed(backend, { by: "probe", began, failure: undefined });
      }
    });
    const events = yield* registry.events;
    yield* findWell;
    yield* events.pipe(
      Stream.filter(({ _tag }) => _tag === "Added"),
      Stream.runForEach(() => findWell),
      Effect.forkScoped,
    );
    return HealthChecker.of({ probed: Effect.map(registry.pool, ({ listed }) => listed) });
  }),
);
