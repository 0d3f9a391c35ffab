import { assert, describe, it } from "@effect/vitest";
import { catalog } from "../../src/metrics/Catalog.js";
import * as Exposition from "../../src/metrics/Exposition.js";
import { Recorder } from "../../src/metrics/Recorder.js";
import * as Series from "../../src/metrics/Series.js";

/** All slices of a rendering, as one text. */
const textOf = (all: Iterable<Series.Series>, format: Exposition.Format): string => {
  const slices = Exposition.render(all, format);
  for (;;) {
    const slice = slices.next();
    if (slice.done === true) return Buffer.concat(slice.value).toString();
  }
};

describe("Exposition", () => {
  it("writes counters and gauges in the Prometheus format", () => {
    const text = textOf(
      [
        Series.make(catalog.listed, 3, {}),
        Series.make(catalog.polls, 2, { result: "success" }),
        Series.make(catalog.polls, 1, { result: "timeout" }),
      ],
      "prometheus",
    );
    assert.strictEqual(
      text,
      [
        "# HELP lb_discovery_polls_total Times the list of backends was asked for.",
        "# TYPE lb_discovery_polls_total counter",
        'lb_discovery_polls_total{result="success"} 2',
        'lb_discovery_polls_total{result="timeout"} 1',
        "# HELP lb_backends_listed Backends that discovery lists.",
        "# TYPE lb_backends_listed gauge",
        "lb_backends_listed 3",
        "",
      ].join("\n"),
    );
  });

  it("writes them in OpenMetrics, where a counter's family has no _total and the text has an end", () => {
    const text = textOf([Series.make(catalog.polls, 2, { result: "success" })], "openmetrics");
    assert.strictEqual(
      text,
      [
        "# HELP lb_discovery_polls Times the list of backends was asked for.",
        "# TYPE lb_discovery_polls counter",
        'lb_discovery_polls_total{result="success"} 2',
        "# EOF",
        "",
      ].join("\n"),
    );
  });

  it("writes histograms with cumulative buckets, the last one of infinity", () => {
    const metrics = new Recorder();
    for (const bytes of [1, 64, 65, 5_000_000_000]) metrics.ended("client/relaying", 1, bytes, 0);
    const lines = textOf(metrics.series, "prometheus")
      .split("\n")
      .filter((line) => line.startsWith("lb_connection_bytes") && line.includes("received"));
    assert.deepStrictEqual(lines.slice(0, 2), [
      'lb_connection_bytes_bucket{direction="received",le="64"} 2',
      'lb_connection_bytes_bucket{direction="received",le="512"} 3',
    ]);
    assert.deepStrictEqual(lines.slice(-3), [
      'lb_connection_bytes_bucket{direction="received",le="+Inf"} 4',
      'lb_connection_bytes_sum{direction="received"} 5000000130',
      'lb_connection_bytes_count{direction="received"} 4',
    ]);
  });

  it("escapes what a label could break out with", () => {
    const text = textOf(
      [Series.make(catalog.backendUp, 1, { backend: 'a"b\\c\nd', address: "10.0.0.1:1" })],
      "prometheus",
    );
    assert.include(text, 'lb_backend_up{backend="a\\"b\\\\c\\nd",address="10.0.0.1:1"} 1\n');
  });

  it("answers in OpenMetrics only where that is accepted", () => {
    const formats: ReadonlyArray<readonly [string | undefined, Exposition.Format]> = [
      [undefined, "prometheus"],
      ["*/*", "prometheus"],
      ["text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "prometheus"],
      ["application/openmetrics-text", "openmetrics"],
      [
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
        "openmetrics",
      ],
      ["text/plain, application/openmetrics-text;q=0", "prometheus"],
      ["text/plain, application/openmetrics-text;q=0.0 , */*", "prometheus"],
    ];
    for (const [accept, format] of formats) assert.strictEqual(Exposition.formatFor(accept), format, accept);
  });

  it("is written in slices of a bounded number of lines, and says the same whatever the order they come in", () => {
    const backends = Array.from({ length: 1_000 }, (_, n) => ({ backend: `b${n}`, address: "10.0.0.1:1" }));
    const up = backends.map((labels) => Series.make(catalog.backendUp, 1, labels));
    const open = backends.map((labels) => Series.make(catalog.backendOpen, 7, labels));
    const taken: Array<number> = [];
    let count = 0;
    const slices = Exposition.render(
      (function* () {
        for (const [n, one] of up.entries()) {
          count += 2;
          yield* [one, open[n] ?? one];
        }
      })(),
      "prometheus",
    );
    while (slices.next().done !== true) taken.push(count);
    assert.isAtLeast(taken.length, (2 * backends.length) / Exposition.linesPerStep - 1);
    taken.forEach((total, n) => {
      assert.isAtMost(total - (taken[n - 1] ?? 0), Exposition.linesPerStep);
    });
    const interleaved = up.flatMap((one, n) => [one, open[n] ?? one]);
    assert.strictEqual(textOf(interleaved, "prometheus"), textOf([...up, ...open], "prometheus"));
  });
});
