/**
 * Totals of the last minutes, and the rates between them. Pure.
 */

/** Totals at one moment. */
export interface Sample {
  /** In milliseconds since the epoch, by the balancer's clock. */
  readonly at: number;
  readonly open: number;
  readonly total: number;
  readonly received: number;
  readonly sent: number;
}

/** What a balancer says of one moment: a history's sample, or a status. */
export interface Told extends Omit<Sample, "at"> {
  /** RFC 3339. */
  readonly at: string;
}

/** What happened in each second, between two samples. */
export interface Rates {
  readonly opened: number;
  readonly received: number;
  readonly sent: number;
}

/** How far back is kept, in milliseconds: as far as the balancer's own history goes. */
export const kept = 5 * 60_000;
/** Samples nearer to each other than this are not worth a point of their own. */
const spacing = 1_900;
/** Between samples that are farther apart than this, nothing is known. */
const gap = 10_000;

export const sample = ({ at, open, total, received, sent }: Told): Sample => ({
  at: Date.parse(at),
  open,
  total,
  received,
  sent,
});

const recent = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample> => {
  const oldest = (samples.at(-1)?.at ?? 0) - kept;
  return samples.filter(({ at }) => at >= oldest);
};

/** With what is told now at the end; unchanged while it is too near to the last, or before it. */
export const append = (samples: ReadonlyArray<Sample>, next: Sample): ReadonlyArray<Sample> => {
  const last = samples.at(-1);
  return last !== undefined && next.at - last.at < spacing ? samples : recent([...samples, next]);
};

/** A history replaces everything that was gathered since it began, and keeps what was before. */
export const merge = (
  samples: ReadonlyArray<Sample>,
  history: ReadonlyArray<Sample>,
): ReadonlyArray<Sample> => {
  const begin = history[0]?.at;
  return begin === undefined ? samples : recent([...samples.filter(({ at }) => at < begin), ...history]);
};

/** What happened between two samples; undefined where that cannot be known: a gap, or a balancer begun anew. */
export const between = (earlier: Sample, later: Sample): Rates | undefined => {
  const seconds = (later.at - earlier.at) / 1000;
  const difference = {
    opened: later.total - earlier.total,
    received: later.received - earlier.received,
    sent: later.sent - earlier.sent,
  };
  const { opened, received, sent } = difference;
  if (seconds <= 0 || seconds > gap / 1000 || opened < 0 || received < 0 || sent < 0) return undefined;
  return { opened: opened / seconds, received: received / seconds, sent: sent / seconds };
};

/** Columns for charts: one value for each sample; null where it is not known. */
export interface Columns {
  /** In seconds since the epoch. */
  readonly at: ReadonlyArray<number>;
  readonly open: ReadonlyArray<number>;
  readonly opened: ReadonlyArray<number | null>;
  readonly received: ReadonlyArray<number | null>;
  readonly sent: ReadonlyArray<number | null>;
}

export const columns = (samples: ReadonlyArray<Sample>): Columns => {
  const rates = samples.map((each, index) => {
    const earlier = samples[index - 1];
    return earlier === undefined ? undefined : between(earlier, each);
  });
  return {
    at: samples.map(({ at }) => at / 1000),
    open: samples.map(({ open }) => open),
    opened: rates.map((rate) => rate?.opened ?? null),
    received: rates.map((rate) => rate?.received ?? null),
    sent: rates.map((rate) => rate?.sent ?? null),
  };
};

/** How far back the rates of this moment look, in milliseconds. */
const momentMillis = 5_000;

/** The rates of this moment: over the last seconds, so that a figure can be read before it changes. */
export const current = (samples: ReadonlyArray<Sample>, now: Sample): Rates | undefined => {
  const first = samples.find(({ at }) => at >= now.at - momentMillis && at < now.at);
  return first === undefined ? undefined : between(first, now);
};
