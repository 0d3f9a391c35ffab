/** What the figures say: each peer's spread, its ratio to HAProxy's, and whether the targets were met. */
import { type Figures, type MetricName, metricNames, metrics, type Target, targets } from "./Metric.js";
import type { Series } from "./Referee.js";
import { pairedRatios, relativeWidth, type Spread, spread } from "./Statistics.js";

/** Who the others are compared with. */
export const reference = "haproxy";

/** Ratios whose middle half is wider than this, as a share of their median, are noise. */
export const widest = 0.1;

export interface Cell {
  readonly peer: string;
  readonly values: ReadonlyArray<number>;
  readonly spread: Spread;
  /** Round by round to the reference; undefined of the reference itself, and where there is none. */
  readonly ratio: Spread | undefined;
}

export interface Row {
  readonly metric: MetricName;
  readonly cells: ReadonlyArray<Cell>;
}

/** "unclear": the target lies within the middle half of what was measured. */
export type Verdict = "met" | "missed" | "unclear" | "not measured";

export interface Judged {
  readonly target: Target;
  readonly value: Spread | undefined;
  readonly verdict: Verdict;
}

const valuesOf = (series: ReadonlyArray<Series>, peer: string, metric: MetricName) =>
  series
    .filter((each) => each.peer === peer && each.rounds.some((figures) => figures?.[metric] !== undefined))
    .flatMap(({ rounds }) => rounds.map((figures: Figures | undefined) => figures?.[metric]));

/** The rows of all that was measured, peers in the order given. */
export const rows = (series: ReadonlyArray<Series>, peers: ReadonlyArray<string>): ReadonlyArray<Row> =>
  metricNames.flatMap((metric) => {
    const others = valuesOf(series, reference, metric);
    const cells = peers.flatMap((peer): ReadonlyArray<Cell> => {
      const all = valuesOf(series, peer, metric);
      const values = all.filter((value) => value !== undefined);
      if (values.length === 0) return [];
      const ratios = peer === reference ? [] : pairedRatios(all, others);
      const ratio = ratios.length === 0 ? undefined : spread(ratios);
      return [{ peer, values, spread: spread(values), ratio }];
    });
    return cells.length === 0 ? [] : [{ metric, cells }];
  });

/** Whether a figure keeps to its bound: at most that much or, where `more` of it is better, at least. */
export const verdict = (value: Spread | undefined, bound: number, more = false): Verdict => {
  if (value === undefined || Number.isNaN(value.median)) return "not measured";
  const { high, low } = value;
  if (more ? low >= bound : high <= bound) return "met";
  return (more ? high < bound : low > bound) ? "missed" : "unclear";
};

export const judged = (table: ReadonlyArray<Row>): ReadonlyArray<Judged> =>
  targets.map((target) => {
    const cell = table
      .find(({ metric }) => metric === target.metric)
      ?.cells.find(({ peer }) => peer === target.peer);
    const value = target.ratio ? cell?.ratio : cell?.spread;
    return { target, value, verdict: verdict(value, target.bound, metrics[target.metric].more) };
  });

/** What is too noisy to be judged by, one line for each metric. */
export const noise = (table: ReadonlyArray<Row>): ReadonlyArray<string> =>
  table.flatMap(({ cells, metric }) => {
    const wide = cells.flatMap(({ peer, ratio }) =>
      ratio === undefined || relativeWidth(ratio) <= widest
        ? []
        : [`${peer} ${Math.round(relativeWidth(ratio) * 100)} %`],
    );
    return wide.length === 0
      ? []
      : [
          `a judgement by ${metrics[metric].title} would be noise: ` +
            `the middle half of the ratios spans, of their median, ${wide.join(", ")}`,
        ];
  });
