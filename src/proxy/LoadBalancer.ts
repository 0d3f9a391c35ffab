/**
 * The load balancer: a listener whose sessions are relayed to the backends of a registry, and draining.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import {
 *   BackendRegistry,
 *   DiscoverySync,
 *   HealthChecker,
 *   LoadBalancer,
 *   NodeTransport,
 *   roundRobin,
 *   StaticDiscovery,
 * } from "zeitwork-load-balancer"
 *
 * const discovery = StaticDiscovery.layer({ backends: [{ host: "10.0.0.1", port: 80 }] })
 *
 * const balancer = LoadBalancer.layer({ port: 8082 }).pipe(
 *   Layer.provide([HealthChecker.layer({}), Layer.provide(DiscoverySync.layer({}), discovery)]),
 *   Layer.provide([BackendRegistry.layer({ algorithm: roundRobin }), NodeTransport.layer]),
 * )
 *
 * const reset = Effect.flatMap(LoadBalancer.LoadBalancer, ({ drain }) => drain).pipe(Effect.provide(balancer))
 * ```
 */
import {
  Config,
  type ConfigError,
  Context,
  Duration,
  Effect,
  Fiber,
  FiberRef,
  Layer,
  LogLevel,
  Option,
  Schedule,
  type Scope,
  Stream,
} from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import type { PoolEvent } from "../backend/PoolEvent.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as InvalidOption from "../config/InvalidOption.js";
import * as Settings from "../config/Settings.js";
import { Metrics } from "../metrics/Metrics.js";
import type { CidrSet } from "../net/CidrSet.js";
import type { ListenError } from "../net/ListenError.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import { Transport } from "../transport/Transport.js";
import * as Admission from "./Admission.js";
import type { ConnectionRecord } from "./ConnectionRecord.js";
import * as Listener from "./Listener.js";
import * as ListenerSessions from "./ListenerSessions.js";
import * as Session from "./Session.js";
import * as Sessions from "./Sessions.js";
import * as TimeLimits from "./TimeLimits.js";

/**
 * What is left out is as the program's settings have it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** The address that clients connect to; undefined is every address, IPv6 and IPv4. */
  readonly host?: string | undefined;
  /** 0 is any free port. */
  readonly port: number;
  /**
   * A descriptor that listens already, to be used in place of `host` and `port`: see the transport's `ListenOptions`.
   */
  readonly inherited?: number | undefined;
  /** How long each try to connect to a backend may take. */
  readonly connectTimeout?: Duration.DurationInput;
  /** How many further backends are tried when one cannot be connected to: 0 to 100. */
  readonly connectRetries?: number;
  /**
   * For how long a connection may be open without a byte that is read from either side or acknowledged by it; undefined
   * is for ever.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined;
  /** The same for a connection of which one side has sent FIN. */
  readonly halfClosedTimeout?: Duration.DurationInput | undefined;
  /**
   * How long a connection may be open, a tenth more or less; undefined is for ever. The tenth is drawn for each, so
   * that those which began together do not end together.
   */
  readonly maxConnectionAge?: Duration.DurationInput | undefined;
  /** What becomes of the connections that a backend has when it goes down: they are kept, or reset. */
  readonly onBackendDown?: Settings.OnBackendDown;
  /** How long open connections may run on once the listener drains; zero resets them at once. */
  readonly drainTimeout?: Duration.DurationInput;
  /**
   * How many connections there may be at a time: 1 to 1,000,000. Further clients wait in the kernel's queue. As many as
   * there are descriptors for by default.
   */
  readonly maxConnections?: number | undefined;
  /**
   * Peers whose connections begin with a PROXY header (version 1 or 2), never guessed from the bytes. Whom it names is
   * the client then; others are what follows from their address. A connection that begins with none is reset.
   */
  readonly proxyProtocolFrom?: CidrSet | undefined;
  /** The version of the PROXY header that backends are sent first, with the client's address; none by default. */
  readonly proxyProtocolTo?: Settings.ProxyProtocolTo;
  /** How long a PROXY header may take to arrive. */
  readonly proxyProtocolTimeout?: Duration.DurationInput;
  /** With it, all other clients are reset before a backend is chosen. */
  readonly allowClients?: CidrSet | undefined;
  /** Clients that are reset before a backend is chosen, allowed or not. */
  readonly denyClients?: CidrSet | undefined;
  /** How many connections one client (of IPv6 a /64) may have at a time: 1 to 1,000,000. No limit by default. */
  readonly maxConnectionsPerClient?: number | undefined;
  /** How many connections one client (of IPv6 a /64) may make in a time. No limit by default. */
  readonly maxConnectionRatePerClient?: Settings.Rate | undefined;
  /** Which connections are in the access log. */
  readonly accessLog?: Settings.AccessLogMode;
  /**
   * Called with the record of each connection when it is over, on its path: it has to be quick. What it throws is
   * logged. Where speed does not matter, `ended` is a stream of the same records.
   */
  readonly onEnded?: ((record: ConnectionRecord) => void) | undefined;
}

