/** Clients on raw sockets: many that stay open, one after the other, and a steady rate of requests. */
import { createConnection, type Socket } from "node:net";
import { Data, Deferred, Effect, type Scope } from "effect";
import { smallBytes } from "./Origin.js";

export class ClientError extends Data.TaggedError("ClientError")<{
  readonly reason: "connection" | "deadline";
  readonly message: string;
}> {}

const request = (connection: "keep-alive" | "close"): Buffer =>
  Buffer.from(`GET /small HTTP/1.1\r\nHost: bench\r\nConnection: ${connection}\r\n\r\n`);
const keepAlive = request("keep-alive");
const closing = request("close");

/** How long an answer is that starts with these bytes, head included; undefined until its head is there. */
export const answerLength = (start: Buffer): number | undefined => {
  const end = start.indexOf("\r\n\r\n");
  return end === -1 ? undefined : end + 4 + smallBytes;
};

const broken = (port: number, cause: string) =>
  new ClientError({ reason: "connection", message: `a connection to port ${port} ended early: ${cause}` });

const late = (what: string) => () =>
  new ClientError({ reason: "deadline", message: `${what} took too long` });

/** A connection that has had one answer, and how long that was in bytes. */
export interface Opened {
  readonly socket: Socket;
  readonly length: number;
}

const patience = "10 seconds";

/** Connects and asks once, so that the connection certainly reaches the backend. It ends with its scope. */
export const open = (port: number): Effect.Effect<Opened, ClientError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = createConnection({ host: "127.0.0.1", port, noDelay: true });
      // Never without one: an error between two uses would end the program.
      socket.on("error", () => undefined);
      return socket;
    }),
    (socket) => Effect.sync(() => socket.destroy()),
  ).pipe(
    Effect.flatMap((socket) =>
      Effect.async<Opened, ClientError>((resume) => {
        let head: Buffer = Buffer.alloc(0);
        const ended = () => resume(Effect.fail(broken(port, "before its first answer")));
        const data = (chunk: Buffer) => {
          head = Buffer.concat([head, chunk]);
          const length = answerLength(head);
          if (length === undefined || head.length < length) return;
          socket.off("data", data).off("close", ended);
          resume(Effect.succeed({ socket, length }));
        };
        socket.on("data", data).on("close", ended).write(keepAlive);
      }),
    ),
    Effect.timeoutFail({ duration: patience, onTimeout: late(`a first answer from port ${port}`) }),
  );

/** Opens so many, fifty at once at most. */
export const openMany = (
  port: number,
  count: number,
): Effect.Effect<ReadonlyArray<Opened>, ClientError, Scope.Scope> =>
  Effect.forEach(Array.from({ length: count }), () => open(port), { concurrency: 50 });

/** Milliseconds from the call of connect to the first byte of an answer, on a connection of its own. */
export const firstByte = (port: number): Effect.Effect<number, ClientError> =>
  Effect.async<number, ClientError>((resume) => {
    const start = performance.now();
    let first: number | undefined;
    const socket = createConnection({ host: "127.0.0.1", port, noDelay: true });
    socket.once("data", () => {
      first = performance.now() - start;
    });
    // Read to its end: the backend closes first, as with most clients.
    socket
      .on("error", () => undefined)
      .once("close", () =>
        resume(first === undefined ? Effect.fail(broken(port, "no byte came")) : Effect.succeed(first)),
      );
    socket.resume();
    socket.write(closing);
    return Effect.sync(() => socket.destroy());
  }).pipe(Effect.timeoutFail({ duration: patience, onTimeout: late(`a byte from port ${port}`) }));

/**
 * The latencies in milliseconds of requests that one connection sends for so many seconds, each as long after the answer
 * to the one before it as `pauseMillis` says. The sender sleeps in between, so it takes no processor from what it shares
 * the machine with.
 */
export const pings = (
  port: number,
  { pauseMillis, seconds }: { readonly pauseMillis: number; readonly seconds: number },
): Effect.Effect<ReadonlyArray<number>, ClientError> =>
  Effect.scoped(
    Effect.flatMap(open(port), ({ length, socket }) =>
      Effect.async<ReadonlyArray<number>, ClientError>((resume) => {
        const latencies: Array<number> = [];
        const end = performance.now() + seconds * 1000;
        let from = 0;
        let bytes = 0;
        let pause: NodeJS.Timeout | undefined;
        const ping = (): void => {
          from = performance.now();
          bytes = 0;
          socket.write(keepAlive);
        };
        socket.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes < length) return;
          const now = performance.now();
          latencies.push(now - from);
          if (now < end) pause = setTimeout(ping, pauseMillis);
          else resume(Effect.succeed(latencies));
        });
        socket.once("close", () => resume(Effect.fail(broken(port, "between pings"))));
        ping();
        return Effect.sync(() => clearTimeout(pause));
      }).pipe(
        Effect.timeoutFail({
          duration: (seconds + 10) * 1000,
          onTimeout: late(`an answer from port ${port}`),
        }),
      ),
    ),
  );

/** How many connections, and how often each sends a request. */
export interface Beat {
  readonly connections: number;
  readonly intervalMillis: number;
}

