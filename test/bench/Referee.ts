/** Lets the peers take turns, workload by workload and round by round, and writes down what came of it. */
import { Effect } from "effect";
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
  readonly running: RunningPeer | undefined;
  readonly rounds: Array<Figures | undefined>;
}

interface Running extends Entered {
  readonly running: RunningPeer;
}

/**
 * Runs all that was asked for. Peers that do not start and rounds that fail are left out and noted.
 * `tell` hears how far it is.
 */
export const run = (
  options: Options,
  peers: ReadonlyArray<Peer>,
  origin: number,
  folder: string,
  tell: (line: string) => Effect.Effect<void>,
): Effect.Effect<Minutes> =>
  Effect.gen(function* () {
    const notes: Array<string> = [];
    const series: Array<Series> = [];
    const note = (line: string) =>
      Effect.zipRight(
        Effect.sync(() => notes.push(line)),
        tell(line),
      );
    const setting: Setting = { seconds: options.seconds, lua: yield* Load.prepare(folder) };
    const wrk = yield* Load.installed;
    const out = new Set<string>();

    const started = (peer: Peer) =>
      peer.start(origin, folder).pipe(
        Effect.catchAll(({ message }) => {
          out.add(peer.name);
          return Effect.as(note(`${peer.name} is left out: ${message}`), undefined);
        }),
      );

    const counted = <A, E extends { readonly message: string }>(work: Effect.Effect<A, E>, what: string) =>
      Effect.catchAll(work, ({ message }) =>
        Effect.as(note(`${what} is not counted: ${message}`), undefined),
      );

    const measured = (workload: OneByOne, running: RunningPeer, what: string) =>
      counted(workload.measure(running, setting), what);

    const warmed = (workload: Workload, running: RunningPeer, what: string) =>
      Effect.catchAll(workload.warmUp(running, setting), ({ message }) =>
        note(`${what}, warm-up: ${message}`),
      );

    const titleOf = ({ name }: Workload, round: number) => `${name}, round ${round + 1} of ${options.rounds}`;

    const turn = (workload: OneByOne, { peer, running }: Entered, round: number) => {
      const what = `${titleOf(workload, round)}, ${peer.name}`;
      return Effect.zipRight(
        tell(what),
        running !== undefined
          ? measured(workload, running, what)
          : Effect.scoped(
              Effect.gen(function* () {
                const own = yield* started(peer);
                if (own === undefined) return undefined;
                yield* warmed(workload, own, what);
                return yield* measured(workload, own, what);
              }),
            ),
      );
    };

    const warm = (workload: Workload) =>
      Effect.gen(function* () {
        const entered: Array<Running> = [];
        for (const peer of peers) {
          if (out.has(peer.name)) continue;
          const running = yield* started(peer);
          if (running === undefined) continue;
          yield* warmed(workload, running, `${workload.name}, ${peer.name}`);
          entered.push({ peer, running, rounds: [] });
        }
        return entered;
      });

    const cold = Effect.sync(
      (): ReadonlyArray<Entered> =>
        peers.filter(({ name }) => !out.has(name)).map((peer) => ({ peer, running: undefined, rounds: [] })),
    );

    const oneByOne = (workload: OneByOne) =>
      Effect.gen(function* () {
        const entered: ReadonlyArray<Entered> = yield* workload.fresh ? cold : warm(workload);
        for (let round = 0; round < options.rounds; round++) {
          for (const each of rotated(entered, round)) {
            each.rounds.push(out.has(each.peer.name) ? undefined : yield* turn(workload, each, round));
          }
        }
        return entered;
      });

    const together = (workload: Together) =>
      Effect.gen(function* () {
        const entered = yield* warm(workload);
        for (let round = 0; round < options.rounds; round++) {
          const what = titleOf(workload, round);
          yield* tell(what);
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

    const played = (workload: Workload) =>
      Effect.gen(function* () {
        const entered: ReadonlyArray<Entered> = yield* workload.together
          ? together(workload)
          : oneByOne(workload);
        for (const { peer, rounds } of entered) series.push({ peer: peer.name, rounds });
      });

    for (const workload of workloads) {
      if (!options.only.includes(workload.name)) continue;
      if (workload.wrk && !wrk) yield* note(`${workload.name} is left out: there is no wrk: ${install}`);
      else yield* Effect.scoped(played(workload));
    }
    return { series, notes };
  });
