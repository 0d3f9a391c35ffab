import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Context, Effect, Exit, Layer, Logger, LogLevel, Redacted, Scope } from "effect";
import type { Backend } from "../../src/backend/Backend.js";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import * as Monitoring from "../../src/monitoring/Monitoring.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as CapturedLog from "../support/CapturedLog.js";
import { failed, succeeded } from "../support/Observations.js";
import * as OpenSessions from "../support/OpenSessions.js";
import { descriptors, dial, eventually, receive, serve } from "../support/Sockets.js";

/** Monitoring on a free loopback port, over a registry that knows nothing yet. */
const start = Effect.gen(function* () {
  const log = yield* CapturedLog.make;
  const scope = yield* Scope.make();
  const stop = Scope.close(scope, Exit.void);
  yield* Effect.addFinalizer(() => stop);
  const quiet = Layer.merge(log.layer, Logger.remove(Logger.defaultLogger));
  const context = yield* Layer.buildWithScope(
    Monitoring.layerWithoutDependencies({ host: "127.0.0.1", port: 0 }).pipe(
      Layer.provideMerge(
        Layer.merge(Sessions.layer, Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 })),
      ),
      Layer.provide(quiet),
    ),
    scope,
  );
  const { port } = Context.get(context, Monitoring.Monitoring).address;
  const registry = Context.get(context, BackendRegistry);
  const ask = (path: string, init: RequestInit = {}) =>
    Effect.promise(async () => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        ...init,
        signal: AbortSignal.timeout(120_000),
      });
      const text = await answer.text();
      return {
        status: answer.status,
        headers: answer.headers,
        text,
        body: text === "" ? undefined : (JSON.parse(text) as unknown),
      };
    });
  const metrics = Context.get(context, Metrics);
  const sessions = Context.get(context, Sessions.Sessions);
  return { port, registry, metrics, sessions, ask, log, stop };
});

const discover = (registry: typeof BackendRegistry.Service, ...ids: ReadonlyArray<string>) =>
  Effect.map(
    registry.discovered(ids.map((id, n) => ({ id, address: { host: "10.0.0.1", port: 3000 + n } }))),
    ({ added }) => added,
  ).pipe(silently);

const silently = Effect.provide(Logger.remove(Logger.defaultLogger));

const observe = (registry: typeof BackendRegistry.Service, backend: Backend | undefined, well: boolean) =>
  backend === undefined
    ? Effect.dieMessage("there is no such backend")
    : silently(registry.observed(backend, well ? succeeded : failed("refused")));

/** Sends bytes as they are and answers all that comes back. */
const raw = (port: number, text: string | Buffer) =>
  Effect.promise(async () => {
    const socket = connect(port, "127.0.0.1");
    const answer = receive(socket);
    socket.write(text);
    return String((await answer).bytes);
  });

const chunked = (body: string): string =>
  "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" +
  `${body === "" ? "" : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n\r\n`;

/** An answer as it came, in parts. */
const parsed = (answer: string): { readonly status: number; readonly text: string } => {
  const [head = "", text = ""] = answer.split("\r\n\r\n");
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), text };
};

const health = (status: string, total: number, healthy: number) => ({
  status,
  type: "L4",
  algorithm: "round-robin",
  total_backends: total,
  healthy_backends: healthy,
});

