/** Lets the peers take turns, workload by workload and round by round, and writes down what came of it. */
import { Effect, type Scope } from "effect";
import * as Load from "./Load.js";
import type { Figures } from "./Metric.js";
import type { Options } from "./Options.js";
import { install, type Peer, type RunningPeer } from "./Peer.js";
import { rotated } from "./Statistics.js";
import { type OneByOne, type Setting, type Together, type Workload, workloads } from "./Workload.js";

/** The figures of one peer under one workload, by round; undefined where a round gave none. */
export interface Series {
  readonly peer: string;
  readonly rounds: ReadonlyArray<Figures | undefined>;
}

export interface Minutes {
  readonly series: ReadonlyArray<Series>;
  /** What was left out, and why. */
  readonly notes: ReadonlyArray<string>;
}

interface Entered {
  readonly peer: Peer;
  readonly rounds: Array<Figures | undefined>;
}

interface Running extends Entered {
  readonly running: RunningPeer;
}

/** What a measurement of a process of its own needs of its workload. */
interface Alone<P> {
  readonly warmUp: (peer: P, setting: Setting) => Effect.Effect<void, { readonly message: string }>;
  readonly measure: (peer: P, setting: Setting) => Effect.Effect<Figures, { readonly message: string }>;
}

/**
 * Runs all that was asked for. Peers that do not start and rounds that fail are left out and noted.
 * `progress` is called with how far it is.
 */
export const run = (
  options: Options,
  peers: ReadonlyArray<Peer>,
  origin: number,
  folder: string,
  progress: (line: string) => Effect.Effect<void>,
): Effect.Effect<Minutes> =>
  Effect.gen(function* () {
    const notes: Array<string> = [];
    const series: Array<Series> = [];
    const note = (line: string) =>
      Effect.zipRight(
        Effect.sync(() => notes.push(line)),
        progress(line),
      );
    const setting: Setting = { seconds: options.seconds, scripts: yield* Load.prepare(folder) };
    const wrk = yield* Load.installed;
    const out = new Set<string>();

    const started = <P, E extends { readonly message: string }>(
      peer: Peer,
      start: Effect.Effect<P, E, Scope.Scope>,
    ) =>
      start.pipe(
        Effect.catchAll(({ message }) => {
          out.add(peer.name);
          return Effect.as(note(`${peer.name} is left out: ${message}`), undefined);
        }),
      );

    const counted = <A, E extends { readonly message: string }>(work: Effect.Effect<A, E>, what: string) =>
      Effect.catchAll(work, ({ message }) =>
        Effect.as(note(`${what} is not counted: ${message}`), undefined),
      );

    const warmed = (warmUp: Effect.Effect<void, { readonly message: string }>, what: string) =>
      Effect.catchAll(warmUp, ({ message }) => note(`${what}, warm-up: ${message}`));

    const titleOf = ({ name }: Workload, round: number) => `${name}, round ${round + 1} of ${options.rounds}`;

    /** One measurement, of a process of its own. */
    const alone = <P, E extends { readonly message: string }>(
      { measure, warmUp }: Alone<P>,
      peer: Peer,
      start: Effect.Effect<P, E, Scope.Scope>,
      what: string,
    ) =>
      Effect.scoped(
        Effect.gen(function* () {
          const own = yield* started(peer, start);
          if (own === undefined) return undefined;
          yield* warmed(warmUp(own, setting), what);
          return yield* counted(measure(own, setting), what);
        }),
      );

    const warm = (workload: OneByOne | Together) =>
      Effect.gen(function* () {
        const entered: Array<Running> = [];
        for (const peer of peers) {
          if (out.has(peer.name)) continue;
          const running = yield* started(peer, peer.start(origin, folder));
          if (running === undefined) continue;
          yield* warmed(workload.warmUp(running, setting), `${workload.name}, ${peer.name}`);
          entered.push({ peer, running, rounds: [] });
        }
        return entered;
      });

    /** Each peer in each round, in turn. */
    const inTurn = <E extends Entered>(
      workload: Workload,
      entered: ReadonlyArray<E>,
      turn: (each: E, what: string) => Effect.Effect<Figures | undefined>,
    ) =>
      Effect.gen(function* () {
        for (let round = 0; round < options.rounds; round++) {
          for (const each of rotated(entered, round)) {
            const { name } = each.peer;
            const what = `${titleOf(workload, round)}, ${name}`;
            if (out.has(name)) each.rounds.push(undefined);
            else each.rounds.push(yield* Effect.zipRight(progress(what), turn(each, what)));
          }
        }
        return entered;
      });

    const cold = (peers: ReadonlyArray<Peer>): ReadonlyArray<Entered> =>
      peers.filter(({ name }) => !out.has(name)).map((peer) => ({ peer, rounds: [] }));

    const together = (workload: Together) =>
      Effect.gen(function* () {
        const entered = yield* warm(workload);
        for (let round = 0; round < options.rounds; round++) {
          const what = titleOf(workload, round);
          yield* progress(what);
          const order = rotated(entered, round);
          const all = yield* counted(
            workload.measure(
              order.map(({ running }) => running),
              setting,
            ),
            what,
          );
          for (const [i, { rounds }] of order.entries()) rounds.push(all?.[i]);
        }
        return entered;
      });

    const entered = (workload: Workload): Effect.Effect<ReadonlyArray<Entered>, never, Scope.Scope> => {
      switch (workload.mode) {
        case "together":
          return together(workload);
        case "one-by-one":
          return Effect.flatMap(warm(workload), (entered) =>
            inTurn(workload, entered, ({ running }, what) =>
              counted(workload.measure(running, setting), what),
            ),
          );
        case "fresh":
          return inTurn(workload, cold(peers), ({ peer }, what) =>
            alone(workload, peer, peer.start(origin, folder), what),
          );
        case "listed":
          return inTurn(
            workload,
            cold(peers.filter(({ startListed }) => startListed !== undefined)),
            ({ peer }, what) =>
              peer.startListed === undefined
                ? Effect.succeed(undefined)
                : alone(workload, peer, peer.startListed(origin, folder), what),
          );
      }
    };

    const played = (workload: Workload) =>
      Effect.map(entered(workload), (all) => {
        for (const { peer, rounds } of all) series.push({ peer: peer.name, rounds });
      });

    for (const workload of workloads) {
      if (!options.only.includes(workload.name)) continue;
      if (workload.wrk && !wrk) yield* note(`${workload.name} is left out: there is no wrk: ${install}`);
      else yield* Effect.scoped(played(workload));
    }
    return { series, notes };
  });
