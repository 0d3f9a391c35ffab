/**
 * What is behind every proxy: an nginx with two workers, a small answer at /small and a big file at /big. And how to
 * ask it once.
 */
import { existsSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Effect, type Scope } from "effect";
import * as Ports from "../support/Ports.js";
import * as Daemon from "./Daemon.js";

export interface Origin {
  readonly port: number;
  readonly daemon: Daemon.Daemon;
}

/** The body of the small answer, in bytes. */
export const smallBytes = 128;
/** The big file. */
export const bigBytes = 64 * 1024 * 1024;

/** What every nginx needs to live in a folder of its own, whoever runs it. */
export const nginxHead = (folder: string): string => `
  daemon off;
  ${process.getuid?.() === 0 ? "user root;" : ""}
  pid ${folder}/pid;
  error_log stderr error;
  worker_rlimit_nofile 16384;
  events { worker_connections 8192; }`;

const config = (folder: string, port: number): string => `${nginxHead(folder)}
  worker_processes 2;
  http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((part) => `${part}_temp_path ${folder}/${part};`).join("\n    ")}
    server {
      listen 127.0.0.1:${port} backlog=4096;
      location = /small { default_type text/plain; return 200 "${"x".repeat(smallBytes)}"; }
      location = /big { root ${folder}/files; }
    }
  }`;

/** True once the port answers a small request. */
export const answers = (port: number): Effect.Effect<true | undefined> =>
  Effect.tryPromise(async (signal) => {
    const answer = await fetch(`http://127.0.0.1:${port}/small`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(1000)]),
      headers: { connection: "close" },
    });
    return (await answer.text()).length === smallBytes ? (true as const) : undefined;
  }).pipe(Effect.orElseSucceed(() => undefined));

/** The nginx that is installed: Debian's is not on every user's PATH. */
export const nginx: string =
  ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].find((path) => existsSync(path)) ?? "nginx";

/** Starts it with its files in a folder. */
export const start = (parent: string): Effect.Effect<Origin, Daemon.DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = join(parent, "origin");
    const port = yield* Ports.unused;
    yield* Effect.promise(async () => {
      await mkdir(join(folder, "files"), { recursive: true });
      // Random-free but not sparse: its pages are in the page cache from here on.
      await writeFile(join(folder, "files", "big"), Buffer.alloc(bigBytes, "b"));
      await writeFile(join(folder, "nginx.conf"), config(folder, port));
      await chmod(folder, 0o755);
    });
    const daemon = yield* Daemon.start(nginx, [
      "-p",
      folder,
      "-c",
      join(folder, "nginx.conf"),
      "-e",
      "stderr",
    ]);
    yield* Daemon.awaited(daemon, "the backend (nginx)", answers(port));
    return { port, daemon };
  });
