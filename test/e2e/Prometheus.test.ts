import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Schema } from "effect";
import * as Dashboard from "../deployments/Dashboard.js";
import { selectors } from "../deployments/PromQuery.js";
import { ask, listOf, named as namedBackend, restartable, talk } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";

const missing = ["promtool", "prometheus"].filter(
  (command) => spawnSync(command, ["--version"], { timeout: 120_000 }).error !== undefined,
);
// Without them nothing can be said here; in CI that must not go by unseen.
const skipped = missing.length > 0 && process.env["CI"] === undefined;

const rules = fileURLToPath(new URL("../../deployments/prometheus/load-balancer.rules.yml", import.meta.url));

const Answer = <A, I>(data: Schema.Schema<A, I>) =>
  Schema.Struct({ status: Schema.Literal("success"), data });

// A quantile of nothing is NaN, which NumberFromString takes for a number as well.
const Vector = Answer(
  Schema.Struct({
    result: Schema.Array(Schema.Struct({ value: Schema.Tuple(Schema.Number, Schema.NumberFromString) })),
  }),
);
const Metadata = Answer(Schema.Array(Schema.Struct({ type: Schema.String, help: Schema.String })));
const Rules = Answer(
  Schema.Struct({
    groups: Schema.Array(
      Schema.Struct({
        rules: Schema.Array(
          Schema.Struct({ name: Schema.String, state: Schema.String, health: Schema.String }),
        ),
      }),
    ),
  }),
);

/** A Prometheus that scrapes this monitoring port each second and evaluates the alerts. */
const scraping = (healthPort: number) =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "prometheus-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    );
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: [rules],
      scrape_configs: [
        { job_name: "load-balancer", static_configs: [{ targets: [`127.0.0.1:${healthPort}`] }] },
      ],
    };
    const file = join(directory, "prometheus.yml");
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(config));
    const launched = yield* Program.launch(
      {},
      {
        cwd: directory,
        command: [
          "prometheus",
          `--config.file=${file}`,
          `--storage.tsdb.path=${join(directory, "data")}`,
          "--web.listen-address=127.0.0.1:0",
        ],
      },
    );
    const port = yield* Program.until(
      Effect.sync(() => /msg="Listening on" address=127\.0\.0\.1:(\d+)/.exec(launched.stderr())?.[1]),
    );
    const api = <A, I>(answer: Schema.Schema<A, I>, path: string) =>
      Effect.map(Program.get(Number(port), `/api/v1/${path}`), ({ body }) =>
        Schema.decodeUnknownSync(answer)(body),
      );
    const query = (expression: string) =>
      Effect.map(api(Vector, `query?query=${encodeURIComponent(expression)}`), ({ data }) =>
        data.result.map(({ value: [, value] }) => value),
      );
    yield* Program.untilTrue(
      Effect.map(
        Effect.promise(() => fetch(`http://127.0.0.1:${port}/-/ready`)),
        ({ ok }) => ok,
      ),
    );
    return {
      /** What a query has as its values now. */
      query,
      /** Waits until a query has exactly one series with this value. */
      says: (expression: string, value: number) =>
        Program.untilTrue(
          Effect.map(query(expression), (values) => values.length === 1 && values[0] === value),
        ),
      /** What it knows of a family. */
      metadata: (family: string) =>
        Effect.map(api(Metadata, `targets/metadata?metric=${family}`), ({ data }) => data),
      alerts: Effect.map(api(Rules, "rules"), ({ data }) => data.groups.flatMap((group) => group.rules)),
    };
  });

for (const transport of Program.transports) {
  describe.skipIf(skipped)(
    `Prometheus and the program on ${transport}${skipped ? ` (${missing.join(", ")} is not installed)` : ""}`,
    () => {
      it.scopedLive("promtool check metrics finds nothing to say", () =>
        Effect.gen(function* () {
          assert.deepStrictEqual(missing, [], "Debian has them in the package prometheus");
          const backend = yield* namedBackend("a");
          const program = yield* Program.start(transport, { BACKENDS: listOf(backend) });
          yield* program.healthy(1);
          assert.strictEqual(yield* ask(program.port), "a");
          const text = yield* Effect.promise(async () =>
            (await fetch(`http://127.0.0.1:${program.healthPort}/metrics`)).text(),
          );
          assert.include(text, "\nlb_connections_opened_total 1\n");
          const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], {
            input: text,
            encoding: "utf8",
            timeout: 120_000,
          });
          assert.deepStrictEqual({ status, stderr, stdout }, { status: 0, stderr: "", stdout: "" });
        }),
      );

      it.scopedLive("a Prometheus learns what is so, and alerts and dashboard find what they ask for", () =>
        Effect.gen(function* () {
          assert.deepStrictEqual(missing, [], "Debian has them in the package prometheus");
          const [first, second] = [yield* namedBackend("a"), yield* restartable("b")];
          const program = yield* Program.start(transport, { BACKENDS: listOf(first, second) });
          yield* program.healthy(2);
          for (let n = 0; n < 4; n++) yield* ask(program.port);
          yield* talk(program.port);
          const prometheus = yield* scraping(program.healthPort);

          yield* prometheus.says("up", 1);
          yield* prometheus.says("lb_backends_healthy", 2);
          yield* prometheus.says("lb_connections_opened_total", 5);
          yield* prometheus.says("lb_connections_open", 1);
          yield* prometheus.says("sum(lb_connections_ended_total)", 4);

          // In OpenMetrics a counter's family is named without _total; in the older format it is with it.
          assert.deepStrictEqual(yield* prometheus.metadata("lb_connections_opened"), [
            { type: "counter", help: "Connections accepted from clients." },
          ]);

          // Two scrapes make a rate. What seldom happens (an end by a time limit, say) has no series before.
          for (const query of Dashboard.queries()) {
            const selected = yield* Effect.forEach(selectors(query), prometheus.query);
            const values = prometheus.query(query);
            if (selected.every((series) => series.length > 0)) {
              yield* Program.untilTrue(Effect.map(values, (found) => found.length > 0));
            } else yield* values;
          }

          yield* second.stop;
          yield* prometheus.says("lb_backends_healthy", 1);
          yield* Program.untilTrue(
            Effect.map(prometheus.alerts, (alerts) => alerts.every(({ health }) => health === "ok")),
          );
          for (const { name, state } of yield* prometheus.alerts) assert.strictEqual(state, "inactive", name);
        }),
      );

      it.scopedLive("an alert begins when the last backend is gone", () =>
        Effect.gen(function* () {
          const backend = yield* restartable("a");
          const program = yield* Program.start(transport, { BACKENDS: listOf(backend) });
          yield* program.healthy(1);
          const prometheus = yield* scraping(program.healthPort);
          yield* prometheus.says("lb_backends_healthy", 1);
          yield* backend.stop;
          // It fires only after a while, which is what promtool tests.
          yield* Program.untilTrue(
            Effect.map(prometheus.alerts, (alerts) =>
              alerts.some(
                ({ name, state }) => name === "LoadBalancerNoHealthyBackend" && state === "pending",
              ),
            ),
          );
        }),
      );
    },
  );
}
