/**
 * Round-robin: the open members in turn, in the order of their slots.
 */
import type { Algorithm } from "./Algorithm.js";
import { nextOpen } from "./Load.js";

/**
 * Exact over a stable set of n open members: any k·n choices in a row give each k. A member that joins, leaves or recovers
 * takes its place in the rotation without disturbing the turn of the others. It remembers the slot that it chose last.
 *
 * @example
 * ```ts
 * import { BackendRegistry, roundRobin } from "zeitwork-load-balancer"
 *
 * const registry = BackendRegistry.layer({ algorithm: roundRobin })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const roundRobin: Algorithm<number> = {
  name: "round-robin",
  initial: -1,
  choose: (_members, load, last) => {
    const slot = nextOpen(load, last);
    return slot === undefined ? undefined : { slot, state: slot };
  },
};
