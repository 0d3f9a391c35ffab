import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import * as Ports from "../support/Ports.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";

interface Attribute {
  readonly key: string;
  readonly value: {
    readonly stringValue?: string;
    readonly intValue?: number;
    readonly doubleValue?: number;
  };
}

/** What of OTLP is looked at here. */
interface Body {
  readonly resourceLogs?: ReadonlyArray<{
    readonly scopeLogs: ReadonlyArray<{
      readonly logRecords: ReadonlyArray<{
        readonly body: Attribute["value"];
        readonly attributes: ReadonlyArray<Attribute>;
      }>;
    }>;
  }>;
  readonly resourceMetrics?: ReadonlyArray<{
    readonly resource: { readonly attributes: ReadonlyArray<Attribute> };
    readonly scopeMetrics: ReadonlyArray<{ readonly metrics: ReadonlyArray<Metric> }>;
  }>;
  readonly resourceSpans?: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }>;
  }>;
}

interface Point {
  readonly attributes: ReadonlyArray<Attribute>;
  readonly asDouble?: number;
  readonly count?: number;
  readonly bucketCounts?: ReadonlyArray<number>;
  readonly explicitBounds?: ReadonlyArray<number>;
}

interface Metric {
  readonly name: string;
  readonly sum?: { readonly dataPoints: ReadonlyArray<Point> };
  readonly gauge?: { readonly dataPoints: ReadonlyArray<Point> };
  readonly histogram?: { readonly dataPoints: ReadonlyArray<Point> };
}

interface Span {
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: ReadonlyArray<Attribute>;
  readonly status: { readonly code: number };
}

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Body;
}

const attribute = (attributes: ReadonlyArray<Attribute>, key: string): unknown => {
  const value = attributes.find((each) => each.key === key)?.value;
  return value === undefined ? undefined : Object.values(value)[0];
};

/** An OpenTelemetry collector that keeps what it is sent. */
const collector = (answer: (response: ServerResponse) => void = (response) => response.end("{}")) =>
  Effect.gen(function* () {
    const received: Array<Received> = [];
    const server = createServer((request, response) => {
      let text = "";
      request.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      request.on("end", () => {
        received.push({ path: request.url ?? "", headers: request.headers, body: JSON.parse(text) });
        answer(response);
      });
    }).listen(0, "127.0.0.1");
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        server.close();
        server.closeAllConnections();
      }),
    );
    yield* Effect.promise(() => once(server, "listening"));
    const { port } = server.address() as AddressInfo; // it listens on a port
    return {
      url: `http://127.0.0.1:${port}`,
      received,
      logs: () =>
        received.flatMap(({ body }) =>
          (body.resourceLogs ?? []).flatMap(({ scopeLogs }) =>
            scopeLogs.flatMap(({ logRecords }) => logRecords),
          ),
        ),
      spans: () =>
        received.flatMap(({ body }) =>
          (body.resourceSpans ?? []).flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
        ),
      /** The metrics that were sent last. */
      metrics: () =>
        received
          .flatMap(({ body }) => body.resourceMetrics ?? [])
          .at(-1)
          ?.scopeMetrics.flatMap(({ metrics }) => metrics) ?? [],
    };
  });

const ending = (program: Program.Program) => Effect.zipRight(program.signal("SIGTERM"), program.ended);

