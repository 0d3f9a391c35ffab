/** Runs the schedules of many seeds, one after the other. */
import { setImmediate as turn } from "node:timers/promises";

/** A kind of schedule. */
export interface Kind {
  /** Throws what the schedule of this seed has found wrong. */
  readonly run: (seed: number) => void;
  /** What was found, and how to run it again. */
  readonly report: (seed: number, violation: unknown) => string;
}

/** How many schedules run in one turn of the loop: whoever runs the tests waits for signs of life. */
const schedulesPerTurn = 100;

/** Fails with the report of the first that finds something. */
export const runAll = async (
  kind: Kind,
  from: number,
  schedules: number,
  /** Called in each turn, with how many have held. */
  onTurn: (held: number) => void = () => {},
): Promise<void> => {
  for (let held = 0; held < schedules; ) {
    const until = Math.min(held + schedulesPerTurn, schedules);
    for (; held < until; held++) {
      const seed = from + held;
      try {
        kind.run(seed);
      } catch (violation) {
        throw new Error(kind.report(seed, violation));
      }
    }
    onTurn(held);
    await turn();
  }
};

/** Seeds of which nobody has seen the schedules before begin there. */
export const unseen = (): number => Math.floor(Math.random() * 4_000_000_000);
