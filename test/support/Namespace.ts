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
