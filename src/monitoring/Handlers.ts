/**
 * The answers of {@link Api}: read off the pool, and what was recorded.
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as OpenApi from "@effect/platform/OpenApi";
import { Effect, Layer, Stream } from "effect";
import type { Admin } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as WallClock from "../clock/WallClock.js";
import * as Exposition from "../metrics/Exposition.js";
import { Metrics } from "../metrics/Metrics.js";
import { Sessions } from "../proxy/Sessions.js";
import { Api } from "./Api.js";
import { Feed } from "./Feed.js";
import * as Gauges from "./Gauges.js";
import { clientOf } from "./Steering.js";
import * as Views from "./Views.js";

/** What `/openapi.json` answers. */
export const openApi = OpenApi.fromApi(Api);

const monitoring = (program: Gauges.Program) =>
  HttpApiBuilder.group(Api, "monitoring", (handlers) =>
    Effect.gen(function* () {
      const { pool } = yield* BackendRegistry;
      const metrics = yield* Metrics;
      const sessions = yield* Sessions;
      const delays = yield* Gauges.loopDelays;
      const converter = yield* WallClock.make;

      const draining = Effect.map(sessions.phase, (phase) => phase === "draining");

      const exposition = (format: Exposition.Format) =>
        Effect.gen(function* () {
          const now = yield* MonotonicClock.now;
          const all = Gauges.everything(yield* pool, metrics, yield* sessions.snapshot, program, delays, now);
          return Exposition.render(all, format);
        });

      return handlers
        .handle("health", () =>
          Effect.gen(function* () {
            const health = Views.health(yield* pool, yield* draining);
            return health.status === "unhealthy" || health.status === "draining"
              ? yield* Effect.fail({ ...health, status: health.status })
              : { ...health, status: health.status };
          }),
        )
        .handle("backends", () => Effect.map(pool, (now) => Views.backends(now, converter())))
        .handle("livez", () => Effect.succeed({ status: "live" } as const))
        .handle("readyz", () =>
          Effect.gen(function* () {
            const why = Views.notReady(yield* pool, yield* draining);
            return why === undefined ? ({ status: "ready" } as const) : yield* Effect.fail(why);
          }),
        )
        .handleRaw("metrics", ({ request }) => {
          const format = Exposition.formatFor(request.headers["accept"]);
          return Effect.map(exposition(format), (text) =>
            HttpServerResponse.text(text, { contentType: Exposition.contentTypes[format] }),
          );
        });
    }),
  );

const live = HttpApiBuilder.group(Api, "live", (handlers) =>
  Effect.map(Feed, ({ messages, status }) =>
    handlers
      .handle("status", () => status)
      .handleRaw("events", ({ request }) =>
        Effect.succeed(
          HttpServerResponse.stream(request.method === "HEAD" ? Stream.empty : Stream.encodeText(messages), {
            contentType: "text/event-stream; charset=utf-8",
          }),
        ),
      ),
  ),
);

const steering = HttpApiBuilder.group(Api, "steering", (handlers) =>
  Effect.gen(function* () {
    const { steer } = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const sessions = yield* Sessions;
    const converter = yield* WallClock.make;
    const chosen = (id: string, admin: Admin) =>
      Effect.gen(function* () {
        const by = yield* clientOf;
        const backend = yield* steer(id, admin, by);
        if (backend === undefined) {
          return yield* Effect.fail({
            error: `no backend with the id ${JSON.stringify(id)} is listed; GET /backends lists them`,
            reason: "unknown-backend",
          } as const);
        }
        return Views.backendStatus(backend, metrics, yield* sessions.snapshot, converter());
      });
    return handlers
      .handle("drain", ({ path }) => chosen(path.id, "draining"))
      .handle("disable", ({ path }) => chosen(path.id, "disabled"))
      .handle("enable", ({ path }) => chosen(path.id, "enabled"));
  }),
);

/** Answers from the registry and the feed; the metrics also tell of the program. */
export const layer = (program: Gauges.Program) => Layer.mergeAll(monitoring(program), live, steering);
