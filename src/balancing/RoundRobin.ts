/**
 * Round-robin: the eligible backends in turn, in the order of their slots.
 */
import type { Algorithm } from "./Algorithm.js";
import { nextEligible } from "./Roster.js";

const after = (last: number): Algorithm => ({
  name: "round-robin",
  choose: (roster) => {
    const chosen = nextEligible(roster, last);
    return chosen === undefined ? undefined : { slot: chosen.slot, next: after(chosen.slot) };
  },
});

/**
 * Exact over a stable set of n eligible backends: any k·n choices in a row give each k. A backend that joins,
 * leaves or recovers takes its place in the rotation without disturbing the turn of the others.
 */
export const roundRobin: Algorithm = after(-1);
