import * as HttpApp from "@effect/platform/HttpApp";
import * as HttpRouter from "@effect/platform/HttpRouter";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import { assert, describe, it } from "@effect/vitest";
import { Config, ConfigProvider, Context, Effect, Layer, Logger, Redacted } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as Settings from "../../src/config/Settings.js";
import * as Monitoring from "../../src/monitoring/Monitoring.js";
import * as Sessions from "../../src/proxy/Sessions.js";

const registry = Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 });
const quiet = Effect.provide(Logger.remove(Logger.defaultLogger));

describe("monitoring in a team's own server", () => {
  it.scopedLive("answers below a path of its router, beside what the team answers", () =>
    Effect.gen(function* () {
      const app = yield* Monitoring.httpApp({ adminToken: Redacted.make("correct-horse-battery") });
      const ask = HttpApp.toWebHandler(
        HttpRouter.empty.pipe(
          HttpRouter.get("/", HttpServerResponse.text("ours")),
          HttpRouter.mountApp("/lb", app),
          HttpRouter.catchAll(() => HttpServerResponse.empty({ status: 599 })),
        ),
      );
      const get = (path: string, init: RequestInit = {}) =>
        Effect.promise(async () => ask(new Request(`http://team.internal${path}`, init)));
      const textOf = (response: Response) => Effect.promise(() => response.text());
      assert.strictEqual(yield* textOf(yield* get("/")), "ours");
      const health = yield* get("/lb/health");
      assert.strictEqual(health.status, 503);
      assert.deepInclude(JSON.parse(yield* textOf(health)), { status: "unhealthy", type: "L4" });
      assert.strictEqual((yield* get("/lb/livez")).status, 200);
      assert.strictEqual((yield* get("/lb/nothing")).status, 404);
      assert.strictEqual((yield* get("/lb/backends/a/drain", { method: "POST" })).status, 401);
      assert.include(yield* textOf(yield* get("/lb/metrics")), "lb_backends_listed 0\n");
      const reader = (yield* get("/lb/events")).body?.getReader();
      const first = yield* Effect.promise(async () => reader?.read());
      assert.match(Buffer.from(first?.value ?? []).toString(), /^event: history\n/);
      yield* Effect.promise(async () => reader?.cancel());
    }).pipe(Effect.provide(Layer.merge(Sessions.layer, registry)), quiet),
  );

  it.scopedLive("takes its options from a Config", () =>
    Effect.gen(function* () {
      const layer = Monitoring.layerConfig({
        host: Config.map(Settings.config, ({ healthBindAddress }) => healthBindAddress),
        port: Config.map(Settings.config, ({ healthPort }) => healthPort),
      });
      const context = yield* Layer.build(Layer.provide(layer, registry)).pipe(
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["HEALTH_PORT", "0"],
              ["HEALTH_BIND_ADDRESS", "127.0.0.1"],
            ]),
          ),
        ),
      );
      const { host, port } = Context.get(context, Monitoring.Monitoring).address;
      assert.strictEqual(host, "127.0.0.1");
      assert.isAbove(port, 0);
    }).pipe(quiet),
  );
});
