/**
 * A server in a process of its own, which can be stopped: its queue fills then, and whoever comes later gets no answer.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import * as net from "node:net";
import { createInterface } from "node:readline";
import { Effect, type Scope } from "effect";
import { eventually } from "./Sockets.js";

const path = "/proc/net/tcp";
const listening = "0A";
const connected = "01";

/** The lines of the kernel's table of TCP sockets. */
const table = (): ReadonlyArray<ReadonlyArray<string>> =>
  readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/));

const ending = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, "0")}`;

/** Connections that wait to be accepted at a local port. */
const waiting = (port: number): number => {
  const found = table().find(
    ([, local, , state]) => local?.endsWith(ending(port)) === true && state === listening,
  );
  return Number.parseInt(found?.[4]?.split(":")[1] ?? "0", 16);
};

/** Connections of this host to a local port that are established. Linux only. */
export const established = (port: number): number =>
  table().filter(([, , to, state]) => to?.endsWith(ending(port)) === true && state === connected).length;

export interface StoppableServer {
  readonly port: number;
  /** Stops it, and fills its queue. */
  readonly stop: Effect.Effect<void, never, Scope.Scope>;
  readonly resume: Effect.Effect<void>;
}

/** It answers the first bytes of each connection with "served". Its kernel holds `backlog` connections for it. */
export const start = (backlog: number): Effect.Effect<StoppableServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [
          "-e",
          `const server = require("node:net").createServer((socket) => {
             socket.on("error", () => {}).once("data", () => socket.end("served"));
           });
           server.listen({ port: 0, host: "127.0.0.1", backlog: ${backlog} }, () => console.log(server.address().port));`,
        ]),
      ),
      (process) =>
        Effect.promise(() => {
          const gone = once(process, "close");
          process.kill("SIGKILL");
          return gone;
        }),
    );
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    const [line] = yield* Effect.promise(() => once(lines, "line"));
    const port = Number(line);
    return {
      port,
      stop: Effect.gen(function* () {
        child.kill("SIGSTOP");
        // A queue of length n takes n + 1. Others, such as health checks, may have some of the places.
        const opened = yield* Effect.acquireRelease(
          Effect.sync(() =>
            Array.from({ length: backlog + 1 }, () => net.connect(port, "127.0.0.1").on("error", () => {})),
          ),
          (sockets) => Effect.sync(() => sockets.forEach((socket) => void socket.destroy())),
        );
        const full = existsSync(path)
          ? () => waiting(port) > backlog
          : () => opened.every(({ connecting }) => !connecting);
        yield* eventually(full);
      }),
      resume: Effect.sync(() => child.kill("SIGCONT")),
    };
  });

/** A port that nobody answers at: its server is stopped, and its queue full. */
export const blackHole: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function* () {
  const { port, stop } = yield* start(1);
  yield* stop;
  return port;
});
