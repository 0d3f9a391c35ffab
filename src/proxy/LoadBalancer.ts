/**
 * The load balancer: a listener, one fiber per connection, and draining.
 *
 * The fiber is policy (choose, connect, try another, relay, account, release); the transport moves the bytes.
 * It is kept lean on purpose, because it is paid for with every connection: no scope and no timer of its own.
 */
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberRef,
  FiberRefs,
  Layer,
  LogLevel,
  Option,
  Runtime,
  RuntimeFlags,
  Schedule,
  Stream,
} from "effect";
import { type Backend, describe } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import type { AccessLogMode } from "../config/Settings.js";
import * as LogThrottle from "../log/LogThrottle.js";
import { quantity } from "../log/Quantity.js";
import type { ListenError } from "../net/ListenError.js";
import type { Meter } from "../net/Meter.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import {
  type ConnectError,
  type Connection,
  type RelayEnd,
  type RelayOutcome,
  Transport,
} from "../transport/Transport.js";
import * as AccessLog from "./AccessLog.js";
import { type ConnectionRecord, codeOf, type EndedBy, type Phase } from "./ConnectionRecord.js";
import * as Turns from "./Turns.js";

export interface Options {
  /** The address clients connect to; undefined is every address, IPv6 and IPv4. */
  readonly host: string | undefined;
  /** 0 is any free port. */
  readonly port: number;
  /** A descriptor that listens already, to be used in place of `host` and `port`: see the transport's `ListenOptions`. */
  readonly inherited?: number | undefined;
  /** How long each try to connect to a backend may take. */
  readonly connectTimeout: Duration.DurationInput;
  /** How many further backends are tried when one cannot be connected to. */
  readonly connectRetries: number;
  /** How long open connections may run on once the balancer was told to stop. */
  readonly drainTimeout: Duration.DurationInput;
  /** Which connections the access log tells of; `errors` (those that did not end in order) unless said otherwise. */
  readonly accessLog?: AccessLogMode;
  /** Told of each connection when it is over, on its path: it has to be quick, and must not throw. */
  readonly onEnded?: ((record: ConnectionRecord) => void) | undefined;
}

/** Counts since the start. */
export interface Stats {
  /** Connections accepted from clients. */
  readonly accepted: number;
  /** Of those, reset because no backend was healthy, or none left to try could be connected to. */
  readonly refused: number;
  /** Connections that could not be accepted. */
  readonly acceptErrors: number;
  /** Failed tries to connect to a backend. */
  readonly connectFailures: number;
  /** Connections that went to another backend after a failed try. */
  readonly redispatches: number;
}

export class LoadBalancer extends Context.Tag("zeitwork-load-balancer/LoadBalancer")<
  LoadBalancer,
  {
    /** Where clients connect to: the port in use where port 0 was asked for. */
    readonly address: SocketAddress;
    /** Connections open now, those that are still looking for a backend included. */
    readonly open: Effect.Effect<number>;
    readonly stats: Effect.Effect<Stats>;
  }
>() {}

/** What the kernel may hold until it is accepted; the kernel caps it at net.core.somaxconn. */
const backlog = 4096;

const none: ReadonlyArray<Backend> = [];

/**
 * A fiber, and what it waits with for its next connection. It serves one at a time; to start and to end a fiber costs
 * more than all that it does for a connection.
 */
class Worker {
  fiber: Fiber.RuntimeFiber<void> | undefined = undefined;
  /** Tells an idle worker what to do. */
  give: (work: Effect.Effect<void>) => void = () => {};
  /** Joins those that are idle, and does what it is given. */
  readonly idle: Effect.Effect<void>;

  constructor(idle: Array<Worker>) {
    this.idle = Effect.async((resume) => {
      this.give = resume;
      idle.push(this);
    });
  }
}

/** How many workers may be idle. */
const mostIdle = 256;

/**
 * One client's connection from its acceptance to its end, and what is to be told of it then. It counts its own bytes,
 * and with them those of its backend: whoever ends it, it is known how many there were.
 */
class Life implements Meter {
  /** When it was accepted, on the clock of `performance.now()`. */
  readonly accepted = performance.now();
  /** Backends that could not be connected to. */
  tried = none;
  /** The last one that it was assigned to. */
  backend: Backend | undefined = undefined;
  /** Backends that were tried before that one. */
  retries = 0;
  connectMillis: number | undefined = undefined;
  /** Its backend was disabled by an operator while it had this connection. */
  cut = false;
  /** Of its backend; undefined before it has one. */
  whole: Meter | undefined = undefined;
  #received = 0;
  #sent = 0;

