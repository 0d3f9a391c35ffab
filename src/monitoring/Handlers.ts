/**
 * The answers of {@link Api}: read off the pool, and what was recorded.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { HttpApiBuilder, HttpServerResponse, OpenApi } from "@effect/platform";
import { Clock, Effect } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import { Api } from "./Api.js";
import * as Exposition from "./Exposition.js";
import * as Gauges from "./Gauges.js";
import * as Views from "./Views.js";

/** What `/openapi.json` answers. */
export const openApi = OpenApi.fromApi(Api);

/** Answers from the registry; `build` says what runs, for the metrics. */
export const layer = (build: Gauges.Build | undefined) =>
  HttpApiBuilder.group(Api, "monitoring", (handlers) =>
    Effect.gen(function* () {
      const { metrics, pool } = yield* BackendRegistry;
      const delays = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const histogram = monitorEventLoopDelay({ resolution: Gauges.samplingMillis });
          histogram.enable();
          return histogram;
        }),
        (histogram) => Effect.sync(() => histogram.disable()),
      );

      const exposition = (format: Exposition.Format) =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis;
          const state = yield* pool;
          const recorded = [metrics, ...metrics.backends.values()].flatMap(({ registry }) =>
            Exposition.fromSnapshot(registry.snapshot()),
          );
          return Exposition.render(
            [
              ...recorded,
              ...Gauges.ofPool(state, metrics, now),
              ...Gauges.ofProcess(build, state.algorithm.name, delays, now),
            ],
            format,
          );
        });

      return handlers
        .handle("health", () =>
          Effect.flatMap(pool, (now) => {
            const health = Views.health(now);
            return health.status === "unhealthy" || health.status === "draining"
              ? Effect.fail({ ...health, status: health.status })
              : Effect.succeed({ ...health, status: health.status });
          }),
        )
        .handle("backends", () => Effect.map(pool, Views.backends))
        .handle("livez", () => Effect.succeed({ status: "live" } as const))
        .handle("readyz", () =>
          Effect.flatMap(pool, (now) => {
            const why = Views.notReady(now);
            return why === undefined ? Effect.succeed({ status: "ready" } as const) : Effect.fail(why);
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