describe("OpenTelemetry", () => {
  it.scopedLive("is sent log, metrics and a span for each connection", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { logs, metrics, received, spans, url } = yield* collector();
      const program = yield* Program.start("node", {
        BACKENDS: listOf(backend),
        ACCESS_LOG: "all",
        OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/`,
        OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%20secret",
        OTEL_SERVICE_NAME: "edge",
        OTEL_TRACES_SAMPLER_ARG: "1",
      });
      yield* program.healthy(1);
      const before = Date.now();
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* ask(program.port), "a");
      assert.deepStrictEqual(yield* ending(program), { code: 0, signal: null });

      assert.sameMembers(
        [...new Set(received.map(({ path }) => path))],
        ["/v1/logs", "/v1/metrics", "/v1/traces"],
      );
      for (const { headers } of received) assert.strictEqual(headers["x-key"], "a secret");
      assert.notInclude(program.stdout(), "secret");

      assert.lengthOf(spans(), 3);
      for (const span of spans()) {
        assert.strictEqual(span.name, "connection");
        assert.strictEqual(attribute(span.attributes, "server.port"), backend.port);
        assert.strictEqual(attribute(span.attributes, "client.address"), "127.0.0.1");
        assert.match(String(attribute(span.attributes, "lb.code")), /^(client|backend)\/relaying$/);
        assert.isAbove(Number(attribute(span.attributes, "lb.sent")), 0);
        const [start, end] = [Number(span.startTimeUnixNano) / 1e6, Number(span.endTimeUnixNano) / 1e6];
        assert.isAtLeast(start, before - 1);
        assert.isAtLeast(end, start);
        assert.isAtMost(end, Date.now() + 1);
      }

      const told = logs().filter(({ body }) => body.stringValue === "connection");
      assert.lengthOf(told, 3);
      // What is sent is also written.
      assert.lengthOf(program.logged("connection"), 3);

      const found = new Map(metrics().map((metric) => [metric.name, metric]));
      assert.strictEqual(found.get("lb_connections_opened")?.sum?.dataPoints[0]?.asDouble, 3);
      assert.strictEqual(found.get("lb_connections_open")?.gauge?.dataPoints[0]?.asDouble, 0);
      for (const name of ["lb_log_lines_dropped", "lb_transport_faults"]) {
        assert.strictEqual(found.get(name)?.sum?.dataPoints[0]?.asDouble, 0, name);
      }
      const duration = found.get("lb_connection_duration_seconds")?.histogram?.dataPoints[0];
      assert.strictEqual(duration?.count, 3);
      assert.strictEqual(
        duration?.bucketCounts?.reduce((sum, count) => sum + count, 0),
        3,
      );
      assert.lengthOf(duration?.bucketCounts ?? [], (duration?.explicitBounds?.length ?? 0) + 1);
      const resource =
        received.flatMap(({ body }) => body.resourceMetrics ?? [])[0]?.resource.attributes ?? [];
      assert.strictEqual(attribute(resource, "service.name"), "edge");
    }),
  );

  it.scopedLive(
    "is sent failed spans of connections that did not end in order, and none where none are wanted",
    () =>
      Effect.gen(function* () {
        const closed = yield* Ports.unused;
        for (const [ratio, count] of [
          ["1", 1],
          ["0", 0],
        ] as const) {
          const { received, spans, url } = yield* collector();
          const program = yield* Program.start("node", {
            BACKENDS: `127.0.0.1:${closed}`,
            OTEL_EXPORTER_OTLP_ENDPOINT: url,
            OTEL_TRACES_SAMPLER_ARG: ratio,
          });
          yield* Effect.exit(ask(program.port));
          yield* ending(program);
          assert.isNotEmpty(received);
          assert.lengthOf(spans(), count);
          for (const { attributes, status } of spans()) {
            assert.strictEqual(status.code, 2, "STATUS_CODE_ERROR");
            assert.strictEqual(attribute(attributes, "lb.code"), "no-backend/choosing");
          }
        }
      }),
  );

  for (const [what, answer] of [
    ["never answers", () => {}],
    ["answers with an error", (response: ServerResponse) => response.writeHead(500).end()],
    ["hangs up", (response: ServerResponse) => response.destroy()],
  ] as const) {
    it.scopedLive(`a collector that ${what} harms nobody`, () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const { url } = yield* collector(answer);
        const program = yield* Program.start("node", {
          BACKENDS: listOf(backend),
          ACCESS_LOG: "all",
          OTEL_EXPORTER_OTLP_ENDPOINT: url,
          OTEL_TRACES_SAMPLER_ARG: "1",
        });
        yield* program.healthy(1);
        for (let i = 0; i < 20; i++) assert.strictEqual(yield* ask(program.port), "a");
        assert.deepStrictEqual(yield* ending(program), { code: 0, signal: null });
        assert.lengthOf(program.logged("connection"), 20);
      }),
    );
  }

  it.scopedLive("is not loaded where no collector is set", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { url } = yield* collector();
      const folder = yield* Real.folder;
      // Tells of every module that is loaded.
      const hooks = join(folder, "hooks.mjs");
      writeFileSync(
        hooks,
        `export const load = (url, context, next) => { process._rawDebug("loaded " + url); return next(url, context); };`,
      );
      const register = join(folder, "register.mjs");
      writeFileSync(
        register,
        `import { register } from "node:module"; register(${JSON.stringify(pathToFileURL(hooks).href)});`,
      );
      const command = [process.execPath, "--import", register, Program.executable] as const;
      const loaded = (environment: Readonly<Record<string, string>>) =>
        Effect.scoped(
          Effect.gen(function* () {
            const program = yield* Program.start(
              "node",
              { BACKENDS: listOf(backend), ...environment },
              { command },
            );
            yield* ending(program);
            // The packages for telemetry are bundled into the modules that need them.
            return [
              "/node_modules/effect/",
              "/dist/telemetry/Otlp.js",
              "/dist/telemetry/OtlpMetrics.js",
            ].filter((part) => program.stderr().includes(part));
          }),
        );
      assert.deepStrictEqual(yield* loaded({}), ["/node_modules/effect/"]);
      assert.deepStrictEqual(yield* loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: url }), [
        "/node_modules/effect/",
        "/dist/telemetry/Otlp.js",
        "/dist/telemetry/OtlpMetrics.js",
      ]);
    }),
  );
});
