/**
 * Random: the less loaded of two open members that are drawn at random (Mitzenmacher, "The Power of Two Choices in
 * Randomized Load Balancing", 2001).
 */
import type { Algorithm } from "./Algorithm.js";
import * as Bits from "./Bits.js";
import { hash, scramble } from "./Hash.js";
import { type Load, ratio } from "./Load.js";

/** A member that was drawn: its slot, and the stretch of all weights, put end to end, that is its own. */
interface Drawn {
  readonly slot: number;
  readonly from: number;
  readonly weight: number;
}

// The member at this place on all weights put end to end, class by class and in the order of slots.
const at = ({ classes, weightsUpTo }: Load, place: number): Drawn | undefined => {
  // The first class whose members end behind it; rounding may lead to the end of the last one.
  let first = 0;
  let last = classes.length - 1;
  while (first < last) {
    const middle = (first + last) >> 1;
    if (place < (weightsUpTo[middle] as number))
      last = middle; // middle is within.
    else first = middle + 1;
  }
  const found = classes[first];
  if (found === undefined) return undefined;
  const { open, slots, weight } = found;
  const from = weightsUpTo[first - 1] ?? 0;
  // Rounding may lead past the last one.
  const index = Math.min(open - 1, Math.floor((place - from) / weight));
  return { slot: Bits.nth(slots, index), from: from + index * weight, weight };
};

const golden = 0x9e3779b9;

/**
 * Two different open members are drawn, each as often as its weight says, and the one with fewer connections over
 * weight is chosen; of two that tie, the first that was drawn. It remembers a number that the next draw begins with.
 * The client's address is a part of each draw, so that balancers which began at the same time do not draw alike.
 *
 * @example
 * ```ts
 * import { BackendRegistry, random } from "zeitwork-load-balancer"
 *
 * const registry = BackendRegistry.layer({ algorithm: random })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const random: Algorithm<number> = {
  name: "random",
  initial: 0,
  choose: (_members, load, seed, client) => {
    const state = (seed + golden) >>> 0;
    const bits = scramble(state ^ hash(client.host, 3));
    const one = at(load, (bits / 2 ** 32) * load.weight);
    if (one === undefined) return undefined;
    if (load.open === 1) return { slot: one.slot, state };
    // From what is left when the first is taken out of it.
    const place = (scramble(bits ^ golden) / 2 ** 32) * (load.weight - one.weight);
    const other = at(load, place < one.from ? place : place + one.weight);
    const slot =
      other !== undefined && ratio(load, other.slot) < ratio(load, one.slot) ? other.slot : one.slot;
    return { slot, state };
  },
};
