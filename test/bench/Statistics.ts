/** What several measurements of one thing say together. */

/** The middle of some values, and the range that the middle half of them lies in. */
export interface Spread {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/** The value below which a share (0 to 1) of the values lies, between two of them by proportion; NaN of none. */
export const quantile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
};

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5);

export const spread = (values: ReadonlyArray<number>): Spread => ({
  low: quantile(values, 0.25),
  median: median(values),
  high: quantile(values, 0.75),
});

/** How wide the middle half is, as a share of the median. */
export const relativeWidth = ({ low, median, high }: Spread): number => (high - low) / median;

/**
 * Each value by that of the other in the same round. A round in which either was not measured says nothing, nor
 * does one in which the other was 0 or less.
 */
export const pairedRatios = (
  values: ReadonlyArray<number | undefined>,
  others: ReadonlyArray<number | undefined>,
): ReadonlyArray<number> =>
  values.flatMap((value, round) => {
    const other = others[round];
    return value === undefined || other === undefined || !(other > 0) ? [] : [value / other];
  });

/** The items in another order in each round, so that none always comes after the same one and none always first. */
export const rotated = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const from = items.length === 0 ? 0 : round % items.length;
  const turned = [...items.slice(from), ...items.slice(0, from)];
  return Math.floor(round / Math.max(items.length, 1)) % 2 === 0 ? turned : turned.reverse();
};
