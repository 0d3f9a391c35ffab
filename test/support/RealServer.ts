/**
 * Servers of others, run for a test on a loopback port of their own, in a folder of their own. Where one is not
 * installed its tests are skipped with a word of what to install; in CI they fail.
 */
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { Effect, type Scope } from "effect";

// Debian keeps what is for administrators, and the programs of PostgreSQL, off the path of users.
const versions = "/usr/lib/postgresql";
const folders = [
  ...(process.env["PATH"] ?? "").split(delimiter),
  "/usr/sbin",
  "/sbin",
  ...(existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, "bin")) : []),
];

/** Where a program is; its bare name where it is not to be found. */
export const pathOf = (name: string): string =>
  folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? name;

/**
 * What is missing of these programs, by the Debian packages that have them; undefined when nothing is. In CI
 * nothing counts as missing: the tests then run, and fail.
 */
export const missing = (packages: Readonly<Record<string, string>>): string | undefined => {
  const names = Object.keys(packages).filter((name) => pathOf(name) === name);
  if (names.length === 0 || process.env["CI"] !== undefined) return undefined;
  return `not installed: ${names.join(", ")} (apt install ${[...new Set(names.map((name) => packages[name]))].join(" ")})`;
};

/** A folder that goes with the scope. */
export const folder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "load-balancer-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
);

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

/** Runs a server until the scope closes; goes on once its port can be connected to. */
export const serving = (
  command: string,
  args: ReadonlyArray<string>,
  port: number,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(pathOf(command), args, { stdio: ["ignore", "pipe", "pipe"] });
        let said = "";
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding("utf8").on("data", (text: string) => {
            said += text;
          });
        }
        const closed = once(child, "close").catch((error: unknown) => {
          said += String(error);
        });
        return { child, closed, said: () => said };
      }),
      ({ child, closed }) =>
        Effect.promise(() => {
          child.kill("SIGTERM");
          return closed;
        }),
    ),
    ({ child, said }) =>
      Effect.promise(async () => {
        while (!(await answers(port))) {
          if (child.exitCode !== null || child.pid === undefined) {
            throw new Error(`${command} has ended:\n${said()}`);
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      }),
  );

/** Runs a program to its end and answers what it printed; fails when it fails. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Effect.Effect<string> =>
  Effect.promise(async () => {
    const running = promisify(execFile)(pathOf(command), args, {
      maxBuffer: 64 * 1024 * 1024,
      timeout: 120_000,
      env: { ...process.env, ...options.env },
    });
    // A program that does not read what it is given may end before it is written.
    running.child.stdin?.on("error", () => {});
    running.child.stdin?.end(options.input ?? "");
    return (await running).stdout;
  });

/** The command by which this user, whom the server's package made, runs a server that refuses to run as root. */
export const unprivileged = (
  user: string,
  command: string,
  args: ReadonlyArray<string>,
): readonly [string, ...Array<string>] =>
  process.getuid?.() === 0
    ? ["runuser", "-u", user, "--", pathOf(command), ...args]
    : [pathOf(command), ...args];

/** Gives a folder to that user. */
export const give = (user: string, path: string): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.getuid?.() === 0) spawnSync("chown", ["-R", user, path]);
  });
