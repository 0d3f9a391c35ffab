/**
 * Rosters of plain candidates, for tests of the algorithms.
 */
import { type Candidate, empty, insert, type Roster, replace } from "../../src/balancing/Roster.js";

/** A roster with one eligible and idle candidate for each key, in this order of slots. */
export const rosterOf = (keys: ReadonlyArray<string>): Roster<Candidate> => {
  let roster: Roster<Candidate> = empty;
  for (const key of keys) {
    roster = insert(roster, (slot) => ({ slot, key, eligible: true, connections: 0 }));
  }
  return roster;
};

/** The same roster with other values in one candidate. */
export const changed = (
  roster: Roster<Candidate>,
  candidate: Candidate,
  values: Partial<Pick<Candidate, "eligible" | "connections">>,
): Roster<Candidate> => replace(roster, { ...candidate, ...values });

/** Runs a computation that yields between its slices to its end. */
export const finished = <A>(slices: Generator<void, A>): A => {
  for (;;) {
    const slice = slices.next();
    if (slice.done === true) return slice.value;
  }
};
