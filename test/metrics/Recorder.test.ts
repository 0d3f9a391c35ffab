import { assert, describe, it } from "@effect/vitest";
import { catalog, families } from "../../src/metrics/Catalog.js";
import { Recorder } from "../../src/metrics/Recorder.js";

const subject = (id: string) => ({ key: id, id, address: { host: "10.0.0.1", port: 3000 } });

/** The count of a series with these labels; undefined where there is none. */
const counted = (
  { series }: Pick<Recorder, "series">,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined => {
  const value = series.find(
    (one) =>
      one.name === name &&
      Object.entries(labels).every(([label, expected]) => one.labels[label] === expected),
  )?.value;
  return typeof value === "object" ? value.count : value;
};

describe("Recorder", () => {
  it("counts connections by how they ended", () => {
    const metrics = new Recorder();
    for (let n = 0; n < 5; n++) metrics.opened();
    metrics.ended("client/relaying", 10, 100, 200);
    metrics.ended("client/relaying", 10, 100, 200);
    metrics.ended("backend-reset/draining", 10, 100, 200);
    assert.strictEqual(counted(metrics, catalog.opened.name), 5);
    assert.strictEqual(counted(metrics, catalog.ended.name, { by: "client", phase: "relaying" }), 2);
    assert.strictEqual(counted(metrics, catalog.ended.name, { by: "backend-reset", phase: "draining" }), 1);
    assert.strictEqual(counted(metrics, catalog.connectionSeconds.name), 3);
    assert.strictEqual(counted(metrics, catalog.connectionBytes.name, { direction: "sent" }), 3);
  });

  it("keeps backends apart, and no series of one that is gone", () => {
    const metrics = new Recorder();
    metrics.track(subject("a"));
    metrics.track(subject("b"));
    metrics.backend(subject("a")).connected(1);
    metrics.backend(subject("a")).connectFailed("refused");
    assert.strictEqual(counted(metrics.backend(subject("a")), catalog.backendOpened.name), 1);
    assert.strictEqual(counted(metrics.backend(subject("b")), catalog.backendOpened.name), 0);
    metrics.forget(subject("a"));
    assert.deepStrictEqual([...metrics.backends.keys()], ["b"]);
    metrics.backend(subject("a")).connected(1);
    assert.deepStrictEqual(
      [...metrics.backends.keys()],
      ["b"],
      "what is told of the gone brings nothing back",
    );
  });

  it("has series at 0 of what did not happen yet, for the first time to be an increase", () => {
    const metrics = new Recorder();
    metrics.track(subject("a"));
    const of = metrics.backend(subject("a"));
    const { connectFailures, ended, polls, probes, refused, transitions } = catalog;
    assert.strictEqual(counted(metrics, refused.name, { reason: "no-backend" }), 0);
    assert.strictEqual(counted(metrics, ended.name, { by: "backend-reset", phase: "relaying" }), 0);
    assert.strictEqual(counted(metrics, polls.name, { result: "unreachable" }), 0);
    assert.strictEqual(counted(of, connectFailures.name, { reason: "timeout", backend: "a" }), 0);
    assert.strictEqual(counted(of, probes.name, { result: "failure", backend: "a" }), 0);
    assert.strictEqual(counted(of, transitions.name, { to: "down", backend: "a" }), 0);
    metrics.refused("no-backend");
    assert.strictEqual(counted(metrics, refused.name, { reason: "no-backend" }), 1);
    metrics.ended("disabled/relaying", 1, 0, 0);
    assert.strictEqual(counted(metrics, ended.name, { by: "disabled", phase: "relaying" }), 1);
  });

  it("does not lose the bytes of a backend that is gone", () => {
    const metrics = new Recorder();
    metrics.track(subject("a"));
    metrics.track(subject("b"));
    metrics.backend(subject("a")).carried(5, 0);
    metrics.ended("client/relaying", 1, 5, 0);
    metrics.backend(subject("b")).carried(0, 7);
    metrics.ended("client/relaying", 1, 0, 7);
    metrics.forget(subject("a"));
    assert.deepStrictEqual(metrics.bytesEnded, { received: 5, sent: 7 });
  });

  it("knows the most connections that a backend had at one time", () => {
    const metrics = new Recorder();
    metrics.track(subject("a"));
    for (const connections of [1, 2, 3, 2, 1]) metrics.backend(subject("a")).assigned(connections);
    assert.strictEqual(metrics.backend(subject("a")).peak, 3);
  });
});

describe("the catalogue", () => {
  it("names each metric once, as Prometheus advises", () => {
    const names = families.map(({ name }) => name);
    assert.strictEqual(new Set(names).size, names.length);
    for (const { bounds, help, labels, name, type } of families) {
      assert.match(name, /^lb_[a-z_]+$/);
      assert.notMatch(name, /_total$|_count$|_sum$|_bucket$|milli|_ms$/);
      assert.match(help, /^[A-Z0-9].*\.$/);
      for (const label of labels) assert.match(label, /^[a-z_]+$/);
      assert.strictEqual(bounds.length > 0, type === "histogram");
      assert.deepStrictEqual(
        [...bounds],
        [...bounds].sort((a, b) => a - b),
      );
    }
  });
});
