import { FetchHttpClient } from "@effect/platform";
import { assert, describe, it } from "@effect/vitest";
import {
  Chunk,
  Context,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Redacted,
  Schema,
  Scope,
  Stream,
} from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import { longestId } from "../../src/backend/Listing.js";
import * as Pool from "../../src/backend/Pool.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics, values } from "../../src/metrics/Metrics.js";
import {
  Connections,
  Event,
  InvalidRequest,
  NotServing,
  Status,
  SteeredBackend,
  Unauthorized,
  UnknownBackend,
  UnknownConnection,
} from "../../src/monitoring/Api.js";
import * as Monitoring from "../../src/monitoring/Monitoring.js";
import * as MonitoringClient from "../../src/monitoring/MonitoringClient.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as CapturedLog from "../support/CapturedLog.js";
import { failed, succeeded } from "../support/Observations.js";
import * as OpenSessions from "../support/OpenSessions.js";

/** No connection was refused, for any reason. */
const noneRefused = Object.fromEntries(values.refused.map((reason) => [reason, 0]));

const secret = "correct-horse-battery";

/** Monitoring on a free port, over a registry of two backends that are up. */
const start = (adminToken?: string) =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const scope = yield* Scope.make();
    const stop = Scope.close(scope, Exit.void);
    yield* Effect.addFinalizer(() => stop);
    const context = yield* Layer.buildWithScope(
      Monitoring.layerWithoutDependencies({
        host: "127.0.0.1",
        port: 0,
        build: { version: "1.2.3", transport: "test" },
        linesDropped: () => 3,
        transportFaults: () => 2,
        dataThreads: () => [
          {
            name: "first",
            connections: 3,
            cpuSeconds: 1.5,
            phase: "relaying",
            responsive: true,
            silentSeconds: 0,
            silences: 2,
            turns: 40,
            waits: 30,
            orders: 1,
            reports: 4,
          },
          {
            name: "second",
            connections: 2,
            cpuSeconds: undefined,
            phase: "orders",
            responsive: false,
            silentSeconds: 6.5,
            silences: 1,
            turns: 20,
            waits: 10,
            orders: 0,
            reports: 0,
          },
        ],
        stateFile: () => ({
          file: "/var/lib/balancer/state.json",
          loaded: { written: Date.parse("2025-12-31T22:00:00.000Z"), backends: 2, choices: 0 },
          written: undefined,
          error: "ENOSPC: no space left on device",
        }),
        adminToken: adminToken === undefined ? undefined : Redacted.make(adminToken),
      }).pipe(
        Layer.provideMerge(
          Layer.merge(Sessions.layer, Registry.layer({ algorithm: roundRobin, rise: 2, fall: 3 })),
        ),
        Layer.provide([log.layer, Logger.remove(Logger.defaultLogger)]),
      ),
      scope,
    );
    const registry = Context.get(context, BackendRegistry);
    const { added } = yield* registry.discovered(
      ["a", "b b"].map((id) => ({ id, address: { host: "10.0.0.1", port: id.length } })),
    );
    for (const backend of added) yield* registry.observed(backend, succeeded);
    const origin = `http://127.0.0.1:${Context.get(context, Monitoring.Monitoring).address.port}`;
    const metrics = Context.get(context, Metrics);
    const sessions = Context.get(context, Sessions.Sessions);
    return { origin, registry, metrics, sessions, log, stop };
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)));

const Fields = Schema.Record({ key: Schema.String, value: Schema.Unknown });

const statusOf = (origin: string) =>
  Effect.map(ask(`${origin}/status`), ({ body }) => Schema.decodeUnknownSync(Status)(body));

const metricsOf = (origin: string) => Effect.promise(async () => (await fetch(`${origin}/metrics`)).text());

const ask = (url: string, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(120_000) });
    const body = Schema.decodeUnknownSync(Fields)(await response.json());
    return { status: response.status, headers: response.headers, body };
  });

