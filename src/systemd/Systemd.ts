/**
 * The notifications of a service of `Type=notify` (sd_notify(3)): that it is ready, its status, that it is stopping,
 * and that its loop still turns (sd_watchdog_enabled(3)).
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BackendRegistry, Systemd } from "zeitwork-load-balancer"
 *
 * const notify = Systemd.fromEnvironment()
 * const notifying = notify === undefined ? Layer.empty : Systemd.layer(notify)
 * const program = Effect.never.pipe(Effect.provide(notifying), Effect.provide(BackendRegistry.layer({})))
 * ```
 */
import { Context, Duration, Effect, Layer, Schedule } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import { quantity } from "../log/Quantity.js";
import { Sessions, type Snapshot, layer as sessionsLayer } from "../proxy/Sessions.js";
import { open } from "./NotifySocket.js";

/**
 * Where systemd listens, and what it asks for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** NOTIFY_SOCKET */
  readonly socket: string;
  /** WATCHDOG_USEC and WATCHDOG_PID, where they are set. */
  readonly watchdogMicros: string | undefined;
  readonly watchdogPid: string | undefined;
  readonly pid: number;
  /** Asked before each sign of life: none is given while this is false. Always true unless given. */
  readonly alive?: (() => boolean) | undefined;
}

/**
 * What systemd asks this process for; undefined where it asks for nothing.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromEnvironment = (
  environment: Readonly<Record<string, string | undefined>> = process.env,
  pid: number = process.pid,
): Options | undefined => {
  const { NOTIFY_SOCKET: socket, WATCHDOG_PID: watchdogPid, WATCHDOG_USEC: watchdogMicros } = environment;
  return socket === undefined || socket === "" ? undefined : { socket, watchdogMicros, watchdogPid, pid };
};

/**
 * What systemd is kept informed of.
 *
 * @since 0.2.0
 * @category tags
 */
export class Systemd extends Context.Tag("zeitwork-load-balancer/Systemd")<
  Systemd,
  {
    /** Notifies systemd that the service is ready, with its status: now, or as soon as systemd takes it. */
    readonly ready: Effect.Effect<void>;
    /** Notifies systemd that the service is stopping, which may take as long as this. */
    readonly stopping: (timeout: Duration.Duration) => Effect.Effect<void>;
  }
>() {}

/** The status is looked at, and sent when it is another, this often; so is what systemd did not take yet. */
const everySecond = Schedule.spaced("1 second");

/**
 * From one sign of life to the next: half of what systemd waits for; undefined when it does not wait for any.
 *
 * @since 0.2.0
 * @category accessors
 */
export const watchdogInterval = ({
  pid,
  watchdogMicros = "",
  watchdogPid,
}: Omit<Options, "socket">): Duration.Duration | undefined => {
  if (!/^[1-9][0-9]*$/.test(watchdogMicros)) return undefined;
  if (watchdogPid !== undefined && watchdogPid !== "" && watchdogPid !== String(pid)) return undefined;
  return Duration.millis(Math.max(1, Number(watchdogMicros) / 2000));
};

/**
 * One line for `systemctl status`.
 *
 * @since 0.2.0
 * @category accessors
 */
export const statusOf = (pool: Pool.Pool, { open, phase }: Pick<Snapshot, "open" | "phase">): string =>
  `${phase === "stopping" || phase === "draining" ? `${phase}, ` : ""}${Pool.healthy(pool)} of ${quantity(pool.listed, "backend")} healthy, ${quantity(open, "connection")} open`;

/** Sends the status and signs of life while its scope is open. What prevents that is logged once. */
const make = (options: Options) =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const sessions = yield* Sessions;
    const warn = (why: string) =>
      Effect.logWarning("systemd cannot be notified: give the unit Type=exec and no WatchdogSec=").pipe(
        Effect.annotateLogs({ why }),
      );
    const socket = yield* Effect.catchAll(open(options.socket), ({ message }) =>
      Effect.as(warn(message), { send: () => undefined }),
    );

    let failure: string | undefined;
    /** Whether systemd has it. A full queue is not a failure: systemd is busy, and will read it. */
    const sent = (text: string): boolean => {
      const code = socket.send(text);
      if (code !== undefined && code !== "EAGAIN") failure ??= code;
      return code === undefined;
    };
    let warned = false;
    const warnOfFailure = Effect.suspend(() => {
      if (failure === undefined || warned) return Effect.void;
      warned = true;
      return warn(`nothing can be sent to NOTIFY_SOCKET=${options.socket}: ${failure}`);
    });

    // A READY=1 that is lost is a unit that is never up. Bounded: two notifications in a life, and one status.
    const waiting: Array<string> = [];
    const sendWaiting = Effect.suspend(() => {
      while (waiting[0] !== undefined && sent(waiting[0])) waiting.shift();
      return warnOfFailure;
    });
    const notify = (variables: Readonly<Record<string, string>>) =>
      Effect.suspend(() => {
        const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
        waiting.push(lines.join("\n"));
        return sendWaiting;
      });

    const interval = watchdogInterval(options);
    if (interval !== undefined) {
      // One that is lost is followed by the next.
      const alive = Effect.zipRight(
        Effect.sync(() => options.alive?.() === false || sent("WATCHDOG=1")),
        warnOfFailure,
      );
      yield* Effect.forkScoped(Effect.repeat(alive, Schedule.spaced(interval)));
    }

    let lastStatus = "";
    const status = Effect.zipWith(registry.pool, sessions.snapshot, statusOf);
    const sendStatus = Effect.flatMap(status, (text) => {
      if (waiting.length > 0 || text === lastStatus) return Effect.void;
      lastStatus = text;
      return notify({ STATUS: text });
    });
    yield* Effect.forkScoped(Effect.repeat(Effect.zipRight(sendWaiting, sendStatus), everySecond));

    return Systemd.of({
      ready: Effect.flatMap(status, (text) => {
        lastStatus = text;
        return notify({ READY: "1", STATUS: text });
      }),
      stopping: (timeout) =>
        notify({
          STOPPING: "1",
          EXTEND_TIMEOUT_USEC: String(Math.ceil(Duration.toMillis(timeout)) * 1000),
        }),
    });
  });

/**
 * To be provided to what systemd is notified of until it has ended.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Systemd, never, BackendRegistry> =>
  Layer.provide(Layer.scoped(Systemd, make(options)), sessionsLayer);

/**
 * Notifies systemd that the service is ready: when this is built, and every backend has been probed once or
 * `probesTimeout` is over. And that it is stopping, which may take as long as `stopTimeout`: when its scope closes,
 * which has to be the first to do so.
 *
 * @since 0.2.0
 * @category layers
 */
export const readiness = (options: {
  readonly probesTimeout: Duration.Duration;
  readonly stopTimeout: Duration.Duration;
}): Layer.Layer<never, never, Systemd | BackendRegistry> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const { ready, stopping } = yield* Systemd;
      const registry = yield* BackendRegistry;
      yield* Effect.timeoutOption(
        registry.until(({ unchecked }) => unchecked === 0),
        options.probesTimeout,
      );
      yield* Effect.acquireRelease(ready, () => stopping(options.stopTimeout));
    }),
  );