/**
 * @since 0.2.0
 * @category tags
 */
export class LoadBalancer extends Context.Tag("zeitwork-load-balancer/LoadBalancer")<
  LoadBalancer,
  {
    /** Where clients connect to: the port in use where port 0 was asked for. */
    readonly address: SocketAddress;
    /** Connections of this listener that are open now, those that are still looking for a backend included. */
    readonly open: Effect.Effect<number>;
    /** The open sessions of this listener, the oldest first. */
    readonly sessions: Effect.Effect<ReadonlyArray<Sessions.OpenSession>>;
    /**
     * The records of this listener's connections from now on, as they end. A reader that is more than 1,024 records
     * behind misses the oldest.
     */
    readonly ended: Stream.Stream<ConnectionRecord>;
    /** What the listener does. */
    readonly phase: Effect.Effect<Sessions.ListenerPhase>;
    /**
     * Says that it will drain soon, and goes on taking clients: its phase is `stopping`, and monitoring answers 503, so
     * that whatever stands in front sends clients elsewhere before any of them is refused. How long that takes is for
     * the caller to know. Does nothing once it drains.
     */
    readonly announceStop: Effect.Effect<void>;
    /**
     * Stops listening, lets open connections run on until they end or `drainTimeout` is over, and resets the rest.
     * Returns how many were reset. The second call waits for the same end. Closing the layer's scope drains too.
     */
    readonly drain: Effect.Effect<number>;
  }
>() {}

/** How often a line says how many connections a drain waits for. */
const progressInterval = Duration.seconds(5);

const checked = (options: Options) =>
  Effect.all({
    host: InvalidOption.ipAddress("host", options.host),
    port: InvalidOption.port("port", options.port),
    connectTimeoutMillis: InvalidOption.duration(
      "connectTimeout",
      options.connectTimeout ?? Settings.defaults.connectTimeout,
    ),
    connectRetries: InvalidOption.count(
      "connectRetries",
      options.connectRetries ?? Settings.defaults.connectRetries,
      Settings.table.connectRetries.bounds,
    ),
    idleMillis: InvalidOption.durationOrNone("idleTimeout", options.idleTimeout),
    halfClosedMillis: InvalidOption.durationOrNone("halfClosedTimeout", options.halfClosedTimeout),
    maxAgeMillis: InvalidOption.durationOrNone("maxConnectionAge", options.maxConnectionAge),
    drainTimeoutMillis: InvalidOption.duration(
      "drainTimeout",
      options.drainTimeout ?? Settings.defaults.drainTimeout,
      Duration.zero,
    ),
    proxyTimeoutMillis: InvalidOption.duration(
      "proxyProtocolTimeout",
      options.proxyProtocolTimeout ?? Settings.defaults.proxyProtocolTimeout,
    ),
    maxConnections: InvalidOption.countOrNone(
      "maxConnections",
      options.maxConnections,
      Settings.table.maxConnections.bounds,
    ),
    maxPerClient: InvalidOption.countOrNone(
      "maxConnectionsPerClient",
      options.maxConnectionsPerClient,
      Settings.table.maxConnectionsPerClient.bounds,
    ),
    ratePerClient: InvalidOption.rateOrNone("maxConnectionRatePerClient", options.maxConnectionRatePerClient),
  });

