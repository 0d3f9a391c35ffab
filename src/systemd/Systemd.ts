/**
 * What a service of `Type=notify` tells systemd (sd_notify(3)): that it is ready, how it is, that it is stopping, and
 * that its loop still turns (sd_watchdog_enabled(3)).
 */
import { Context, Duration, Effect, Layer, Schedule } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import { quantity } from "../log/Quantity.js";
import { Sessions, type Snapshot, layer as sessionsLayer } from "../proxy/Sessions.js";
import { open } from "./NotifySocket.js";

export interface Options {
  /** NOTIFY_SOCKET */
  readonly socket: string;
  /** WATCHDOG_USEC and WATCHDOG_PID, where they are set. */
  readonly watchdogMicros: string | undefined;
  readonly watchdogPid: string | undefined;
  readonly pid: number;
}

export class Systemd extends Context.Tag("zeitwork-load-balancer/Systemd")<
  Systemd,
  {
    /** Tells the variables of sd_notify(3): now, or as soon as systemd takes them, in order. Does not wait. */
    readonly tell: (variables: Readonly<Record<string, string>>) => Effect.Effect<void>;
  }
>() {}

/** The status is looked at, and told when it is another, this often; so is what systemd did not take yet. */
const everySecond = Schedule.spaced("1 second");

/** From one sign of life to the next: half of what systemd waits for; undefined when it does not wait for any. */
export const watchdogInterval = ({
  pid,
  watchdogMicros = "",
  watchdogPid,
}: Omit<Options, "socket">): Duration.Duration | undefined => {
  if (!/^[1-9][0-9]*$/.test(watchdogMicros)) return undefined;
  if (watchdogPid !== undefined && watchdogPid !== "" && watchdogPid !== String(pid)) return undefined;
  return Duration.millis(Math.max(1, Number(watchdogMicros) / 2000));
};

/** One line for `systemctl status`. */
export const statusOf = (pool: Pool.Pool, { draining, open }: Pick<Snapshot, "draining" | "open">): string =>
  `${draining ? "draining, " : ""}${Pool.healthy(pool)} of ${quantity(pool.listed, "backend")} healthy, ${quantity(open, "connection")} open`;

/** Tells the status and gives signs of life for as long as its scope is open. What prevents that it says, once. */
const make = (options: Options) =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const sessions = yield* Sessions;
    const warn = (why: string) =>
      Effect.logWarning("systemd cannot be told anything: give the unit Type=exec and no WatchdogSec=").pipe(
        Effect.annotateLogs({ why }),
      );
    const socket = yield* Effect.catchAll(open(options.socket), ({ message }) =>
      Effect.as(warn(message), { send: () => undefined }),
    );

    let failure: string | undefined;
    /** Whether systemd has it. A full queue is no failure: systemd is busy, and will read it. */
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

    // A READY=1 that is lost is a unit that is never up. Bounded: it is told twice in its life, and has one status.
    const untold: Array<string> = [];
    const tellRest = Effect.suspend(() => {
      while (untold[0] !== undefined && sent(untold[0])) untold.shift();
      return warnOfFailure;
    });
    const tell = (variables: Readonly<Record<string, string>>) =>
      Effect.suspend(() => {
        untold.push(
          Object.entries(variables)
            .map(([name, value]) => `${name}=${value}`)
            .join("\n"),
        );
        return tellRest;
      });

    const interval = watchdogInterval(options);
    if (interval !== undefined) {
      // One that is lost is followed by the next.
      const alive = Effect.zipRight(
        Effect.sync(() => sent("WATCHDOG=1")),
        warnOfFailure,
      );
      yield* Effect.forkScoped(Effect.repeat(alive, Schedule.spaced(interval)));
    }

    let told = "";
    const tellStatus = Effect.flatMap(Effect.all([registry.pool, sessions.snapshot]), ([pool, snapshot]) => {
      const status = statusOf(pool, snapshot);
      if (untold.length > 0 || status === told) return Effect.void;
      told = status;
      return tell({ STATUS: status });
    });
    yield* Effect.forkScoped(Effect.repeat(Effect.zipRight(tellRest, tellStatus), everySecond));

    return Systemd.of({ tell });
  });

/** To be provided to whatever is to be told of until it has ended. */
export const layer = (options: Options): Layer.Layer<Systemd, never, BackendRegistry> =>
  Layer.provide(Layer.scoped(Systemd, make(options)), sessionsLayer);

/**
 * That the service is ready: when this is built, and every backend has been probed once or `patience` is over. And
 * that it is stopping, which may take as long as `stopping`: when its scope closes, which has to be the first to do so.
 */
export const announced = (options: {
  readonly patience: Duration.Duration;
  readonly stopping: Duration.Duration;
}): Layer.Layer<never, never, Systemd | BackendRegistry> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const { tell } = yield* Systemd;
      const registry = yield* BackendRegistry;
      yield* Effect.timeoutOption(
        registry.until(({ unchecked }) => unchecked === 0),
        options.patience,
      );
      yield* Effect.acquireRelease(tell({ READY: "1" }), () =>
        tell({
          STOPPING: "1",
          EXTEND_TIMEOUT_USEC: String(Math.ceil(Duration.toMillis(options.stopping)) * 1000),
        }),
      );
    }),
  );
