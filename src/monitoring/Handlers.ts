/**
 * The answers of {@link Api}: every one of them reads the pool, and nothing else.
 */
import { HttpApiBuilder, OpenApi } from "@effect/platform";
import { Effect } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import { Api } from "./Api.js";
import * as Views from "./Views.js";

/** What `/openapi.json` answers. */
export const openApi = OpenApi.fromApi(Api);

export const layer = HttpApiBuilder.group(Api, "monitoring", (handlers) =>
  Effect.map(BackendRegistry, ({ pool }) =>
    handlers
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
      ),
  ),
);