const post = (url: string, token?: string, body?: string) =>
  ask(url, {
    method: "POST",
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body }),
  });

/** Asks for another weight of the second backend. */
const weigh = (origin: string, body: string) => post(`${origin}/backends/b%20b/weight`, secret, body);

const quiet = Effect.provide(Logger.remove(Logger.defaultLogger));

interface Message {
  readonly name: string;
  readonly data: unknown;
}

/** A viewer's connection, message by message. */
const watch = (origin: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const abort = new AbortController();
      const response = await fetch(`${origin}/events`, { signal: abort.signal });
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      const next = async (): Promise<Message | undefined> => {
        for (;;) {
          const end = text.indexOf("\n\n");
          if (end !== -1) {
            const found = /^event: (\w+)\ndata: (.*)$/.exec(text.slice(0, end));
            text = text.slice(end + 2);
            return { name: found?.[1] ?? "", data: JSON.parse(found?.[2] ?? "null") };
          }
          const chunk = await reader?.read();
          if (chunk === undefined || chunk.done) return undefined;
          text += chunk.value;
        }
      };
      return { next, abort };
    }),
    ({ abort }) => Effect.sync(() => abort.abort()),
  );

/** Reads on to the first message for which this is so. */
const until = (
  viewer: { readonly next: () => Promise<Message | undefined> },
  so: (message: Message) => boolean,
) =>
  Effect.promise(async () => {
    for (;;) {
      const message = await viewer.next();
      if (message === undefined) return assert.fail("the stream has ended");
      if (so(message)) return message;
    }
  });

const kindOf = ({ data, name }: Message): unknown =>
  name === "event" && typeof data === "object" && data !== null && "kind" in data ? data.kind : undefined;