describe("Monitoring", () => {
  it.scopedLive("GET /health has exactly five fields, and is 503 where no client is served", () =>
    Effect.gen(function* () {
      const { ask, registry, sessions } = yield* start;
      const is = (status: number, body: unknown) =>
        Effect.map(ask("/health"), (answer) => {
          assert.deepStrictEqual(answer.body, body);
          assert.strictEqual(answer.status, status);
        });
      yield* is(503, health("unhealthy", 0, 0));
      const [a, b] = yield* discover(registry, "a", "b");
      yield* is(503, health("unhealthy", 2, 0));
      yield* observe(registry, a, true);
      yield* is(200, health("degraded", 2, 1));
      yield* observe(registry, b, true);
      yield* is(200, health("healthy", 2, 2));
      yield* observe(registry, a, false);
      yield* is(200, health("degraded", 2, 1));
      yield* sessions.register(OpenSessions.group("draining"));
      yield* is(503, health("draining", 2, 1));
    }),
  );

  it.scopedLive("GET /backends has exactly five fields for each, and null before the first check", () =>
    Effect.gen(function* () {
      const { ask, registry } = yield* start;
      assert.deepStrictEqual((yield* ask("/backends")).body, []);
      const [a] = yield* discover(registry, "a", "b");
      yield* observe(registry, a, true);
      yield* registry.assign({ host: "10.9.9.9" }, []);
      const { body, status } = yield* ask("/backends");
      assert.strictEqual(status, 200);
      const at = (body as ReadonlyArray<{ readonly last_check: string }>)[0]?.last_check; // its contract
      assert.match(String(at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.deepStrictEqual(body, [
        { id: "a", address: "10.0.0.1:3000", healthy: true, connections: 1, last_check: at },
        { id: "b", address: "10.0.0.1:3001", healthy: false, connections: 0, last_check: null },
      ]);
    }),
  );

  it.scopedLive(
    "GET /readyz is 503 before the first list of backends, and while it drains; /livez never",
    () =>
      Effect.gen(function* () {
        const { ask, registry, sessions } = yield* start;
        const is = (status: number, word: string) =>
          Effect.gen(function* () {
            const answer = yield* ask("/readyz");
            const { status: answered, why } = answer.body as {
              readonly status: string;
              readonly why?: string;
            }; // checked
            assert.deepStrictEqual([answer.status, answered], [status, word]);
            assert.strictEqual(why !== undefined && why.length > 10, status === 503);
            assert.deepStrictEqual((yield* ask("/livez")).body, { status: "live" });
          });
        yield* is(503, "starting");
        yield* registry.discoveryFailed("no list of backends yet: discovery fails (unreachable)");
        yield* is(503, "starting");
        assert.include((yield* ask("/readyz")).text, "unreachable");
        yield* registry.discovered([]);
        yield* is(200, "ready");
        yield* sessions.register(OpenSessions.group("draining"));
        yield* is(503, "draining");
      }),
  );

  it.scopedLive("GET /openapi.json describes every path there is", () =>
    Effect.gen(function* () {
      const { ask } = yield* start;
      const { body } = yield* ask("/openapi.json");
      const { openapi, paths } = body as { readonly openapi: string; readonly paths: object }; // checked below
      assert.match(openapi, /^3\.1\./);
      assert.includeMembers(Object.keys(paths), [
        "/health",
        "/backends",
        "/livez",
        "/readyz",
        "/metrics",
        "/status",
        "/events",
        "/backends/{id}/drain",
      ]);
    }),
  );

  it.scopedLive("GET /docs is a page that shows them, and loads nothing from elsewhere", () =>
    Effect.gen(function* () {
      const { port } = yield* start;
      const answer = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/docs`));
      assert.strictEqual(answer.status, 200);
      assert.match(answer.headers.get("content-type") ?? "", /^text\/html/);
      assert.match(answer.headers.get("content-security-policy") ?? "", /^default-src 'none';/);
      assert.include(yield* Effect.promise(() => answer.text()), "/backends/{id}/drain");
    }),
  );

  it.scopedLive("answers HEAD without a body, and does not mind a query", () =>
    Effect.gen(function* () {
      const { ask, registry } = yield* start;
      yield* registry.discovered([]);
      const head = yield* ask("/readyz", { method: "HEAD" });
      assert.deepStrictEqual([head.status, head.text], [200, ""]);
      assert.strictEqual((yield* ask("/readyz?verbose=1&a=/b")).status, 200);
      assert.strictEqual((yield* ask("/readyz")).headers.get("cache-control"), "no-store");
    }),
  );

  it.scopedLive("refuses what it does not answer, shortly and in JSON", () =>
    Effect.gen(function* () {
      const { ask, log, port } = yield* start;
      log.take();
      const refused = (status: number, answer: { readonly status: number; readonly body: unknown }) => {
        assert.strictEqual(answer.status, status);
        const { error } = answer.body as { readonly error: string }; // checked below
        assert.isBelow(error.length, 200);
        assert.isAbove(error.length, 5);
      };
      for (const path of ["/nothing", "//health", "/health/", "/HEALTH", "/..%2f", "/backends/a/explode"]) {
        refused(404, yield* ask(path));
      }
      for (const method of ["POST", "DELETE", "PATCH", "OPTIONS"]) {
        const answer = yield* ask("/health", { method });
        refused(405, answer);
        assert.strictEqual(answer.headers.get("allow"), "GET, HEAD");
        assert.deepStrictEqual(answer.body, { error: "this path takes only GET and HEAD" });
      }
      refused(413, yield* ask("/backends/a/drain", { method: "POST", body: "x".repeat(20_000) }));
      for (const [status, request] of [
        [431, `GET /health HTTP/1.1\r\nhost: x\r\nx: ${"x".repeat(20_000)}\r\n\r\n`],
        [413, chunked("x".repeat(20_000))],
        [400, "GET /health HTTP/1.1\r\n\r\n"],
        [400, "GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"],
        [400, "GET /health HTTP/1.1\r\nhost: a b\r\n\r\n"],
        [400, "POST /backends/%/drain HTTP/1.1\r\nhost: x\r\n\r\n"],
        [400, "POST /backends/%ff/drain HTTP/1.1\r\nhost: x\r\n\r\n"],
        [400, "what is this\r\n\r\n"],
        [400, Buffer.from("16030100c8010000c40303", "hex")],
        [404, "GET http://x/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"],
        [405, "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"],
        [417, "GET /health HTTP/1.1\r\nhost: x\r\nexpect: the worst\r\n\r\n"],
      ] as const) {
        const { status: answered, text } = parsed(yield* raw(port, request));
        refused(status, { status: answered, body: JSON.parse(text) });
      }
      assert.strictEqual((yield* ask("/livez")).status, 200);
      assert.deepStrictEqual(log.take(LogLevel.Warning), []);
    }),
  );

  it.scopedLive("answers a request that offers an upgrade as if it did not", () =>
    Effect.gen(function* () {
      const { port, registry } = yield* start;
      yield* registry.discovered([]);
      for (const protocol of ["h2c", "websocket", "TLS/1.2, HTTP/1.1"]) {
        const answer = yield* raw(
          port,
          `GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: ${protocol}\r\n\r\n`,
        );
        assert.deepInclude(parsed(answer), { status: 200, text: '{"status":"ready"}' });
      }
    }),
  );

  it.scopedLive("answers a target that is a whole URI as it answers its path", () =>
    Effect.gen(function* () {
      const { port, registry } = yield* start;
      yield* registry.discovered([]);
      for (const target of [
        "http://lb.internal:8083/readyz",
        "HTTP://x/readyz?verbose=1",
        "https://[::1]/readyz",
      ]) {
        const answer = yield* raw(port, `GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
        assert.strictEqual(parsed(answer).status, 200, target);
      }
    }),
  );

  it.scopedLive("reads a small body that nobody needs, in chunks or not", () =>
    Effect.gen(function* () {
      const { port, registry } = yield* start;
      yield* registry.discovered([]);
      for (const request of [
        chunked(""),
        chunked("a few bytes"),
        "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab",
        "GET /readyz HTTP/1.0\r\n\r\n",
      ]) {
        assert.strictEqual(parsed(yield* raw(port, request)).status, 200, request);
      }
    }),
  );

  it.scopedLive("cuts off a request that does not arrive in time", () =>
    Effect.gen(function* () {
      const { port } = yield* start;
      const answer = yield* raw(port, "GET /health HTTP/1.1\r\nhost:");
      assert.match(answer, /^HTTP\/1\.1 408 /);
    }),
  );

  it.scopedLive(
    "ends with clients that are idle, half through a request or do not read, and leaves nothing",
    () =>
      Effect.gen(function* () {
        const before = descriptors();
        const { port, stop } = yield* start;
        const clients: Array<Socket> = [];
        for (const text of [
          "",
          "GET /health HTTP/1.1\r\nhost: x\r\n\r\n",
          "GET /health HTTP/1.1\r\nhost:",
          "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000),
          "GET /events HTTP/1.1\r\nhost: x\r\n\r\n",
        ]) {
          const client = yield* dial(port);
          client.write(text);
          clients.push(client);
        }
        yield* Effect.promise(() => once(clients[1] as Socket, "readable"));
        yield* stop;
        for (const client of clients) client.destroy();
        yield* eventually(() => descriptors() <= before);
      }),
  );

  it.scopedLive("lives on when a client goes away in the middle of its answer", () =>
    Effect.gen(function* () {
      const { ask, port } = yield* start;
      for (let n = 0; n < 20; n++) {
        const client = yield* dial(port);
        client.write("GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50));
        client.resetAndDestroy();
      }
      assert.strictEqual((yield* ask("/livez")).status, 200);
    }),
  );

  it.scopedLive("says which port is taken", () =>
    Effect.gen(function* () {
      const { port } = yield* serve(() => {});
      const error = yield* Effect.flip(
        Effect.scoped(
          Layer.build(
            Monitoring.layer({ host: "127.0.0.1", port }).pipe(
              Layer.provide(Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 })),
            ),
          ),
        ),
      );
      assert.propertyVal(error, "reason", "in-use");
      assert.include(error.message, `127.0.0.1:${port}`);
    }),
  );

  it.scopedLive("answers 500 and logs the cause when an answer fails by a bug, and lives on", () =>
    Effect.gen(function* () {
      const { ask, log, metrics, registry } = yield* start;
      const [a] = yield* discover(registry, "a");
      const { backends } = metrics;
      const broken = backends.get(a?.key ?? "");
      if (broken === undefined) return assert.fail("the backend has no metrics");
      Object.defineProperty(broken, "bytesEnded", {
        get: () => {
          throw new Error("out of order");
        },
      });
      const answer = yield* ask("/status");
      assert.strictEqual(answer.status, 500);
      assert.deepStrictEqual(answer.body, { error: "internal error" });
      const [line] = log.lines.filter(({ level }) => level === "ERROR");
      assert.include(line?.text, "out of order");
      assert.strictEqual((yield* ask("/livez")).status, 200);
    }),
  );

  it.scopedLive("refuses options that cannot be used, before it listens", () =>
    Effect.gen(function* () {
      const start = (options: Partial<Monitoring.Options>) =>
        Monitoring.layer({ host: "127.0.0.1", port: 0, ...options }).pipe(
          Layer.provide(Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 })),
          Layer.build,
          Effect.scoped,
          Effect.flip,
        );
      for (const [option, options] of [
        ["host", { host: "localhost" }],
        ["port", { port: 70_000 }],
        ["adminToken", { adminToken: Redacted.make("") }],
        ["adminToken", { adminToken: Redacted.make("fifteen letters") }],
      ] as const) {
        assert.deepInclude(yield* start(options), { _tag: "InvalidOption", option });
      }
    }),
  );
});
