/**
 * Network namespaces for tests: a network of one's own, in which routes, addresses and ports can be taken away. It takes
 * root on Linux; tests that need one are left out elsewhere.
 */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { Effect, type Scope } from "effect";
import koffi from "koffi";

const CLONE_NEWNET = 0x4000_0000;

const calls = () => {
  const library = koffi.load(null);
  return {
    unshare: library.func("int unshare(int)") as (flags: number) => number,
    setns: library.func("int setns(int, int)") as (fd: number, type: number) => number,
  };
};

/** Whether this process may have one. */
export const available: boolean =
  process.platform === "linux" && spawnSync("unshare", ["-n", "ip", "link"]).status === 0;

/** Runs a command in the namespace that this thread is in: `ip address add ...`. */
export const run = (command: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const [name = "", ...args] = command.split(" ");
    const { status, stderr } = spawnSync(name, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command}: ${stderr}`);
  });

/** Why there can be no named ones, which networks of several are made of; undefined where there can be. */
export const unnamed: string | undefined =
  process.platform !== "linux"
    ? "network namespaces are Linux's"
    : process.getuid?.() !== 0
      ? "network namespaces take root"
      : spawnSync("ip", ["netns", "list"]).status === 0
        ? undefined
        : "ip netns is not to be had (apt install iproute2)";

/** A namespace that `ip netns` knows by this name, and that goes with the scope. */
export const named = (name: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(run(`ip netns add ${name}`), () => Effect.orDie(run(`ip netns delete ${name}`)));

/** Moves this thread to the namespace at this path; answers what moves it back. */
export const enter = (path: string): (() => void) => {
  const before = openSync("/proc/thread-self/ns/net", "r");
  const there = openSync(path, "r");
  const { setns } = calls();
  const result = setns(there, CLONE_NEWNET);
  closeSync(there);
  if (result !== 0) throw new Error(`${path} cannot be entered`);
  return () => {
    setns(before, CLONE_NEWNET);
    closeSync(before);
  };
};

/** A named one with loopback and nothing else, which this thread is in until the scope closes. */
export const entered = (name: string): Effect.Effect<void, never, Scope.Scope> =>
  named(name).pipe(
    Effect.zipRight(
      Effect.acquireRelease(
        Effect.sync(() => enter(`/run/netns/${name}`)),
        (leave) => Effect.sync(leave),
      ),
    ),
    Effect.zipRight(run("ip link set lo up")),
  );

/**
 * Sockets that this thread opens and processes that it starts meanwhile are in the namespace of this name. All fibers
 * run on this thread.
 */
export const inside = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => enter(`/run/netns/${name}`)),
    () => effect,
    (leave) => Effect.sync(leave),
  );

/** Sets one of its parameters: `net/ipv4/ip_local_port_range`. */
export const set = (parameter: string, value: string): Effect.Effect<void> =>
  Effect.sync(() => writeFileSync(`/proc/sys/${parameter}`, value));

/**
 * Until the scope closes, sockets that this thread opens and processes that it starts are in a namespace of their own,
 * where there is loopback and nothing else.
 */
export const isolated: Effect.Effect<void, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const before = openSync("/proc/thread-self/ns/net", "r");
    if (calls().unshare(CLONE_NEWNET) !== 0) throw new Error("no network namespace can be had");
    return before;
  }),
  (before) =>
    Effect.sync(() => {
      calls().setns(before, CLONE_NEWNET);
      closeSync(before);
    }),
).pipe(Effect.zipRight(run("ip link set lo up")));