describe("steering", () => {
  it.scopedLive("by a name steers all its addresses, and answers every one", () =>
    Effect.gen(function* () {
      const { origin, registry } = yield* start(secret);
      const at = (host: string) => ({ id: `web:80@${host}`, name: "web:80", address: { host, port: 80 } });
      yield* registry.discovered([at("10.0.0.8"), at("10.0.0.9")]);
      const { body, status } = yield* post(`${origin}/backends/web:80/drain`, secret);
      assert.strictEqual(status, 200);
      const { address, admin, others } = yield* Schema.decodeUnknown(SteeredBackend)(body);
      assert.deepStrictEqual([address, admin], ["10.0.0.8:80", "draining"]);
      assert.deepStrictEqual(
        others.map((other) => [other.address, other.admin]),
        [["10.0.0.9:80", "draining"]],
      );
    }),
  );

  it.scopedLive("steers by an id of any length that can be listed, and knows none that is longer", () =>
    Effect.gen(function* () {
      const { log, origin, registry } = yield* start(secret);
      for (const id of ["x".repeat(101), "é".repeat(longestId)]) {
        yield* registry.discovered([{ id, address: { host: "10.0.0.8", port: 80 } }]);
        const { body, status } = yield* post(`${origin}/backends/${encodeURIComponent(id)}/drain`, secret);
        assert.deepStrictEqual([status, body["id"], body["admin"]], [200, id, "draining"]);
      }
      log.take();
      const { body, status } = yield* post(`${origin}/backends/${"y".repeat(5_000)}/drain`, secret);
      assert.deepStrictEqual([status, body["reason"]], [404, "unknown-backend"]);
      assert.isBelow(String(body["error"]).length, 200);
      assert.deepStrictEqual(log.take(LogLevel.Warning), []);
    }),
  );

  it.scopedLive("is off without ADMIN_TOKEN, and says how to turn it on", () =>
    Effect.gen(function* () {
      const { origin } = yield* start();
      for (const token of [undefined, secret]) {
        const { body, status } = yield* post(`${origin}/backends/a/drain`, token);
        assert.strictEqual(status, 403);
        assert.strictEqual(body["reason"], "steering-off");
        assert.include(String(body["error"]), "ADMIN_TOKEN");
      }
      assert.strictEqual((yield* ask(`${origin}/health`)).body["healthy_backends"], 2);
    }),
  );

  it.scopedLive("refuses a wrong token and none, changes nothing, and leaves a trace", () =>
    Effect.gen(function* () {
      const { log, origin } = yield* start(secret);
      log.take();
      const tokens = [undefined, "", "x", `${secret}x`, secret.slice(1), secret.toUpperCase()];
      yield* Effect.forEach(
        tokens,
        (token) =>
          Effect.map(post(`${origin}/backends/a/disable`, token), ({ body, headers, status }) => {
            assert.strictEqual(status, 401, token);
            assert.strictEqual(headers.get("www-authenticate"), "Bearer");
            assert.strictEqual(body["reason"], "unauthorized");
          }),
        { concurrency: "unbounded", discard: true },
      );
      assert.deepStrictEqual(
        log.take(LogLevel.Warning).map(({ annotations, message }) => [message, annotations["client"]]),
        [["steering refused: the token is wrong", "127.0.0.1"]],
      );
      assert.include(yield* metricsOf(origin), `lb_steering_refused_total ${tokens.length}\n`);
      assert.strictEqual((yield* ask(`${origin}/health`)).body["healthy_backends"], 2);
      for (const { text } of log.lines) assert.notInclude(text, secret);
    }),
  );

  it.scopedLive("takes the right token behind several spaces", () =>
    Effect.gen(function* () {
      const { origin } = yield* start(secret);
      for (const spaces of ["", " ", "    "]) {
        const { status } = yield* post(`${origin}/backends/a/drain`, `${spaces}${secret}`);
        assert.strictEqual(status, 200, `${spaces.length + 1} spaces`);
      }
    }),
  );

  it.scopedLive("drains, disables and enables, shows it, and logs who asked", () =>
    Effect.gen(function* () {
      const { log, origin } = yield* start(secret);
      for (const [path, admin, healthy] of [
        ["drain", "draining", 1],
        ["disable", "disabled", 1],
        ["enable", "enabled", 2],
      ] as const) {
        log.take();
        const { body, status } = yield* post(`${origin}/backends/b%20b/${path}`, secret);
        assert.strictEqual(status, 200);
        assert.strictEqual(body["admin"], admin);
        assert.strictEqual((yield* ask(`${origin}/health`)).body["healthy_backends"], healthy);
        const shown = (yield* statusOf(origin)).backends;
        assert.deepStrictEqual(
          shown.map(({ admin, id, steered_by }) => [id, admin, steered_by]),
          [
            ["a", "enabled", null],
            ["b b", admin, admin === "enabled" ? null : "127.0.0.1"],
          ],
        );
        const text = yield* metricsOf(origin);
        assert.include(text, 'lb_backend_steered{backend="a",address="10.0.0.1:1"} 0\n');
        const steered = admin === "enabled" ? 0 : 1;
        assert.include(text, `lb_backend_steered{backend="b b",address="10.0.0.1:3"} ${steered}\n`);
        assert.include(text, `lb_backend_up{backend="b b",address="10.0.0.1:3"} ${1 - steered}\n`);
        const [line] = log.take();
        assert.strictEqual(line?.message, `backend is ${admin}`);
        assert.strictEqual(line?.annotations["by"], "127.0.0.1");
      }
    }),
  );

  it.scopedLive("gives a backend another weight, shows it and who chose it, logs it, and gives it back", () =>
    Effect.gen(function* () {
      const { log, origin } = yield* start(secret);
      const shown = Effect.map(statusOf(origin), ({ backends }) =>
        backends.map(({ listed_weight, weight, weighed_by }) => [weight, listed_weight, weighed_by]),
      );
      log.take();
      const { body, status } = yield* weigh(origin, '{"weight": 2}');
      assert.deepStrictEqual([status, body["id"], body["weight"]], [200, "b b", 2]);
      assert.deepStrictEqual(yield* shown, [
        [1, 1, null],
        [2, 1, "127.0.0.1"],
      ]);
      const since = (yield* statusOf(origin)).backends[1]?.weighed_since;
      assert.approximately(Date.parse(since ?? ""), Date.now(), 600_000);
      yield* weigh(origin, '{"weight": 2}');
      assert.strictEqual((yield* statusOf(origin)).backends[1]?.weighed_since, since, "the same again");
      yield* weigh(origin, '{"weight": 0}');
      assert.strictEqual((yield* ask(`${origin}/health`)).body["healthy_backends"], 1);
      assert.strictEqual((yield* weigh(origin, '{"weight": null}')).body["weight"], 1);
      assert.deepStrictEqual(yield* shown, [
        [1, 1, null],
        [1, 1, null],
      ]);
      assert.deepStrictEqual(
        log.take().map(({ annotations, message }) => [message, annotations["weight"], annotations["by"]]),
        [
          ["backend's weight is chosen", 2, "127.0.0.1"],
          ["backend's weight is chosen", 2, "127.0.0.1"],
          ["backend's weight is chosen", 0, "127.0.0.1"],
          ["backend has its listed weight", 1, "127.0.0.1"],
        ],
      );
    }),
  );

  it.scopedLive("refuses a body that has no right weight, says what is accepted, and changes nothing", () =>
    Effect.gen(function* () {
      const { origin } = yield* start(secret);
      for (const wrong of ["-1", "257", "1.5", '"2"', "[]", "true", "1e9"]) {
        const { body, status } = yield* weigh(origin, `{"weight": ${wrong}}`);
        assert.deepStrictEqual([status, body["reason"]], [400, "invalid-request"], wrong);
        assert.include(String(body["error"]), `weight ${JSON.stringify(JSON.parse(wrong))}: accepted: `);
        assert.include(String(body["error"]), "0 to 256, or null");
      }
      for (const wrong of [
        "",
        "weight=2",
        '{"weight": 2',
        "2",
        "null",
        '{"Weight": 2}',
        "\u00ff",
        "[".repeat(9_000),
      ]) {
        const { body, status } = yield* weigh(origin, wrong);
        assert.deepStrictEqual([status, body["reason"]], [400, "invalid-request"], wrong);
        assert.include(String(body["error"]), '{"weight": 2}');
      }
      assert.strictEqual((yield* weigh(origin, `{"weight": 2}${" ".repeat(16_384 - 13)}`)).status, 200);
      assert.strictEqual((yield* weigh(origin, `{"weight": 3}${" ".repeat(16_385 - 13)}`)).status, 413);
      assert.deepInclude((yield* statusOf(origin)).backends[1], { weight: 2 });
      const unknown = yield* post(`${origin}/backends/c/weight`, secret, '{"weight": 2}');
      assert.deepStrictEqual([unknown.status, unknown.body["reason"]], [404, "unknown-backend"]);
      assert.strictEqual((yield* post(`${origin}/backends/a/weight`, "x", '{"weight": 2}')).status, 401);
      const closed = yield* start();
      assert.strictEqual(
        (yield* post(`${closed.origin}/backends/a/weight`, secret, '{"weight": 2}')).status,
        403,
      );
      assert.strictEqual((yield* post(`${closed.origin}/backends/a/weight`, secret)).status, 403);
    }),
  );

  it.scopedLive("knows no backend that is not listed", () =>
    Effect.gen(function* () {
      const { origin } = yield* start(secret);
      const { body, status } = yield* post(`${origin}/backends/c/drain`, secret);
      assert.strictEqual(status, 404);
      assert.strictEqual(body["reason"], "unknown-backend");
      assert.include(String(body["error"]), '"c"');
      assert.strictEqual((yield* ask(`${origin}/backends/a/drain`)).status, 405);
    }),
  );
});

