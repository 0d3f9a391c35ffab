/**
 * Whether what the page shows is still so. Pure. Times are in milliseconds, by the viewer's clock.
 */
import * as Format from "./Format.js";

/** Two messages come each second: after this long without any, what is shown can be wrong. */
export const staleAfter = 3_000;
/** A connection over which nothing came for so long is given up, though nobody said that it is broken. */
export const giveUpAfter = 10_000;

/** Whether nothing is known of now: no message came for too long. `heard` is when the last one came, if any. */
export const isSilent = (heard: number | undefined, opened: number, now: number): boolean =>
  now - (heard ?? opened) >= staleAfter;

/**
 * What to say; undefined while all is well. `heard` is when the last message came, undefined before the first, and
 * `late` how much longer than the quickest one it was on its way.
 */
export const warning = (
  heard: number | undefined,
  opened: number,
  now: number,
  late: number,
): string | undefined => {
  const silent = now - (heard ?? opened);
  if (!isSilent(heard, opened, now)) {
    if (late < staleAfter) return undefined;
    return `Late: this was so ${Format.duration(late)} ago. Updates come more slowly than the balancer sends them.`;
  }
  if (heard === undefined) {
    return `The balancer has not answered since ${Format.clock(opened)} (${Format.duration(silent)}). Trying again.`;
  }
  return `Stale: nothing was heard since ${Format.clock(heard)} (${Format.duration(silent)} ago). Reconnecting.`;
};
