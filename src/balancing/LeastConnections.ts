/**
 * Least-connections: an open member with the fewest connections for its weight.
 */
import type { Algorithm } from "./Algorithm.js";
import { nextLeastLoaded } from "./Load.js";

/**
 * One of the members whose connections over weight are fewest: of two with the weights 3 and 1 the first is preferred
 * until it has three times as many. Connections count from the moment they are assigned, so a burst spreads before the
 * first of it has connected. Members that tie are taken in turn, so an idle pool shares its load as round-robin does.
 * It remembers the slot that it chose last.
 *
 * @example
 * ```ts
 * import { BackendRegistry, leastConnections } from "zeitwork-load-balancer"
 *
 * const registry = BackendRegistry.layer({ algorithm: leastConnections })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const leastConnections: Algorithm<number> = {
  name: "least-connections",
  initial: -1,
  choose: (_members, load, last) => {
    const slot = nextLeastLoaded(load, last);
    return slot === undefined ? undefined : { slot, state: slot };
  },
};