describe("open connections", () => {
  const session = (id: number): Sessions.SampledSession => ({
    id,
    client: { host: "2001:db8::1", port: 5 },
    backend: undefined,
    ageMillis: 1_500,
    received: 10,
    sent: 20,
    phase: "choosing",
    receivedPerSecond: 3.4,
    sentPerSecond: 0,
    idleMillis: id === 1 ? undefined : 250,
  });

  /** A listener with two of them, which tells what it was asked for. */
  const listener = () => {
    const asked: Array<Sessions.Selection> = [];
    const cut: Array<number> = [];
    const group: Sessions.Group = {
      ...OpenSessions.group("listening"),
      size: 2,
      sample: (selection) =>
        Effect.sync(() => {
          asked.push(selection);
          return [session(2), session(1)];
        }),
      cut: (id) =>
        Effect.sync(() => {
          cut.push(id);
          return id === 2 ? session(id) : undefined;
        }),
    };
    return { asked, cut, group };
  };
  const steer = (method: string, url: string, token = secret) =>
    ask(url, { method, headers: { authorization: `Bearer ${token}` } });

  it.scopedLive("are listed as asked for, with what they carry", () =>
    Effect.gen(function* () {
      const { origin, sessions } = yield* start(secret);
      const { asked, group } = listener();
      yield* sessions.register(group);
      const { body, status } = yield* steer("GET", `${origin}/connections`);
      assert.strictEqual(status, 200);
      const { connections, now, open } = yield* Schema.decodeUnknown(Connections)(body);
      assert.strictEqual(open, 2);
      const first: (typeof connections)[number] = {
        id: 1,
        client: "[2001:db8::1]:5",
        backend: null,
        phase: "choosing",
        accepted: new Date(Date.parse(now) - 1_500).toISOString(),
        age_seconds: 1.5,
        received: 10,
        sent: 20,
        received_per_second: 3,
        sent_per_second: 0,
        idle_seconds: null,
      };
      assert.deepStrictEqual(connections, [first, { ...first, id: 2, idle_seconds: 0.25 }]);
      const newest = yield* steer("GET", `${origin}/connections?order=newest&limit=1&backend=b%20b`);
      assert.deepStrictEqual(
        (yield* Schema.decodeUnknown(Connections)(newest.body)).connections.map(({ id }) => id),
        [2],
      );
      yield* steer("GET", `${origin}/connections?order=busiest&limit=1000&client=10.0.0.0/8,::1`);
      assert.deepStrictEqual(
        asked.map(({ backend, client, limit, order }) => [
          [order, limit, backend],
          ["10.1.2.3", "::1", "11.0.0.1"].map((host) => client?.(host)),
        ]),
        [
          [
            ["longest", 20, undefined],
            [undefined, undefined, undefined],
          ],
          [
            ["newest", 1, "b b"],
            [undefined, undefined, undefined],
          ],
          [
            ["busiest", 1_000, undefined],
            [true, true, false],
          ],
        ],
      );
    }),
  );

  it.scopedLive("are not listed for who asks wrongly, or may not", () =>
    Effect.gen(function* () {
      const { origin, sessions } = yield* start(secret);
      const { asked, group } = listener();
      yield* sessions.register(group);
      for (const [query, why] of [
        ["order=fastest", "order fastest: accepted: longest, busiest, newest"],
        ["limit=0", "limit 0: accepted: a whole number from 1 to 1000"],
        ["limit=1001", "limit 1001: accepted: a whole number from 1 to 1000"],
        ["limit=1e2", "limit 1e2: accepted: a whole number from 1 to 1000"],
        ["limit=", "limit : accepted: a whole number from 1 to 1000"],
        ["client=me", 'client "me": it is not an IP address'],
        ["order=newest&order=newest", "order is there 2 times: accepted: once"],
        ["client=::1&client=::1&client=::2", "client is there 3 times: accepted: once"],
      ] as const) {
        const { body, status } = yield* steer("GET", `${origin}/connections?${query}`);
        assert.deepStrictEqual([status, body["reason"]], [400, "invalid-request"], query);
        assert.include(String(body["error"]), why);
      }
      assert.strictEqual((yield* steer("GET", `${origin}/connections`, "x")).status, 401);
      const closed = yield* start();
      yield* closed.sessions.register(group);
      assert.strictEqual((yield* steer("GET", `${closed.origin}/connections`)).status, 403);
      assert.isEmpty(asked);
    }),
  );

  it.scopedLive("are cut one by one, and it is logged who did that, and told to who watches", () =>
    Effect.gen(function* () {
      const { log, origin, sessions } = yield* start(secret);
      const { cut, group } = listener();
      const viewer = yield* watch(origin);
      yield* sessions.register(group);
      log.take();
      const { body, status } = yield* steer("DELETE", `${origin}/connections/2`);
      assert.deepStrictEqual([status, body["id"], body["client"]], [200, 2, "[2001:db8::1]:5"]);
      assert.deepStrictEqual(
        log.take().map(({ annotations, message }) => [message, annotations["connection"], annotations["by"]]),
        [["connection is cut", 2, "127.0.0.1"]],
      );
      const { data } = yield* until(viewer, (message) => kindOf(message) === "cut");
      const event = yield* Schema.decodeUnknown(Event)(data);
      assert.deepInclude(event, { kind: "cut", detail: "connection 2 by 127.0.0.1" });
      // Who watches needs no token, and is told of no client.
      assert.notInclude(JSON.stringify(data), "2001:db8::1");
      for (const id of ["3", "-2", "2x", "0x2", "2.0", "%20", "9".repeat(40)]) {
        const { body, status } = yield* steer("DELETE", `${origin}/connections/${id}`);
        assert.deepStrictEqual([status, body["reason"]], [404, "unknown-connection"], id);
      }
      assert.strictEqual((yield* steer("DELETE", `${origin}/connections/2`, "x")).status, 401);
      const closed = yield* start();
      yield* closed.sessions.register(group);
      assert.strictEqual((yield* steer("DELETE", `${closed.origin}/connections/2`)).status, 403);
      assert.deepStrictEqual(cut, [2, 3]);
    }),
  );

  it.scopedLive("are listed and cut by the client, with types", () =>
    Effect.gen(function* () {
      const { origin, sessions } = yield* start(secret);
      yield* sessions.register(listener().group);
      const { steering } = yield* MonitoringClient.make({ url: origin, adminToken: Redacted.make(secret) });
      const { connections } = yield* steering.connections({ urlParams: { order: "newest", limit: "2" } });
      assert.deepStrictEqual(
        connections.map(({ id }) => id),
        [2, 1],
      );
      const wrong = yield* Effect.flip(steering.connections({ urlParams: { limit: "0" } }));
      assert.instanceOf(wrong, InvalidRequest);
      assert.strictEqual((yield* steering.cut({ path: { id: "2" } })).id, 2);
      assert.instanceOf(yield* Effect.flip(steering.cut({ path: { id: "3" } })), UnknownConnection);
    }).pipe(Effect.provide(FetchHttpClient.layer)),
  );
});

