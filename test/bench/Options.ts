/** What the benchmark is asked for on its command line. */
import { parseArgs } from "node:util";
import { Either } from "effect";

export const workloadNames = [
  "keepalive",
  "connections",
  "bulk",
  "mixed",
  "disturbed",
  "latency",
  "idle",
  "first-byte",
  "start",
] as const;
export type WorkloadName = (typeof workloadNames)[number];

export const peerNames = ["direct", "haproxy", "nginx", "linux", "io_uring", "node"] as const;
export type PeerName = (typeof peerNames)[number] | "before";

export interface Options {
  readonly only: ReadonlyArray<WorkloadName>;
  readonly peers: ReadonlyArray<PeerName>;
  /** How often each workload is run with each peer. */
  readonly rounds: number;
  /** How long one measurement takes, in whole seconds, as wrk wants them. */
  readonly seconds: number;
  /** Threads that the proxies move bytes in; 0 is one thread for everything. */
  readonly threads: number;
  /** Where the figures are written as JSON. */
  readonly json: string | undefined;
  /** Where the picture is written. */
  readonly svg: string | undefined;
  /** The load balancer that is measured, in place of the one that `npm run build` left here. */
  readonly balancer: string | undefined;
  /** Another build of it, measured beside it on `linux`. */
  readonly before: string | undefined;
}

export const help = `npm run bench -- [options]

Measures this load balancer beside HAProxy, nginx and no proxy at all, in turn on one machine. It needs Linux,
nginx (with its stream module), haproxy and wrk: apt-get install haproxy nginx libnginx-mod-stream wrk

  --only a,b     workloads, of ${workloadNames.join(", ")} (default: all)
  --peers a,b    what is measured, of ${peerNames.join(", ")} (default: all)
  --rounds N     how often each is measured, 1 to 100 (default: 5)
  --seconds S    how long one measurement takes, 1 to 600 (default: 4)
  --threads N    with N data threads (LB_THREADS) beside HAProxy's nbthread N and as many workers of nginx, 0 to 64
                 (default: 0, one thread for everything in each)
  --json FILE    writes the figures
  --svg FILE     writes a picture of the ratios to HAProxy
  --balancer P   measures the load-balancer at that path (default: the one built here)
  --before P     measures the load-balancer at that path too, on linux: the build before a change
  --help         prints this

"linux", "io_uring" and "node" are this load balancer with that LB_TRANSPORT, as built by npm run build.`;

type Read<A> = Either.Either<A, string>;

const some = <A extends string>(
  option: string,
  text: string | undefined,
  all: ReadonlyArray<A>,
): Read<ReadonlyArray<A>> => {
  if (text === undefined) return Either.right(all);
  const asked = text.split(",").map((name) => name.trim());
  const wrong = asked.find((name) => !all.some((each) => each === name));
  return wrong === undefined
    ? Either.right(all.filter((each) => asked.includes(each)))
    : Either.left(`--${option} has ${JSON.stringify(wrong)}: choose from ${all.join(", ")}`);
};

const wholeNumber = (
  option: string,
  text: string | undefined,
  unset: number,
  most: number,
  least = 1,
): Read<number> => {
  if (text === undefined) return Either.right(unset);
  const value = Number(text);
  return text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most
    ? Either.right(value)
    : Either.left(`--${option} is ${JSON.stringify(text)}: give a whole number from ${least} to ${most}`);
};

const file = (option: string, text: string | undefined): Read<string | undefined> =>
  text === "" ? Either.left(`--${option} is empty: give the name of a file`) : Either.right(text);

/** Reads the arguments; on the left, what is wrong with them and what would be right. */
export const parse = (args: ReadonlyArray<string>): Either.Either<Options | "help", string> =>
  Either.gen(function* () {
    const { values } = yield* Either.try({
      try: () =>
        parseArgs({
          args: [...args],
          options: {
            only: { type: "string" },
            peers: { type: "string" },
            rounds: { type: "string" },
            seconds: { type: "string" },
            threads: { type: "string" },
            json: { type: "string" },
            svg: { type: "string" },
            balancer: { type: "string" },
            before: { type: "string" },
            help: { type: "boolean" },
          },
        }),
      catch: (cause) =>
        `${(cause instanceof Error ? cause.message : String(cause)).replaceAll("\n", " ")}; see --help`,
    });
    if (values.help === true) return "help" as const;
    const before = yield* file("before", values.before);
    const peers = yield* some("peers", values.peers, peerNames);
    return {
      only: yield* some("only", values.only, workloadNames),
      peers: before === undefined ? peers : [...peers, "before"],
      rounds: yield* wholeNumber("rounds", values.rounds, 5, 100),
      seconds: yield* wholeNumber("seconds", values.seconds, 4, 600),
      threads: yield* wholeNumber("threads", values.threads, 0, 64, 0),
      json: yield* file("json", values.json),
      svg: yield* file("svg", values.svg),
      balancer: yield* file("balancer", values.balancer),
      before,
    };
  });
