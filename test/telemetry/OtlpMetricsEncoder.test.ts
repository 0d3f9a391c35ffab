import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import { catalog } from "../../src/metrics/Catalog.js";
import * as Series from "../../src/metrics/Series.js";
import { encode } from "../../src/telemetry/OtlpMetricsEncoder.js";

describe("metrics for a collector", () => {
  it("count each bucket for itself", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }), fc.nat(), (counts, sum) => {
        let upTo = 0;
        const buckets = counts.map((count, i): [number, number] => {
          upTo += count;
          return [i === counts.length - 1 ? Number.POSITIVE_INFINITY : i, upTo];
        });
        const value = { buckets, sum, count: upTo };
        const [metric] = encode([{ name: catalog.connectionSeconds.name, labels: {}, value }], 1n, 2n);
        assert.isDefined(metric);
        const [point] = "histogram" in metric ? metric.histogram.dataPoints : [];
        assert.isDefined(point);
        assert.deepInclude<object>(point, {
          bucketCounts: counts,
          explicitBounds: counts.slice(1).map((_, i) => i),
          count: upTo,
          sum,
          startTimeUnixNano: "1",
          timeUnixNano: "2",
        });
      }),
    );
  });

  it("have one metric for each family, with a point for each series", () => {
    const labels = { backend: "web-1", address: "10.0.0.1:80" };
    const sent = encode(
      [
        Series.make(catalog.backendUp, 1, labels),
        Series.make(catalog.open, 7, {}),
        Series.make(catalog.backendUp, 0, { ...labels, backend: "web-2" }),
      ],
      1n,
      2n,
    );
    assert.sameMembers(
      sent.map(({ name }) => name),
      [catalog.open.name, catalog.backendUp.name],
    );
    const up = sent.find(({ name }) => name === catalog.backendUp.name);
    const points = up !== undefined && "gauge" in up ? up.gauge.dataPoints : [];
    assert.deepStrictEqual(
      points.map(({ attributes }) => attributes[0]),
      ["web-1", "web-2"].map((stringValue) => ({ key: "backend", value: { stringValue } })),
    );
  });
});