describe("the client", () => {
  it.scopedLive("asks and steers with types, and fails with the server's own errors", () =>
    Effect.gen(function* () {
      const { origin } = yield* start(secret);
      const client = yield* MonitoringClient.make({ url: origin, adminToken: Redacted.make(secret) });
      assert.strictEqual((yield* client.health()).status, "healthy");
      assert.strictEqual((yield* client.steering.drain({ path: { id: "b b" } })).admin, "draining");
      assert.strictEqual((yield* client.live.status()).healthy_backends, 1);
      const weighed = client.steering.weight({ path: { id: "a" }, payload: { weight: 7 } });
      assert.strictEqual((yield* weighed).weight, 7);
      const unknown = yield* Effect.flip(client.steering.enable({ path: { id: "c" } }));
      assert.instanceOf(unknown, UnknownBackend);
      assert.strictEqual(unknown.message, 'no backend with the id "c" is listed; GET /backends lists them');
      const stranger = yield* MonitoringClient.make({ url: origin });
      assert.instanceOf(yield* Effect.flip(stranger.steering.enable({ path: { id: "a" } })), Unauthorized);
    }).pipe(Effect.provide(FetchHttpClient.layer)),
  );
});

describe("the client's errors and streams", () => {
  it.scopedLive("are errors by their tag, and the status of each moment", () =>
    Effect.gen(function* () {
      const { origin, registry } = yield* start();
      const client = yield* MonitoringClient.make({ url: origin });
      const statuses = yield* client.statuses.pipe(
        Stream.takeUntil(({ healthy_backends }) => healthy_backends === 0),
        Stream.runCollect,
        Effect.fork,
      );
      const first = yield* client.messages.pipe(
        Stream.takeUntil(({ _tag }) => _tag === "Change"),
        Stream.runCollect,
      );
      const tags = new Set(Chunk.map(first, ({ _tag }) => _tag));
      assert.deepStrictEqual([...tags].sort(), ["Change", "Event", "History", "Status"]);
      for (const backend of Pool.backends(yield* registry.pool))
        for (let n = 0; n < 3; n++) yield* quiet(registry.observed(backend, failed("it refused")));
      const seen = Chunk.toReadonlyArray(yield* Fiber.join(statuses));
      assert.strictEqual(seen[0]?.healthy_backends, 2);
      assert.strictEqual(seen.at(-1)?.backends[0]?.why, "it refused");
      const why = yield* client.health().pipe(
        Effect.as("it serves"),
        Effect.catchTag("NotServing", ({ status }) => Effect.succeed(status)),
      );
      assert.strictEqual(why, "unhealthy");
      const error = yield* Effect.flip(client.health());
      assert.instanceOf(error, NotServing);
      assert.strictEqual(
        String(error),
        "NotServing: the load balancer is unhealthy: 0 of 2 backends are healthy",
      );
      // The tag is for programs: HTTP has the status.
      assert.notProperty((yield* ask(`${origin}/health`)).body, "_tag");
    }).pipe(Effect.provide(FetchHttpClient.layer)),
  );
});

