/**
 * Whether a port could be listened on now. It is opened for a moment to find out: what forbids a port, the kernel says
 * nowhere else.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { Effect, Either } from "effect";
import { failureOf, ListenError } from "../net/ListenError.js";

/** A process of this host. */
export interface Process {
  readonly pid: number;
  readonly name: string;
}

/** Opens the port and closes it again; on the left why it cannot be opened. */
export const check = (
  host: string | undefined,
  port: number,
): Effect.Effect<Either.Either<void, ListenError>> =>
  Effect.async((resume) => {
    const server = createServer();
    server.once("error", ({ code }: NodeJS.ErrnoException) => {
      const address = { host: host ?? "::", port };
      resume(Effect.succeed(Either.left(new ListenError({ reason: failureOf(code), address, code }))));
    });
    server.listen({ host, port, exclusive: true, backlog: 1 }, () => {
      server.close(() => resume(Effect.succeed(Either.void)));
    });
  });

const attempt = <A>(read: () => A, otherwise: A): A => {
  try {
    return read();
  } catch {
    // Not Linux, not ours to see, or gone by now.
    return otherwise;
  }
};

/** `TCP_LISTEN`, as /proc/net/tcp writes it. */
const listening = "0A";

/** The inodes of the sockets that listen on a port, in a table of the form of /proc/net/tcp (proc(5)). Pure. */
export const listeners = (table: string, port: number): ReadonlyArray<string> =>
  table.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    return state === listening && Number.parseInt(local.split(":")[1] ?? "", 16) === port ? [inode] : [];
  });

/** Which process listens on a port, if this process may know it: its own user's, or all as root. Linux only. */
export const owner = (port: number): Effect.Effect<Process | undefined> =>
  Effect.sync(() => {
    const sockets = new Set(
      ["/proc/net/tcp", "/proc/net/tcp6"]
        .flatMap((path) =>
          listeners(
            attempt(() => readFileSync(path, "utf8"), ""),
            port,
          ),
        )
        .map((inode) => `socket:[${inode}]`),
    );
    if (sockets.size === 0) return undefined;
    for (const pid of attempt(() => readdirSync("/proc"), []).filter((name) => /^\d+$/.test(name))) {
      const descriptors = attempt(() => readdirSync(`/proc/${pid}/fd`), []);
      const found = descriptors.some((fd) =>
        sockets.has(attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`), "")),
      );
      if (!found) continue;
      return { pid: Number(pid), name: attempt(() => readFileSync(`/proc/${pid}/comm`, "utf8"), "?").trim() };
    }
    return undefined;
  });