  constructor(
    readonly client: Connection,
    readonly worker: Worker,
  ) {}

  get received(): number {
    return this.#received;
  }

  set received(bytes: number) {
    if (this.whole !== undefined) this.whole.received += bytes - this.#received;
    this.#received = bytes;
  }

  get sent(): number {
    return this.#sent;
  }

  set sent(bytes: number) {
    if (this.whole !== undefined) this.whole.sent += bytes - this.#sent;
    this.#sent = bytes;
  }
}

const endedBy: Readonly<Record<RelayEnd, EndedBy>> = {
  "client-closed": "client",
  "backend-closed": "backend",
  "client-reset": "client-reset",
  "backend-reset": "backend-reset",
};

const told = (client: Connection, backend: Backend) => ({
  client: format(client.remote),
  backend: describe(backend),
});

/**
 * Builds the balancer once the registry has seen the end of the first discovery. When its scope closes, it stops
 * listening, lets open connections run on until they end or `drainTimeout` is over, and resets the rest.
 */
export const make = (options: Options) =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const transport = yield* Transport;
    const connectTimeoutMillis = Duration.toMillis(options.connectTimeout);
    // Looked up once: asking for a log line costs even when nobody wants it.
    const debug = LogLevel.lessThanEqual(
      yield* FiberRef.get(FiberRef.currentMinimumLogLevel),
      LogLevel.Debug,
    );

    const { metrics } = registry;
    const accessLog = AccessLog.make(options.accessLog ?? "errors");
    const { onEnded } = options;
    const stats = { accepted: 0, refused: 0, acceptErrors: 0, connectFailures: 0, redispatches: 0 };
    const every = Duration.seconds(5);
    const throttled = {
      refused: LogThrottle.make(every),
      connectFailed: LogThrottle.make(every),
      acceptFailed: LogThrottle.make(every),
    };
    let draining = false;
    const lives = new Set<Life>();
    const lastEnded = yield* Deferred.make<void>();

    // What is copied for each fiber is what a fiber costs: it starts with nothing but its scheduler, and without the
    // counts that Effect keeps of all fibers.
    const runtime = yield* Effect.runtime();
    const runLean = Runtime.runFork(
      Runtime.make({
        context: Context.empty(),
        fiberRefs: FiberRefs.empty(),
        // Only waiting may be interrupted: what was taken is given back, and told of, whatever happens.
        runtimeFlags: RuntimeFlags.disableAll(
          runtime.runtimeFlags,
          RuntimeFlags.make(RuntimeFlags.Interruption, RuntimeFlags.RuntimeMetrics),
        ),
      }),
    );
    const lean = { scheduler: Turns.make() };
    const fork = (effect: Effect.Effect<void>) => runLean(effect, lean);
    const idle: Array<Worker> = [];

    /** What the worker of a connection does when that is over. One that may have been interrupted takes no other. */
    const next = (life: Life): Effect.Effect<void> =>
      draining || life.cut || idle.length >= mostIdle ? Effect.void : life.worker.idle;

    /** For all that is not done for every connection: it has the log, the clock and the rest that a fiber inherits. */
    const atLeisure = <A>(effect: Effect.Effect<A>): Effect.Effect<A> =>
      Effect.zipRight(Effect.inheritFiberRefs(runtime.fiberRefs), effect);

    /** The connection is over, and this is what it was. */
    const ended = (life: Life, by: EndedBy, phase: Phase): Effect.Effect<void> => {
      lives.delete(life);
      if (draining && lives.size === 0) Deferred.unsafeDone(lastEnded, Exit.void);
      const millis = performance.now() - life.accepted;
      const { received, sent } = life;
      metrics.ended(codeOf({ by, phase }), millis, received, sent);
      const record: ConnectionRecord = {
        client: life.client.remote,
        backend: life.backend,
        backendConnections: life.backend?.connections ?? 0,
        acceptedAt: Date.now() - millis,
        connectMillis: life.connectMillis,
        millis,
        received,
        sent,
        retries: life.retries,
        by,
        phase,
      };
      onEnded?.(record);
      const told = accessLog(record);
      return told === undefined
        ? next(life)
        : Effect.zipRight(
            atLeisure(told),
            Effect.suspend(() => next(life)),
          );
    };

    const refuse = (life: Life, by: "no-backend" | "connect-failed", why: string) =>
      Effect.suspend(() => {
        const { client } = life;
        stats.refused += 1;
        metrics.refused(by);
        client.reset();
        return Effect.zipRight(
          atLeisure(
            throttled.refused(
              Effect.logWarning("connection refused").pipe(
                Effect.annotateLogs({ client: format(client.remote), why, "refused in all": stats.refused }),
              ),
            ),
          ),
          ended(life, by, by === "no-backend" ? "choosing" : "connecting"),
        );
      });

    // Nobody is healthy, but somebody has not been asked yet: a moment after the start, or after all backends
    // were replaced, the answer is on its way.
    const firstVerdict = Effect.timeoutOption(
      registry.until((pool) => Pool.healthy(pool) > 0 || pool.unchecked === 0),
      options.connectTimeout,
    );

    const nobody = (life: Life, waited: boolean) =>
      Effect.flatMap(registry.pool, (pool): Effect.Effect<void> => {
        if (life.tried.length > 0) return refuse(life, "connect-failed", "no other healthy backend to try");
        if (waited || pool.unchecked === 0) return refuse(life, "no-backend", "no healthy backend");
        return Effect.matchCauseEffect(atLeisure(Effect.interruptible(firstVerdict)), {
          onSuccess: () => serve(life, true),
          onFailure: (cause) => broken(life, "choosing", cause),
        });
      });

    // Interrupted (the drain is over), or failed by a defect: either way the client must not take it for an end.
    const broken = (life: Life, phase: Phase, cause: Cause.Cause<never>) => {
      life.client.reset();
      const by = !Cause.isInterruptedOnly(cause) ? "defect" : life.cut ? "disabled" : "drain-timeout";
      const told =
        by === "defect" ? atLeisure(Effect.logError("a connection failed by a defect", cause)) : Effect.void;
      return Effect.zipRight(told, ended(life, by, phase));
    };

    const connectFailed = (life: Life, backend: Backend, error: ConnectError): Effect.Effect<void> =>
      atLeisure(
        Effect.gen(function* () {
          stats.connectFailures += 1;
          metrics.backend(backend).connectFailed(error.reason);
          // That this host is out of descriptors or ports says nothing about the backend.
          if (error.reason !== "exhausted") {
            yield* registry.observed(backend, { succeeded: false, why: error.message });
          }
          yield* throttled.connectFailed(
            Effect.logWarning("backend could not be connected to").pipe(
              Effect.annotateLogs({ ...told(life.client, backend), why: error.message }),
            ),
          );
          if (life.tried.length >= options.connectRetries) {
            const failed = quantity(life.tried.length + 1, "backend");
            yield* refuse(life, "connect-failed", `${failed} could not be connected to`);
          } else {
            life.tried = [...life.tried, backend];
            yield* serve(life, true);
          }
        }),
      );

    const connected = (life: Life, backend: Backend, millis: number): void => {
      life.connectMillis = millis;
      metrics.backend(backend).connected(millis);
      const failed = life.tried.at(-1);
      if (failed === undefined) return;
      stats.redispatches += 1;
      metrics.backend(failed).redispatched();
    };

    const relayed = (life: Life, { end }: RelayOutcome) =>
      ended(life, endedBy[end], draining ? "draining" : "relaying");

    const notRelayed = (life: Life, backend: Backend, cause: Cause.Cause<ConnectError>) => {
      const error = Cause.failureOption(cause);
      if (Option.isSome(error)) return connectFailed(life, backend, error.value);
      const phase = life.connectMillis === undefined ? "connecting" : draining ? "draining" : "relaying";
      return broken(
        life,
        phase,
        Cause.flatMap(cause, () => Cause.empty),
      );
    };

    const serve = (life: Life, waited: boolean): Effect.Effect<void> =>
      Effect.flatMap(registry.assign(life.client.remote, life.tried), (backend) => {
        if (backend === undefined) return nobody(life, waited);
        const { client } = life;
        const counted = metrics.backend(backend);
        counted.assigned(backend.connections);
        life.backend = backend;
        life.whole = counted.meter;
        life.retries = life.tried.length;
        const from = performance.now();
        const forwarded = Effect.matchCauseEffect(
          transport.forward(
            client,
            backend.address,
            {
              timeoutMillis: connectTimeoutMillis,
              connected: () => connected(life, backend, performance.now() - from),
            },
            life,
          ),
          {
            onSuccess: (outcome) => Effect.flatMap(registry.release(backend), () => relayed(life, outcome)),
            onFailure: (cause) =>
              Effect.flatMap(registry.release(backend), () => notRelayed(life, backend, cause)),
          },
        );
        return debug
          ? Effect.zipRight(
              atLeisure(Effect.logDebug("backend chosen").pipe(Effect.annotateLogs(told(client, backend)))),
              forwarded,
            )
          : forwarded;
      });

    yield* Effect.addFinalizer(() => {
      for (const worker of idle.splice(0)) worker.give(Effect.void);
      return Fiber.interruptAll([...lives].flatMap(({ worker }) => worker.fiber ?? []));
    });

    // Events may be missed when there are too many, so one is a reason to look and not what is looked at.
    const events = yield* registry.events;
    yield* events.pipe(
      Stream.filter((item) => item._tag === "Steered" && item.backend.admin === "disabled"),
      Stream.runForEach(() =>
        Effect.flatMap(registry.pool, ({ chosen }) =>
          Effect.forEach(
            [...lives].filter(
              ({ backend }) => backend !== undefined && chosen.get(backend.key)?.admin === "disabled",
            ),
            (life) => {
              life.cut = true;
              const { fiber } = life.worker;
              return fiber === undefined ? Effect.void : Fiber.interruptFork(fiber);
            },
            { discard: true },
          ),
        ),
      ),
      Effect.forkScoped,
    );

    yield* registry.awaitFirstDiscovery;
    const listener = yield* transport.listen({
      host: options.host,
      port: options.port,
      inherited: options.inherited,
      backlog,
      onConnection: (client) => {
        stats.accepted += 1;
        metrics.opened();
        const worker = idle.pop() ?? new Worker(idle);
        const life = new Life(client, worker);
        lives.add(life);
        const served = serve(life, false);
        if (worker.fiber === undefined) worker.fiber = fork(served);
        else worker.give(served);
      },
      onAcceptError: (error) => {
        stats.acceptErrors += 1;
        metrics.acceptFailed();
        fork(
          atLeisure(
            throttled.acceptFailed(
              Effect.logWarning(error.message).pipe(
                Effect.annotateLogs({ "failed in all": stats.acceptErrors }),
              ),
            ),
          ),
        );
      },
    });
    yield* Effect.logInfo("listening").pipe(
      Effect.annotateLogs({ address: format(listener.address), transport: transport.name }),
    );

    const open = Effect.sync(() => lives.size);
    const drained = Effect.gen(function* () {
      const progress = Effect.flatMap(open, (count) =>
        Effect.logInfo("draining").pipe(Effect.annotateLogs({ connections: count })),
      ).pipe(Effect.repeat(Schedule.spaced(every)));
      draining = true;
      yield* registry.draining;
      yield* listener.close;
      if ((yield* open) === 0) return;
      // Finalizers cannot be interrupted, and what cannot be interrupted cannot time out. Yet it needs a fiber of
      // its own: the one that runs this has usually been interrupted already, by the signal, and would not wait.
      const ended = yield* Effect.raceFirst(Deferred.await(lastEnded), progress).pipe(
        Effect.timeoutOption(options.drainTimeout),
        Effect.interruptible,
        Effect.fork,
        Effect.flatMap(Fiber.join),
      );
      const left = yield* open;
      if (Option.isNone(ended) && left > 0) {
        yield* Effect.logWarning("drain timeout is over, resetting connections").pipe(
          Effect.annotateLogs({ connections: left }),
        );
      }
    });
    yield* Effect.addFinalizer(() => Effect.zipRight(drained, Effect.logInfo("drained")));

    return LoadBalancer.of({ address: listener.address, open, stats: Effect.sync(() => ({ ...stats })) });
  });

/** The balancer of one port. Fails when the port cannot be listened on. */
export const layer = (
  options: Options,
): Layer.Layer<LoadBalancer, ListenError, BackendRegistry | Transport> =>
  Layer.scoped(LoadBalancer, make(options));