describe("GET /metrics", () => {
  it.scopedLive("has what the program around the balancer tells", () =>
    Effect.gen(function* () {
      const { origin } = yield* start();
      const text = yield* metricsOf(origin);
      assert.include(text, "lb_log_lines_dropped_total 3\n");
      assert.include(text, "lb_transport_faults_total 2\n");
      assert.include(text, "lb_threads 2\n");
      assert.include(text, 'lb_thread_connections_open{thread="second"} 2\n');
      assert.include(text, 'lb_thread_queued{thread="first",queue="orders"} 1\n');
      assert.include(text, 'lb_thread_queued{thread="first",queue="reports"} 4\n');
      assert.include(text, 'lb_thread_cpu_seconds_total{thread="first"} 1.5\n');
      assert.include(text, 'lb_thread_silent_seconds{thread="second"} 6.5\n');
      assert.include(text, 'lb_thread_silences_total{thread="first"} 2\n');
      assert.notInclude(text, 'lb_thread_cpu_seconds_total{thread="second"}');
      assert.match(text, /^lb_build_info\{version="1.2.3",.*transport="test",.*\} 1$/m);
    }),
  );
});

describe("GET /status", () => {
  it.scopedLive("has what is counted, and since when and why a backend is down", () =>
    Effect.gen(function* () {
      const { metrics, origin, registry, sessions } = yield* start();
      const backend = (yield* registry.assign({ host: "10.9.9.9" }, []))?.backend;
      if (backend === undefined) return assert.fail("nothing was assigned");
      yield* sessions.register(OpenSessions.group("listening", { backend, bytes: { received: 3, sent: 5 } }));
      metrics.opened();
      const counted = metrics.backend(backend);
      counted.assigned(1);
      counted.connected(2.5);
      counted.connectFailed("refused");
      counted.carried(7, 15);
      metrics.ended("client/relaying", 1, 7, 15);
      for (let n = 0; n < 3; n++) yield* quiet(registry.observed(backend, failed("it refused")));
      const { backends, discovered, now, started, uptime_seconds, ...rest } = yield* statusOf(origin);
      assert.isNull(discovered);
      assert.isAbove(uptime_seconds, 0);
      assert.isAtLeast(Date.parse(now), Date.parse(started));
      assert.deepStrictEqual(rest, {
        status: "degraded",
        algorithm: "round-robin",
        version: "1.2.3",
        transport: "test",
        total_backends: 2,
        healthy_backends: 1,
        open: 1,
        total: 1,
        queued: 0,
        queued_total: 0,
        refused: 0,
        refusals: { ...noneRefused, "no-backend": 0 },
        last_refused: null,
        received: 10,
        sent: 20,
        state_file: {
          file: "/var/lib/balancer/state.json",
          loaded: "2025-12-31T22:00:00.000Z",
          serving: true,
          written: null,
          error: "ENOSPC: no space left on device",
        },
        data_threads: [
          {
            name: "first",
            connections: 3,
            cpu_seconds: 1.5,
            phase: "relaying",
            responsive: true,
            silent_seconds: 0,
            turns: 40,
            waits: 30,
            orders: 1,
            reports: 4,
          },
          {
            name: "second",
            connections: 2,
            cpu_seconds: null,
            phase: "orders",
            responsive: false,
            silent_seconds: 6.5,
            turns: 20,
            waits: 10,
            orders: 0,
            reports: 0,
          },
        ],
      });
      const [one] = backends;
      if (one === undefined) return assert.fail("no backend is shown");
      const { last_check, since, ...first } = one;
      assert.strictEqual(last_check, since);
      assert.deepStrictEqual(first, {
        id: "a",
        address: "10.0.0.1:1",
        healthy: false,
        admin: "enabled",
        steered_by: null,
        why: "it refused",
        role: "primary",
        weight: 1,
        slow_start: null,
        listed_weight: 1,
        weighed_by: null,
        weighed_since: null,
        max_connections: null,
        open: 1,
        peak: 1,
        total: 1,
        received: 10,
        sent: 20,
        connect_failures: 1,
        connect_ms: 2.5,
      });
    }),
  );
});

