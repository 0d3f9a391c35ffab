/** What is measured: no proxy at all, HAProxy, nginx, and this load balancer on each of its transports. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Data, Effect, Schema, type Scope } from "effect";
import * as Ports from "../support/Ports.js";
import * as Accounting from "./Accounting.js";
import { Collections } from "./Collections.js";
import * as Daemon from "./Daemon.js";
import * as Operator from "./Operator.js";
import type { PeerName } from "./Options.js";
import * as Origin from "./Origin.js";

export interface RunningPeer {
  readonly port: number;
  /** Undefined where there is no process of its own. */
  readonly daemon: Daemon.Daemon | undefined;
  /** What it took until it answered for its backend; undefined where there is no process of its own. */
  readonly startup?: Startup | undefined;
  /** Of the collector in its data threads, where it has some. */
  readonly collections?: Collections | undefined;
}

/** Both in milliseconds. */
export interface Startup {
  readonly elapsed: number;
  readonly cpu: number;
}

const startupSince = (begun: number, { pid }: Daemon.Daemon): Startup => ({
  elapsed: performance.now() - begun,
  cpu: Accounting.cpuSeconds(Accounting.nothing, Accounting.cpuTimes(pid)) * 1000,
});

/** One that asks an Operator for its backends, every second. */
export interface ListedPeer extends RunningPeer {
  readonly daemon: Daemon.Daemon;
  readonly monitoringPort: number;
  /** Has so many instances listed, and waits until those that run are taken over and healthy; all, unless said otherwise. */
  readonly listed: (instances: number, running?: number) => Effect.Effect<void, Daemon.DaemonError>;
}

export interface Peer {
  readonly name: PeerName;
  readonly title: string;
  /** Starts one, before a backend's port, with its files in a folder. */
  readonly start: (origin: number, folder: string) => Effect.Effect<RunningPeer, Unavailable, Scope.Scope>;
  /** The same with an Operator that lists one backend; left out where it has no use for one. */
  readonly startListed?: (
    origin: number,
    folder: string,
  ) => Effect.Effect<ListedPeer, Unavailable | Daemon.DaemonError, Scope.Scope>;
}

/** It cannot be measured here; the message says what would help. */
export class Unavailable extends Data.TaggedError("Unavailable")<{
  readonly reason: "not-installed" | "not-built" | "not-running" | "other-transport";
  readonly message: string;
}> {}

export const install = "apt-get install haproxy nginx libnginx-mod-stream wrk";

const unavailable = (what: string) => (error: Daemon.DaemonError) =>
  new Unavailable(
    error.reason === "not-started"
      ? { reason: "not-installed", message: `${error.message}: ${install}` }
      : { reason: "not-running", message: `${what}: ${error.message}` },
  );

/** The folder is named after the port: one peer may run twice. */
const configured = (parent: string, name: string, port: number, text: string) =>
  Effect.promise(async () => {
    const folder = join(parent, `${name}-${port}`);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `${name}.conf`), text);
    return join(folder, `${name}.conf`);
  });

/** HAProxy needs two descriptors for each, and refuses to start where the limit does not allow them. */
const mostConnections = 4096;

const haproxyConfig = (port: number, origin: number, threads: number): string => `
global
  nbthread ${threads}
  maxconn ${mostConnections}
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 600s
  timeout server 600s
listen bench
  bind 127.0.0.1:${port} backlog 4096
  server origin 127.0.0.1:${origin} check inter 5s
`;

export const haproxyProgram =
  ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].find((path) => existsSync(path)) ?? "haproxy";

const haproxy = (threads: number): Peer => ({
  name: "haproxy",
  title: "HAProxy",
  start: (origin, folder) =>
    Effect.gen(function* () {
      const port = yield* Ports.unused;
      const file = yield* configured(folder, "haproxy", port, haproxyConfig(port, origin, threads));
      const begun = performance.now();
      const daemon = yield* Daemon.start(haproxyProgram, ["-db", "-f", file]);
      yield* Daemon.awaited(daemon, "haproxy", Origin.answers(port));
      return { port, daemon, startup: startupSince(begun, daemon) };
    }).pipe(Effect.mapError(unavailable("HAProxy does not run"))),
});

const streamModule = [
  "/usr/lib/nginx/modules/ngx_stream_module.so",
  "/usr/lib64/nginx/modules/ngx_stream_module.so",
].find((path) => existsSync(path));

const nginxConfig = (folder: string, port: number, origin: number, workers: number): string => `
  ${streamModule === undefined ? "" : `load_module ${streamModule};`}
  ${Origin.nginxHead(folder)}
  worker_processes ${workers};
  stream {
    server {
      listen 127.0.0.1:${port} backlog=4096;
      proxy_connect_timeout 5s;
      proxy_timeout 600s;
      proxy_pass 127.0.0.1:${origin};
    }
  }`;

const nginx = (workers: number): Peer => ({
  name: "nginx",
  title: "nginx stream",
  start: (origin, parent) =>
    Effect.gen(function* () {
      const port = yield* Ports.unused;
      const folder = join(parent, `nginx-${port}`);
      const file = yield* configured(parent, "nginx", port, nginxConfig(folder, port, origin, workers));
      const begun = performance.now();
      const daemon = yield* Daemon.start(Origin.nginx, ["-p", folder, "-c", file, "-e", "stderr"]);
      yield* Daemon.awaited(daemon, "nginx", Origin.answers(port));
      return { port, daemon, startup: startupSince(begun, daemon) };
    }).pipe(
      Effect.mapError(unavailable("nginx as a proxy does not run")),
      Effect.mapError((error) =>
        error.message.includes('unknown directive "stream"')
          ? new Unavailable({ reason: "not-installed", message: `nginx has no stream module: ${install}` })
          : error,
      ),
    ),
});