/**
 * Builds the balancer: it waits for the end of the first discovery, and then listens. When its scope closes, it drains.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options,
): Effect.Effect<
  typeof LoadBalancer.Service,
  ListenError | InvalidOption.InvalidOption,
  BackendRegistry | Metrics | Sessions.Sessions | Transport | Scope.Scope
> =>
  Effect.gen(function* () {
    const {
      connectRetries,
      connectTimeoutMillis,
      drainTimeoutMillis,
      halfClosedMillis,
      host,
      idleMillis,
      maxAgeMillis,
      maxConnections,
      maxPerClient,
      port,
      proxyTimeoutMillis,
      ratePerClient,
    } = yield* checked(options);
    const onBackendDown = options.onBackendDown ?? Settings.defaults.onBackendDown;
    const registry = yield* BackendRegistry;
    const transport = yield* Transport;
    const metrics = yield* Metrics;
    const sessions = yield* Sessions.Sessions;
    const clock = yield* Effect.clock;
    const now = yield* MonotonicClock.reader;
    const runtime = yield* Effect.runtime();
    const withFullRuntime = <A>(effect: Effect.Effect<A>): Effect.Effect<A> =>
      Effect.zipRight(Effect.inheritFiberRefs(runtime.fiberRefs), effect);

    // A logger that throws loses its line, and nothing else.
    const log = (line: Effect.Effect<void>): Effect.Effect<void> =>
      Effect.catchAllCause(withFullRuntime(line), () => Effect.void);

    const admission = Admission.make({
      allow: options.allowClients,
      deny: options.denyClients,
      maxPerClient,
      ratePerClient,
    });
    const { proxyProtocolTo = Settings.defaults.proxyProtocolTo } = options;
    const attempts = Session.make({
      registry,
      transport,
      metrics,
      now,
      connectTimeoutMillis,
      connectRetries,
      introduceBy: proxyProtocolTo === "off" ? undefined : proxyProtocolTo,
      introductions:
        options.proxyProtocolFrom === undefined
          ? undefined
          : {
              timeoutMillis: proxyTimeoutMillis,
              admit:
                admission === undefined
                  ? undefined
                  : (session) => {
                      const denial = admission.admit(session.address.host, now());
                      session.admitted = denial === undefined;
                      return denial;
                    },
            },
      // Evaluated once: a log line that is not written costs a session too.
      debug: LogLevel.lessThanEqual(yield* FiberRef.get(FiberRef.currentMinimumLogLevel), LogLevel.Debug),
      withFullRuntime,
      log,
    });
    const group = yield* ListenerSessions.make({
      sessions,
      metrics,
      attempts,
      wire: transport,
      admission,
      introducedFrom: options.proxyProtocolFrom,
      log,
      now,
      wallClock: () => clock.unsafeCurrentTimeMillis(),
      accessLog: options.accessLog ?? Settings.defaults.accessLog,
      onEnded: options.onEnded,
    });

    /** Why a session may not stay with the backend that it has. */
    const barredFrom =
      (pool: Pool.Pool) =>
      (session: Session.Session): Session.CutReason | undefined => {
        const { assigned, backend } = session;
        if (!assigned || backend === undefined) return undefined;
        if (pool.chosen.get(backend.key)?.admin === "disabled") return "disabled";
        const health = Pool.current(pool, backend)?.health;
        if (onBackendDown === "keep" || health === undefined || health.up || !health.checked)
          return undefined;
        // One that is still being connected to is left alone: where that fails, another backend is tried.
        transport.bringUpToDate?.(session.client);
        return session.connectMillis === undefined ? undefined : "backend-down";
      };

    const bars = (event: PoolEvent): boolean =>
      (event._tag === "Steered" && event.backend.admin === "disabled") ||
      (event._tag === "Down" && onBackendDown === "reset");

    // An event may be missed when there are too many, so it is a reason to look and not what is looked at.
    const events = yield* registry.events;
    yield* events.pipe(
      Stream.filter(bars),
      Stream.runForEach(() => Effect.flatMap(registry.pool, (pool) => group.cut(barredFrom(pool)))),
      Effect.forkScoped,
    );

    yield* TimeLimits.sweep({ halfClosedMillis, idleMillis, maxAgeMillis }, transport, group.cut);

    yield* Effect.unlessEffect(
      Effect.logInfo("waiting for the first list of backends"),
      Effect.map(registry.pool, (pool) => pool.phase !== "starting"),
    );
    yield* registry.awaitFirstDiscovery;
    const listener = yield* Listener.listen({
      transport,
      metrics,
      sessions: group,
      host,
      port,
      inherited: options.inherited,
      maxConnections,
    });
    yield* registry.listening(listener.address);

    const progress = Effect.flatMap(group.open, (connections) =>
      Effect.logInfo("draining").pipe(Effect.annotateLogs({ connections })),
    ).pipe(Effect.repeat(Schedule.spaced(progressInterval)));

    const drain = yield* Effect.cached(
      Effect.gen(function* () {
        yield* group.setPhase("draining");
        yield* listener.close;
        if ((yield* group.open) > 0) {
          // Finalizers cannot be interrupted, and what cannot be interrupted cannot time out. It needs a fiber of its
          // own: the one that closes the scope has mostly been interrupted already, by the signal, and would not wait.
          const ended = yield* Effect.raceFirst(group.allEnded, progress).pipe(
            Effect.timeoutOption(drainTimeoutMillis),
            Effect.interruptible,
            Effect.fork,
            Effect.flatMap(Fiber.join),
          );
          const left = yield* group.open;
          if (Option.isNone(ended) && left > 0) {
            yield* Effect.logWarning("drain timeout is over, resetting connections").pipe(
              Effect.annotateLogs({ connections: left }),
            );
          }
        }
        const reset = yield* group.resetAll;
        yield* Effect.logInfo("drained").pipe(Effect.annotateLogs({ reset }));
        return reset;
        // It logs as this balancer does, and not as the caller.
      }).pipe(Effect.provide(runtime), Effect.uninterruptible),
    );
    yield* Effect.addFinalizer(() => drain);

    return LoadBalancer.of({
      address: listener.address,
      open: group.open,
      sessions: group.list,
      ended: group.ended,
      phase: group.phase,
      announceStop: Effect.flatMap(group.phase, (phase) =>
        phase === "draining" ? Effect.void : group.setPhase("stopping"),
      ),
      drain,
    });
  });

