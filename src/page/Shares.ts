/**
 * Which part of the new connections each backend got, over a window that slides. Pure.
 */

/** How many connections each backend has had in all, at one moment. */
export interface Totals {
  /** In milliseconds since the epoch. */
  readonly at: number;
  readonly by: ReadonlyMap<string, number>;
}

/** How long the window is, in milliseconds. */
export const windowMillis = 60_000;
/** The resolution of the window, in milliseconds: totals nearer to the last are not kept. */
const step = 2_000;

/** With the totals of now; what no window needs any more is left out. */
export const append = (all: ReadonlyArray<Totals>, now: Totals): ReadonlyArray<Totals> => {
  const last = all.at(-1);
  if (last !== undefined && now.at - last.at < step) return all;
  return [...all.filter(({ at }) => at >= now.at - windowMillis), now];
};

/**
 * The share of each backend, 0 to 1, from the window's oldest totals until `now`; without any new connection
 * nobody has one. A backend that was not there then began at 0.
 */
export const shares = (all: ReadonlyArray<Totals>, now: Totals): ReadonlyMap<string, number> => {
  const before = all[0]?.by ?? now.by;
  const got = new Map<string, number>();
  let sum = 0;
  for (const [key, total] of now.by) {
    const more = Math.max(0, total - (before.get(key) ?? 0));
    got.set(key, more);
    sum += more;
  }
  if (sum === 0) return new Map();
  return new Map([...got].map(([key, more]) => [key, more / sum]));
};
