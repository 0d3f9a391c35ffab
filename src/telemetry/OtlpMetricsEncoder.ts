/**
 * Encodes series as OTLP metrics. Pure.
 *
 * The exporter of `@effect/opentelemetry` reads only Effect's global registry, where the series of a removed backend
 * would stay for ever.
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

// In OTLP the count of a bucket does not include the smaller ones, and there is no bound of infinity.
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