/**
 * The balancer of one port, over a {@link Sessions.Sessions} that is given: another listener's, or a test's.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerWithoutDependencies = (
  options: Options,
): Layer.Layer<
  LoadBalancer,
  ListenError | InvalidOption.InvalidOption,
  BackendRegistry | Metrics | Sessions.Sessions | Transport
> => Layer.scoped(LoadBalancer, make(options));

/**
 * The balancer of one port. Fails when the port cannot be listened on, or an option cannot be used. What it needs is a
 * registry (whose layer brings its metrics) and a transport.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options,
): Layer.Layer<
  LoadBalancer,
  ListenError | InvalidOption.InvalidOption,
  BackendRegistry | Metrics | Transport
> => Layer.provide(layerWithoutDependencies(options), Sessions.layer);

/**
 * The same with options from a ConfigProvider.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { LoadBalancer, Settings } from "zeitwork-load-balancer"
 *
 * const balancer = LoadBalancer.layerConfig({
 *   port: Config.map(Settings.config, ({ port }) => port),
 *   drainTimeout: Config.duration("DRAIN").pipe(Config.withDefault("10 seconds")),
 * })
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
): Layer.Layer<
  LoadBalancer,
  ListenError | InvalidOption.InvalidOption | ConfigError.ConfigError,
  BackendRegistry | Metrics | Transport
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));
