import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import * as Dashboard from "./Dashboard.js";
import { named, stored } from "./PromQuery.js";

const folder = fileURLToPath(new URL("../../deployments/prometheus/", import.meta.url));
const rules = readFileSync(`${folder}load-balancer.rules.yml`, "utf8");
const tests = readFileSync(`${folder}load-balancer.rules.test.yml`, "utf8");
const alerts = rules.split(/^ {6}- alert: /m).slice(1);

describe("deployments/prometheus/load-balancer.rules.yml", () => {
  it("has the alerts that it should have, each for a while, with a severity and what to do", () => {
    assert.deepStrictEqual(
      alerts.map((alert) => alert.split("\n")[0]),
      [
        "LoadBalancerNoHealthyBackend",
        "LoadBalancerDiscoveryStale",
        "LoadBalancerConnectFailures",
        "LoadBalancerClientsQueue",
        "LoadBalancerNoPlace",
        "LoadBalancerClientsDenied",
        "LoadBalancerNearDescriptorLimit",
        "LoadBalancerBackendFlapping",
        "LoadBalancerWrongTokens",
        "LoadBalancerDataThreadSilent",
        "LoadBalancerTransportFault",
      ],
    );
    for (const alert of alerts) {
      assert.match(alert, /^ {8}for: \d+m$/m);
      assert.match(alert, /^ {10}severity: (critical|warning)$/m);
      assert.match(alert, /^ {10}summary: \S/m);
      assert.match(alert, /^ {10}description: \S/m);
    }
  });

  it("asks only for metrics that there are", () => {
    assert.isNotEmpty(named(rules));
    for (const name of [...named(rules), ...named(tests)]) assert.isTrue(stored.has(name), name);
  });
});

const promtool = (...args: ReadonlyArray<string>) =>
  spawnSync("promtool", args, { cwd: folder, encoding: "utf8", timeout: 120_000 });

const missing = promtool("--version").error !== undefined;
// Without it nothing can be said here; in CI that must not go by unseen.
const skipped = missing && process.env["CI"] === undefined;

describe.skipIf(skipped)(`promtool of the alerts${skipped ? " (promtool is not installed)" : ""}`, () => {
  for (const args of [
    ["check", "rules", "--lint=all", "--lint-fatal", "load-balancer.rules.yml"],
    ["test", "rules", "load-balancer.rules.test.yml"],
  ]) {
    it(args.slice(0, 2).join(" "), () => {
      const { error, status, stderr, stdout } = promtool(...args);
      assert.isUndefined(error, "promtool could not be run; Debian has it in the package prometheus");
      assert.strictEqual(status, 0, `${stdout}${stderr}`);
    });
  }
});

describe("deployments/grafana/load-balancer.json", () => {
  const { panels, templating } = Dashboard.read();
  const shown = panels.filter(({ type }) => type !== "row");

  it("has its rows in this order", () => {
    assert.deepStrictEqual(
      panels.filter(({ type }) => type === "row").map(({ title }) => title),
      ["Overview", "Connections", "Queue and limits", "Backends", "Discovery and probes", "Process"],
    );
  });

  it("lets the data source and the instance be chosen, and asks no other", () => {
    const variables = templating.list;
    assert.propertyVal(
      variables.find(({ name }) => name === "datasource"),
      "type",
      "datasource",
    );
    assert.propertyVal(
      variables.find(({ name }) => name === "instance"),
      "type",
      "query",
    );
    for (const { datasource, targets = [], title } of shown) {
      for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
        assert.deepStrictEqual(source, { type: "prometheus", uid: "${" + "datasource}" }, title);
      }
      for (const { expr } of targets) {
        for (const name of named(expr)) assert.include(expr, `${name}{instance=~"$instance"`, title);
      }
    }
  });

  it("has an id of its own, a unit and queries for each panel", () => {
    assert.lengthOf(new Set(panels.map(({ id }) => id)), panels.length);
    for (const { fieldConfig, targets = [], title } of shown) {
      assert.isDefined(fieldConfig, title);
      assert.isNotEmpty(targets, title);
      assert.lengthOf(new Set(targets.map(({ refId }) => refId)), targets.length, title);
    }
  });

  it("lays no panel over another or over the edge", () => {
    const taken = new Map<string, string>();
    for (const { gridPos, title } of panels) {
      const { h, w, x, y } = gridPos;
      assert.isTrue(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24, title);
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          const cell = `${column}/${line}`;
          assert.isUndefined(taken.get(cell), `${title} lies over ${taken.get(cell)}`);
          taken.set(cell, title);
        }
      }
    }
  });

  it("asks only for metrics that there are", () => {
    const asked = [
      ...Dashboard.queries(),
      ...templating.list.flatMap(({ definition = "" }) => definition),
    ].flatMap(named);
    assert.isNotEmpty(asked);
    for (const name of asked) assert.isTrue(stored.has(name), name);
  });
});
