/** Where it was measured, and with what. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { Effect } from "effect";
import * as Daemon from "./Daemon.js";
import { nginx } from "./Origin.js";
import { haproxyProgram } from "./Peer.js";

export interface Machine {
  readonly processors: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly kernel: string;
  /** Descriptors that each process may open, soft and hard limit. */
  readonly descriptors: string;
  /** The load average of the minute before it began. */
  readonly load: number;
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** Soft and hard limit of open files in /proc/PID/limits. */
export const parseLimits = (text: string): string => {
  const [, soft = "?", hard = "?"] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(text) ?? [];
  return `${soft} / ${hard}`;
};

/** The first number with a dot in what a program says of its version. */
export const parseVersion = (text: string): string => /\d+\.\d+[\w.+~-]*/.exec(text)?.[0] ?? "not installed";

// Some print it to stdout, some to stderr, and wrk ends with 1 after it did.
const version = (command: string, flag: string) =>
  Effect.scoped(
    Effect.flatMap(Daemon.start(command, [flag]), ({ end, stderr, stdout }) =>
      Effect.map(end, () => parseVersion(`${stdout()}${stderr()}`)),
    ),
  ).pipe(Effect.orElseSucceed(() => "not installed"));

export const look: Effect.Effect<Machine> = Effect.gen(function* () {
  return {
    processors: availableParallelism(),
    model: cpus()[0]?.model ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    descriptors: parseLimits(readFileSync("/proc/self/limits", "utf8")),
    load: loadavg()[0] ?? 0,
    date: new Date().toISOString(),
    versions: {
      node: process.version.slice(1),
      haproxy: yield* version(haproxyProgram, "-v"),
      nginx: yield* version(nginx, "-v"),
      wrk: yield* version("wrk", "--version"),
    },
  };
});

/** What of the machine may spoil the figures, one line each. */
export const doubts = (
  { load, processors }: Pick<Machine, "load" | "processors">,
  stolen: number,
): ReadonlyArray<string> => [
  ...(load > processors / 4
    ? [`other work was going on: the load average was ${load.toFixed(2)} at the start`]
    : []),
  ...(stolen > 0.02 ? [`the host took ${(stolen * 100).toFixed(1)} % of the processors' time away`] : []),
  ...(processors < 2 ? ["one processor does everything: latencies are mostly those of the generator"] : []),
];
