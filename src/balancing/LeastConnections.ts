/**
 * Least-connections: an eligible backend with the fewest open connections.
 */
import type { Algorithm } from "./Algorithm.js";
import { nextLeastLoaded } from "./Roster.js";

const after = (last: number): Algorithm => ({
  name: "least-connections",
  choose: (roster) => {
    const chosen = nextLeastLoaded(roster, last);
    return chosen === undefined ? undefined : { slot: chosen.slot, next: after(chosen.slot) };
  },
});

/**
 * Connections count from the moment they are assigned, so a burst spreads before the first of it has
 * connected. Backends that tie are taken in turn, so an idle pool shares its load as round-robin does.
 */
export const leastConnections: Algorithm = after(-1);
