/**
 * The way to Effect's own metrics: to the one global registry that the exporters of a program read.
 */
import { Metric, MetricBoundaries, MetricKey, MetricLabel } from "effect";
import type { Family } from "./Catalog.js";
import type { Forward, Labels } from "./Series.js";

const tags = (labels: Labels): ReadonlyArray<MetricLabel.MetricLabel> =>
  Object.entries(labels).map(([name, value]) => MetricLabel.make(name, value));

const metricOf = ({ bounds, help, name, type }: Family, labels: Labels) =>
  type === "histogram"
    ? Metric.fromMetricKey(
        MetricKey.taggedWithLabels(
          MetricKey.histogram(name, MetricBoundaries.fromIterable(bounds), help),
          tags(labels),
        ),
      )
    : Metric.fromMetricKey(
        MetricKey.taggedWithLabels(MetricKey.counter(name, { description: help }), tags(labels)),
      );

/** Updates the series of the same name and labels there, which begins with its first update and never goes. */
export const forward: Forward = (family, labels) => {
  const metric = metricOf(family, labels);
  return (amount) => metric.unsafeUpdate(amount, []);
};
