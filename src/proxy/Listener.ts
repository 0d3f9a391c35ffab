/**
 * The listener: it accepts clients and hands each over to the sessions. What it could not accept is counted and logged.
 */
import { Duration, Effect, FiberSet, type Scope } from "effect";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import type { InvalidOption } from "../config/InvalidOption.js";
import * as LogThrottle from "../log/LogThrottle.js";
import type { Metrics } from "../metrics/Metrics.js";
import type { ListenError } from "../net/ListenError.js";
import { format } from "../net/SocketAddress.js";
import type * as Transport from "../transport/Transport.js";
import type { ListenerSessions } from "./ListenerSessions.js";

export interface Options {
  readonly transport: typeof Transport.Transport.Service;
  readonly metrics: typeof Metrics.Service;
  readonly sessions: ListenerSessions;
  readonly host: string | undefined;
  readonly port: number;
  readonly inherited: number | undefined;
  /** How many connections there may be at a time; undefined where that is as many as there can be. */
  readonly maxConnections: number | undefined;
}

/** What the kernel may hold until it is accepted; the kernel caps it at net.core.somaxconn. */
const backlog = 4096;

/** The shortest time between two log lines about failed accepts. */
const logInterval = Duration.seconds(5);

/** The same about clients that wait for a place, in milliseconds: at the limit that may be how things are. */
const fullInterval = 60_000;

const atCapacity = "there are as many connections as there can be, and none of them has ended for long";

/** Listens until the scope closes, or until it is closed. */
export const listen = ({
  host,
  inherited,
  maxConnections,
  metrics,
  port,
  sessions,
  transport,
}: Options): Effect.Effect<Transport.Listener, ListenError | InvalidOption, Scope.Scope> =>
  Effect.gen(function* () {
    const run = yield* FiberSet.makeRuntime<never, void>();
    const throttle = LogThrottle.make(logInterval);
    const now = yield* MonotonicClock.reader;
    let fullLine = Number.NEGATIVE_INFINITY;
    const listener = yield* transport.listen({
      host,
      port,
      inherited,
      backlog,
      maxConnections,
      // At the limit it may be called for each client that leaves.
      onFull: () => {
        if (now() - fullLine < fullInterval) return;
        fullLine = now();
        run(
          Effect.logWarning("clients wait: there are as many connections as there may be").pipe(
            Effect.annotateLogs({ connections: maxConnections }),
          ),
        );
      },
      onConnection: (client) => {
        const rest = sessions.unsafeServe(client);
        if (rest !== undefined) run(rest);
      },
      onRefused: (client) => {
        const rest = sessions.unsafeRefuse(client, "at-capacity", atCapacity);
        if (rest !== undefined) run(rest);
      },
      onAcceptError: (error) => {
        metrics.acceptFailed();
        run(
          throttle(
            Effect.logWarning(error.message).pipe(
              Effect.annotateLogs({ "failed in all": metrics.acceptErrors }),
            ),
          ),
        );
      },
    });
    yield* sessions.setPhase("listening");
    yield* Effect.logInfo("listening").pipe(
      Effect.annotateLogs({ address: format(listener.address), transport: transport.name }),
    );
    return listener;
  });