/**
 * The latencies in milliseconds of requests that each connection sends at an interval while something goes on, whether
 * or not earlier ones were answered: a stall shows in every request that it holds up. The sender sleeps in between, and a
 * latency counts from when it was sent, since timers are late by up to a millisecond.
 */
export const during = <A, E>(
  port: number,
  { connections, intervalMillis }: Beat,
  work: Effect.Effect<A, E>,
): Effect.Effect<readonly [A, ReadonlyArray<number>], E | ClientError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const latencies: Array<number> = [];
      const clients = (yield* openMany(port, connections)).map((each) => ({
        ...each,
        waiting: [] as number[],
      }));
      let unanswered = 0;
      const broke = yield* Deferred.make<never, ClientError>();
      const answered = yield* Deferred.make<void>();
      let over = false;
      for (const { length, socket, waiting } of clients) {
        let bytes = 0;
        socket.on("data", (chunk: Buffer) => {
          const now = performance.now();
          bytes += chunk.length;
          for (; bytes >= length; bytes -= length) {
            latencies.push(now - (waiting.shift() ?? now));
            unanswered -= 1;
          }
          if (over && unanswered === 0) Effect.runSync(Deferred.succeed(answered, undefined));
        });
        socket.once("close", () =>
          Effect.runSync(Deferred.fail(broke, broken(port, "between requests at an interval"))),
        );
      }
      // They take turns within the interval.
      let next = 0;
      const timer = setInterval(() => {
        const client = clients[next++ % connections];
        unanswered += 1;
        client?.waiting.push(performance.now());
        client?.socket.write(keepAlive);
      }, intervalMillis / connections);
      const stop = Effect.sync(() => clearInterval(timer));
      const result = yield* work.pipe(Effect.raceFirst(Deferred.await(broke)), Effect.ensuring(stop));
      over = true;
      if (unanswered > 0) {
        yield* Deferred.await(answered).pipe(
          Effect.raceFirst(Deferred.await(broke)),
          Effect.timeoutFail({ duration: patience, onTimeout: late(`an answer from port ${port}`) }),
        );
      }
      return [result, latencies] as const;
    }),
  );

export interface Pace {
  /** Requests in a second, of all ports and connections together. */
  readonly rate: number;
  /** To each port. */
  readonly connections: number;
  /** For each port. */
  readonly seconds: number;
  /** Requests that one port gets before it is the next one's turn. */
  readonly inTurn: number;
}

/** One port, what it was measured to take, and since when each of its connections waits for answers. */
interface Lane {
  readonly port: number;
  readonly latencies: Array<number>;
  readonly clients: ReadonlyArray<Opened & { readonly waiting: Array<number> }>;
}

/** When a request is due, in milliseconds after the start. */
export const due = (rate: number, index: number): number => (index * 1000) / rate;

/** Which of so many ports a request goes to. */
export const turnOf = (index: number, inTurn: number, ports: number): number =>
  Math.floor(index / inTurn) % ports;

/**
 * The latencies in milliseconds, port by port, of requests that are sent at a fixed rate, whether or not earlier ones
 * were answered: each counts from the moment it was due, so that one who is slow cannot hide it by delaying the next
 * request. The ports take short turns, so that whatever disturbs the machine for a while disturbs them alike.
 *
 * The sender looks at the clock in every turn of the loop, since timers would be a millisecond off: it keeps one
 * processor busy while it lasts.
 */
export const steady = (ports: ReadonlyArray<number>, { connections, inTurn, rate, seconds }: Pace) =>
  Effect.scoped(
    Effect.gen(function* () {
      const lanes = yield* Effect.forEach(ports, (port) =>
        Effect.map(
          openMany(port, connections),
          (opened): Lane => ({
            port,
            latencies: [],
            clients: opened.map((each) => ({ ...each, waiting: [] })),
          }),
        ),
      );
      const total = Math.round(rate * seconds) * lanes.length;
      yield* Effect.async<void, ClientError>((resume) => {
        const start = performance.now() + 10;
        let sent = 0;
        let answered = 0;
        let stopped = false;
        for (const { clients, latencies, port } of lanes) {
          for (const { length, socket, waiting } of clients) {
            let bytes = 0;
            socket.on("data", (chunk: Buffer) => {
              const now = performance.now();
              bytes += chunk.length;
              for (; bytes >= length; bytes -= length) {
                latencies.push(now - (waiting.shift() ?? now));
                answered += 1;
              }
              if (answered === total) resume(Effect.void);
            });
            socket.once("close", () => resume(Effect.fail(broken(port, "under the steady rate"))));
          }
        }
        const turn = (): void => {
          if (stopped) return;
          for (const now = performance.now(); sent < total && start + due(rate, sent) <= now; sent++) {
            const client = lanes[turnOf(sent, inTurn, lanes.length)]?.clients[sent % connections];
            client?.waiting.push(start + due(rate, sent));
            client?.socket.write(keepAlive);
          }
          if (sent < total) setImmediate(turn);
        };
        turn();
        return Effect.sync(() => {
          stopped = true;
        });
      }).pipe(
        Effect.timeoutFail({
          duration: (seconds * lanes.length + 10) * 1000,
          onTimeout: late(`the answers at ${rate} requests/s from ports ${ports.join(", ")}`),
        }),
      );
      return lanes.map(({ latencies }) => latencies);
    }),
  );