describe("GET /events", () => {
  it.scopedLive("begins with the last minutes, goes on with what happens, and tells the status", () =>
    Effect.gen(function* () {
      const { origin, registry } = yield* start();
      const viewer = yield* watch(origin);
      assert.strictEqual((yield* Effect.promise(viewer.next))?.name, "history");
      // Before anybody watched.
      yield* until(viewer, (message) => kindOf(message) === "added");
      yield* until(viewer, ({ name }) => name === "status");
      const backend = (yield* registry.assign({ host: "10.9.9.9" }, []))?.backend;
      if (backend === undefined) return assert.fail("nothing was assigned");
      for (let n = 0; n < 3; n++) yield* quiet(registry.observed(backend, failed("it refused")));
      const { data } = yield* until(viewer, (message) => kindOf(message) === "down");
      assert.include(data, { backend: "a (10.0.0.1:1)", detail: "it refused" });
      yield* until(
        viewer,
        ({ data, name }) =>
          name === "change" &&
          typeof data === "object" &&
          data !== null &&
          "healthy_backends" in data &&
          data.healthy_backends === 1,
      );
    }),
  );

  it.scopedLive("ends when monitoring ends, and does not hold it up", () =>
    Effect.gen(function* () {
      const { origin, stop } = yield* start();
      const viewer = yield* watch(origin);
      yield* until(viewer, ({ name }) => name === "status");
      const ended = Effect.promise(async () => {
        while ((await viewer.next()) !== undefined);
      });
      yield* Effect.all([ended, stop], { concurrency: "unbounded" });
    }),
  );
});
