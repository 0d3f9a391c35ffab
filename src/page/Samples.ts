/**
 * Totals of the last minutes, and the rates between them. Pure.
 */

/** Totals at one moment. */
export interface Sample extends Readonly<Record<Refusal, number>> {
  /** In milliseconds since the epoch: {@link Origin}, and the uptime. */
  readonly at: number;
  readonly open: number;
  /** Connections that were not refused. */
  readonly served: number;
  readonly received: number;
  readonly sent: number;
}

/** What charts call refusals, and the reasons that each of them adds up. */
const reasons = {
  "no-backend": ["no-backend"],
  "backends-full": ["backends-full", "queue-full", "queue-timeout"],
  "connect-failed": ["connect-failed"],
  "at-capacity": ["at-capacity"],
  denied: ["denied"],
  "client-limit": ["client-limit"],
  "client-rate": ["client-rate"],
  "proxy-header": ["proxy-header"],
} as const;
export type Refusal = keyof typeof reasons;
const refusals = Object.keys(reasons) as ReadonlyArray<Refusal>; // the keys of a record of all of them

/** What the balancer says of one moment: a sample of its history, or a status. */
export interface Totals {
  readonly uptime_seconds: number;
  readonly open: number;
  readonly total: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly received: number;
  readonly sent: number;
}

/** When the balancer started, in milliseconds since the epoch, by its wall clock when the page began to listen. */
export type Origin = number;

/** By what the balancer's wall clock shows at an uptime. */
export const origin = (at: string, uptimeSeconds: number): Origin => Date.parse(at) - uptimeSeconds * 1000;

/** What happened in each second, between two samples. */
export type Rates = Readonly<Record<Rate, number>>;

/** Rates are differences of these. */
const counted = ["served", ...refusals, "received", "sent"] as const satisfies ReadonlyArray<keyof Sample>;
type Rate = (typeof counted)[number];

/** A record with a value for each of these names. */
const each = <Name extends string, A>(names: ReadonlyArray<Name>, of: (name: Name) => A) =>
  Object.fromEntries(names.map((name) => [name, of(name)])) as Readonly<Record<Name, A>>; // by each of its names

/** How far back is kept, in milliseconds: as far as the balancer's own history goes. */
export const kept = 5 * 60_000;
/** Samples nearer to each other than this are not worth a point of their own. */
const spacing = 1_900;
/** Between samples that are farther apart than this, nothing is known. */
const gap = 10_000;

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((all, one) => all + one, 0);

export const sample = (
  from: Origin,
  { open, received, refusals: refused, sent, total, uptime_seconds }: Totals,
): Sample => ({
  ...each(refusals, (refusal) => sum(reasons[refusal].map((reason) => refused[reason] ?? 0))),
  at: from + uptime_seconds * 1000,
  open,
  served: total - sum(Object.values(refused)),
  received,
  sent,
});

const recent = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample> => {
  const oldest = (samples.at(-1)?.at ?? 0) - kept;
  return samples.filter(({ at }) => at >= oldest);
};

/** With the newest sample at the end; unchanged while it is too near to the last, or before it. */
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
  if (seconds <= 0 || seconds > gap / 1000 || counted.some((name) => later[name] < earlier[name])) {
    return undefined;
  }
  return each(counted, (name) => (later[name] - earlier[name]) / seconds);
};

/** Columns for charts: one value for each sample; null where it is not known. */
export interface Columns extends Readonly<Record<Rate, ReadonlyArray<number | null>>> {
  /** In seconds since the epoch. */
  readonly at: ReadonlyArray<number>;
  readonly open: ReadonlyArray<number>;
}

export const columns = (samples: ReadonlyArray<Sample>): Columns => {
  const rates = samples.map((later, index) => {
    const earlier = samples[index - 1];
    return earlier === undefined ? undefined : between(earlier, later);
  });
  return {
    ...each(counted, (name) => rates.map((rate) => rate?.[name] ?? null)),
    at: samples.map(({ at }) => at / 1000),
    open: samples.map(({ open }) => open),
  };
};

/** How far back the rates of this moment look, in milliseconds. */
const momentMillis = 5_000;

/** The rates of this moment: over the last seconds, so that a figure can be read before it changes. */
export const current = (samples: ReadonlyArray<Sample>, now: Sample): Rates | undefined => {
  const first = samples.find(({ at }) => at >= now.at - momentMillis && at < now.at);
  return first === undefined ? undefined : between(first, now);
};
