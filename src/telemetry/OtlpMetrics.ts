/**
 * Metrics in the form of OTLP: the series that `/metrics` shows.
 *
 * The library's own exporter knows only Effect's one global registry, where the series of a backend that is gone would
 * stay for ever.
 *
 * https://opentelemetry.io/docs/specs/otlp/
 */
import * as Arr from "effect/Array";
import { type Family, families } from "../metrics/Catalog.js";
import type { Distribution, Series } from "../metrics/Series.js";

/** AGGREGATION_TEMPORALITY_CUMULATIVE */
const cumulative = 2;

const attributes = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).map(([key, value]) => ({ key, value: { stringValue: value } }));

// OTLP counts each bucket for itself, and has no bound of infinity.
const histogram = ({ buckets, count, sum }: Distribution) => ({
  count,
  sum,
  explicitBounds: buckets.map(([bound]) => bound).filter(Number.isFinite),
  bucketCounts: buckets.map(([, upTo], i) => upTo - (buckets[i - 1]?.[1] ?? 0)),
});

const unitOf = (name: string): string =>
  name.endsWith("_seconds") ? "s" : name.endsWith("_bytes") ? "By" : "1";

interface Times {
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
}

const metric = (family: Family, all: ReadonlyArray<Series>, times: Times) => {
  const dataPoints = all.map(({ labels, value }) => ({
    attributes: attributes(labels),
    ...times,
    ...(typeof value === "number" ? { asDouble: value } : histogram(value)),
  }));
  const described = { name: family.name, description: family.help, unit: unitOf(family.name) };
  switch (family.type) {
    case "counter":
      return { ...described, sum: { aggregationTemporality: cumulative, isMonotonic: true, dataPoints } };
    case "gauge":
      return { ...described, gauge: { dataPoints } };
    case "histogram":
      return { ...described, histogram: { aggregationTemporality: cumulative, dataPoints } };
  }
};

/** The `metrics` of a request; times are in nanoseconds since the epoch. */
export const encode = (all: ReadonlyArray<Series>, startNanos: bigint, nowNanos: bigint) => {
  const times: Times = { startTimeUnixNano: String(startNanos), timeUnixNano: String(nowNanos) };
  const byName = Arr.groupBy(all, ({ name }) => name);
  return families.flatMap((family) => {
    const series = byName[family.name];
    return series === undefined ? [] : [metric(family, series, times)];
  });
};
