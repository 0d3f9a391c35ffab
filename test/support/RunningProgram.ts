/**
 * The built ./load-balancer, run as its users run it: started, listened to, asked, signalled. It ends with the scope.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Duration, Effect, type Scope } from "effect";

/** Every end-to-end suite is run on each of these. */
export const transports: ReadonlyArray<string> =
  process.platform === "linux" ? ["node", "linux", "io_uring"] : ["node"];

/** Each transport, and with data threads where it has them: a name, and LB_TRANSPORT and LB_THREADS. */
export const transportsAndThreads: ReadonlyArray<
  readonly [name: string, transport: string, threads: Readonly<Record<string, string>>]
> = transports.flatMap((transport) => [
  [transport, transport, {}] as const,
  ...(transport === "node"
    ? []
    : [[`${transport} with data threads`, transport, { LB_THREADS: "2" }] as const]),
]);

/** What has a program run some code before its own. */
export const preloading = (code: string): Readonly<Record<string, string>> => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}`,
});

/** What has a program, and each data thread of it, run a script before its own code: Node imports nothing in those. */
export const requiring = (path: string): Readonly<Record<string, string>> => ({
  NODE_OPTIONS: `--require=${path}`,
});

/** Where `npm run build` leaves the program. */
export const executable = fileURLToPath(new URL("../../load-balancer", import.meta.url));

/** One line of the log, as production writes it. */
export interface Line {
  readonly message: string;
  readonly logLevel: string;
  readonly annotations: Readonly<Record<string, unknown>>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What `GET /backends` lists. */
export interface BackendView {
  readonly id: string;
  readonly address: string;
  readonly healthy: boolean;
  readonly connections: number;
  readonly last_check: string | null;
}

export interface Launched {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** The log so far. Only what production writes can be read. */
  readonly log: () => ReadonlyArray<Line>;
  /** The lines so far with this message. */
  readonly logged: (message: string) => ReadonlyArray<Line>;
  /** Waits for a line with this message, and with these annotations. */
  readonly awaitLogged: (
    message: string,
    annotations?: Readonly<Record<string, unknown>>,
  ) => Effect.Effect<Line>;
  /** Stops reading the log, as `| head` does. */
  readonly hangUp: Effect.Effect<void>;
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>;
  /** Waits for its end. */
  readonly ended: Effect.Effect<Ended>;
  /** Descriptors that it has open. */
  readonly descriptors: () => number;
  /** Processor time that it has used, in hundredths of a second. */
  readonly ticks: () => number;
  /** The most memory that it ever had, in bytes. */
  readonly mostMemory: () => number;
}

export interface Program extends Launched {
  /** Where clients connect to. */
  readonly port: number;
  /** Where monitoring answers. */
  readonly healthPort: number;
  /** `GET` of a monitoring path. */
  readonly get: (path: string) => Effect.Effect<{ readonly status: number; readonly body: unknown }>;
  /** What /backends lists. */
  readonly backends: Effect.Effect<ReadonlyArray<BackendView>>;
  /** Waits until /health says that so many backends are healthy. */
  readonly healthy: (count: number) => Effect.Effect<void>;
}

/** Looks again and again until there is something. What never comes is cut off by the test's own time limit. */
export const until = <A>(
  look: Effect.Effect<A | undefined>,
  pause: Duration.DurationInput = "10 millis",
): Effect.Effect<A> =>
  Effect.flatMap(look, (found) =>
    found === undefined ? Effect.zipRight(Effect.sleep(pause), until(look, pause)) : Effect.succeed(found),
  );

/** Waits until something is so. */
export const untilTrue = (
  look: Effect.Effect<boolean>,
  pause: Duration.DurationInput = "10 millis",
): Effect.Effect<void> =>
  Effect.asVoid(
    until(
      Effect.map(look, (is) => (is ? true : undefined)),
      pause,
    ),
  );

const collect = (stream: Readable): (() => string) => {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  return () => text;
};

export interface LaunchOptions {
  readonly command?: readonly [string, ...Array<string>];
  readonly cwd?: string;
  /** Whom it runs as: whoever runs the tests unless said otherwise. Only root can. */
  readonly user?: User;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Starts a command with this environment and nothing else but PATH. Its own errors, if a test does not expect
 * them, are in the message with which the test fails.
 */
export const launch = (
  environment: Readonly<Record<string, string>>,
  options: LaunchOptions = {},
): Effect.Effect<Launched, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const [command, ...args] = options.command ?? [executable];
        const child = spawn(command, args, {
          cwd: options.cwd,
          ...options.user,
          env: { PATH: process.env["PATH"], ...environment },
          stdio: ["ignore", "pipe", "pipe"],
        });
        const closed = once(child, "close");
        return { child, closed, stdout: collect(child.stdout), stderr: collect(child.stderr) };
      }),
      ({ child, closed }) =>
        Effect.promise(() => {
          child.kill("SIGKILL");
          return closed;
        }),
    ),
    ({ child, closed, stdout, stderr }) => {
      const pid = child.pid ?? 0;
      const log = () =>
        stdout()
          .split("\n")
          .slice(0, -1)
          .filter((line) => line.startsWith("{"))
          .map((line): Line => JSON.parse(line));
      const logged = (message: string) => log().filter((line) => line.message === message);
      const matches = (line: Line, annotations: Readonly<Record<string, unknown>>) =>
        Object.entries(annotations).every(([key, value]) => line.annotations[key] === value);
      return {
        pid,
        stdout,
        stderr,
        log,
        logged,
        awaitLogged: (message, annotations = {}) =>
          until(
            Effect.suspend(() => {
              const line = logged(message).find((each) => matches(each, annotations));
              if (line === undefined && (child.exitCode !== null || child.signalCode !== null)) {
                return Effect.dieMessage(`ended without logging "${message}":\n${stdout()}${stderr()}`);
              }
              return Effect.succeed(line);
            }),
          ),
        hangUp: Effect.sync(() => {
          child.stdout.destroy();
          child.stderr.destroy();
        }),
        signal: (signal) => Effect.sync(() => child.kill(signal)),
        ended: Effect.promise(async () => {
          await closed;
          return { code: child.exitCode, signal: child.signalCode };
        }),
        descriptors: () => readdirSync(`/proc/${pid}/fd`).length,
        ticks: () => {
          const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
          return Number(fields[11]) + Number(fields[12]);
        },
        mostMemory: () => {
          const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
          return Number(found?.[1]) * 1024;
        },
      };
    },
  );

const portOf = (line: Line): number => Number(/:(\d+)$/.exec(String(line.annotations["address"]))?.[1]);

/** `GET` of a path at a loopback port. */
export const get = (port: number, path: string) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } });
    const body: unknown = await answer.json();
    return { status: answer.status, body };
  });

/** A launched program whose ports are known. */
export const attached = (
  launched: Launched,
  ports: { readonly port: number; readonly healthPort: number },
): Program => {
  const ask = (path: string) => get(ports.healthPort, path);
  return {
    ...launched,
    ...ports,
    get: ask,
    backends: Effect.map(
      ask("/backends"),
      ({ body }) => body as ReadonlyArray<BackendView> /* its contract */,
    ),
    healthy: (count) =>
      untilTrue(
        Effect.map(
          ask("/health"),
          ({ body }) =>
            (body as { readonly healthy_backends: number }) /* its contract */.healthy_backends === count,
        ),
      ),
  };
};

/** Settings under which it runs beside others on this machine, and a test need not wait long for anything. */
export const quick = (transport: string): Readonly<Record<string, string>> => ({
  LB_TRANSPORT: transport,
  PORT: "0",
  HEALTH_PORT: "0",
  BIND_ADDRESS: "127.0.0.1",
  HEALTH_BIND_ADDRESS: "127.0.0.1",
  ENVIRONMENT: "production",
  DISCOVERY_INTERVAL: "50ms",
  HEALTH_CHECK_INTERVAL: "50ms",
});

/** Starts the program on free loopback ports and waits until it listens. */
export const start = (
  transport: string,
  environment: Readonly<Record<string, string>> = {},
  options: LaunchOptions = {},
): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.gen(function* () {
    const launched = yield* launch({ ...quick(transport), ...environment }, options);
    const healthPort = portOf(yield* launched.awaitLogged("monitoring"));
    const port = portOf(yield* launched.awaitLogged("listening"));
    return attached(launched, { port, healthPort });
  });