/** What a line of the program's log line under a message; undefined of a line that is something else. */
export const logged = (log: string, message: string): Readonly<Record<string, unknown>> | undefined => {
  for (const line of log.split("\n")) {
    if (!line.startsWith("{") || !line.endsWith("}")) continue;
    const entry: { readonly message?: unknown; readonly annotations?: Readonly<Record<string, unknown>> } =
      JSON.parse(line);
    if (entry.message === message) return entry.annotations ?? {};
  }
  return undefined;
};

/** The port at the end of the address that a line of the log line. */
const portOf = (annotations: Readonly<Record<string, unknown>>): number =>
  Number(/:(\d+)$/.exec(String(annotations["address"]))?.[1]);

/** Waits until so many backends are listed, and as many of them are healthy. */
const allHealthy = (daemon: Daemon.Daemon, monitoringPort: number, backends: number) =>
  Daemon.awaited(
    daemon,
    `the load balancer with ${backends} backends`,
    Effect.tryPromise(async (signal) => {
      const answer = await fetch(`http://127.0.0.1:${monitoringPort}/health`, { signal });
      const health: unknown = await answer.json();
      return Schema.is(Health)(health) &&
        health.total_backends === backends &&
        health.healthy_backends === backends
        ? (true as const)
        : undefined;
    }).pipe(Effect.orElseSucceed(() => undefined)),
    "60 seconds",
  );

const Health = Schema.Struct({ total_backends: Schema.Number, healthy_backends: Schema.Number });

/** Whether it can be run with options of Node. What packages carry is started by a shell, with a Node of its own. */
const isScriptOfNode = (executable: string): boolean =>
  readFileSync(executable, "utf8").startsWith("#!/usr/bin/env node\n");

/** This load balancer on one of its transports. */
const balancer = (
  executable: string,
  transport: "linux" | "io_uring" | "node",
  title: string,
  threads: number,
  name: PeerName = transport,
): Peer => {
  const failed = Effect.mapError(unavailable(`the load balancer does not run on ${transport}`));

  const start = (environment: Readonly<Record<string, string>>) =>
    Effect.gen(function* () {
      if (!existsSync(executable)) {
        const message = `${executable} is not there: npm run build`;
        return yield* new Unavailable({ reason: "not-built", message });
      }
      // Node's sockets have no data threads.
      const dataThreads = transport === "node" ? 0 : threads;
      const collections = dataThreads === 0 || !isScriptOfNode(executable) ? undefined : new Collections();
      const variables = {
        ENVIRONMENT: "production",
        LB_TRANSPORT: transport,
        ...(transport === "node" ? {} : { LB_THREADS: String(dataThreads) }),
        BIND_ADDRESS: "127.0.0.1",
        HEALTH_BIND_ADDRESS: "127.0.0.1",
        PORT: "0",
        HEALTH_PORT: "0",
        ...environment,
      };
      const begun = performance.now();
      const daemon = yield* failed(
        collections === undefined
          ? Daemon.start(executable, [], variables)
          : Daemon.start(process.execPath, ["--trace-gc", executable], variables, collections.read),
      );
      const line = (message: string) =>
        failed(
          Daemon.awaited(
            daemon,
            "load-balancer",
            Effect.sync(() => logged(daemon.stdout(), message)),
          ),
        );
      const monitoringPort = portOf(yield* line("monitoring"));
      const listening = yield* line("listening");
      if (listening["transport"] !== transport) {
        const message = `the load balancer runs on ${listening["transport"]} when asked for ${transport}`;
        return yield* new Unavailable({ reason: "other-transport", message });
      }
      const port = portOf(listening);
      yield* failed(Daemon.awaited(daemon, "load-balancer", Origin.answers(port)));
      return { port, daemon, monitoringPort, startup: startupSince(begun, daemon), collections };
    });

  return {
    name,
    title,
    start: (origin) => start({ BACKENDS: `127.0.0.1:${origin}` }),
    startListed: (origin, folder) =>
      Effect.gen(function* () {
        const operator = yield* Operator.start(origin, folder);
        const running = yield* start({ OPERATOR_URL: operator.url, DISCOVERY_INTERVAL: "1s" });
        return {
          ...running,
          listed: (instances, backends = instances) =>
            Effect.zipRight(
              operator.lists(instances, backends),
              allHealthy(running.daemon, running.monitoringPort, backends),
            ),
        };
      }),
  };
};

const direct: Peer = {
  name: "direct",
  title: "no proxy",
  start: (origin) => Effect.succeed({ port: origin, daemon: undefined }),
};

/**
 * All of them, with the load balancers that are built at two paths, and so many threads that move bytes; 0 is one for
 * everything. Another transport is another line.
 */
export const peers = (executable: string, before: string, threads: number): ReadonlyArray<Peer> => [
  direct,
  haproxy(Math.max(threads, 1)),
  nginx(Math.max(threads, 1)),
  balancer(executable, "linux", "this one, linux", threads),
  balancer(executable, "io_uring", "this one, io_uring", threads),
  balancer(executable, "node", "this one, node", threads),
  balancer(before, "linux", "the build before, linux", threads, "before"),
];
