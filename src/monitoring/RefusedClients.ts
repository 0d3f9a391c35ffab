/**
 * When connections began to be refused, and when that was over, by reason: from totals that are looked at now and then.
 * Pure.
 */

/** Connections refused since the start, by reason. */
export type Totals = ReadonlyMap<string, number>;

/** Refusals of one reason that go on. Times are monotonic, in milliseconds. */
interface Run {
  /** The total before the first of them. */
  readonly before: number;
  readonly began: number;
  readonly last: number;
}

export interface Refusals {
  readonly totals: Totals;
  readonly runs: ReadonlyMap<string, Run>;
  /** When a connection was last refused, for any reason; undefined before the first time. */
  readonly last: number | undefined;
}

/** A run of refusals that began, or is over. */
export type Transition =
  | { readonly kind: "refusals-began"; readonly reason: string }
  | {
      readonly kind: "refusals-ended";
      readonly reason: string;
      readonly count: number;
      /** From the first to the last refusal. */
      readonly seconds: number;
    };

/** Refusals that are further apart than this are two runs. */
export const quietMillis = 10_000;

export const none: Refusals = { totals: new Map(), runs: new Map(), last: undefined };

/** What a look at the totals finds at a time. */
export const observe = (
  { last, runs, totals: before }: Refusals,
  totals: Totals,
  now: number,
): readonly [Refusals, ReadonlyArray<Transition>] => {
  const transitions: Array<Transition> = [];
  const next = new Map(runs);
  let latest = last;
  for (const [reason, total] of totals) {
    const run = next.get(reason);
    const known = before.get(reason) ?? 0;
    if (total > known) {
      if (run === undefined) transitions.push({ kind: "refusals-began", reason });
      next.set(reason, { before: run?.before ?? known, began: run?.began ?? now, last: now });
      latest = now;
    } else if (run !== undefined && now - run.last >= quietMillis) {
      next.delete(reason);
      const seconds = Math.round((run.last - run.began) / 1000);
      transitions.push({ kind: "refusals-ended", reason, count: known - run.before, seconds });
    }
  }
  return [{ totals, runs: next, last: latest }, transitions];
};

const reasons: Readonly<Record<string, string>> = {
  "no-backend": "no backend is healthy",
  "backends-full": "all healthy backends are full",
  "queue-full": "as many clients as may wait for a place at a backend",
  "queue-timeout": "no place at a backend came free in time",
  "connect-failed": "no backend can be connected to",
  "at-capacity": "there are as many connections as there can be",
  "proxy-header": "connections do not begin with a right PROXY header",
  denied: "clients are denied",
  "client-limit": "clients have as many connections as one may have",
  "client-rate": "clients make more connections than one may make in that time",
};

/** A reason in words. */
export const reasonText = (reason: string): string => reasons[reason] ?? reason;
