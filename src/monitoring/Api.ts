/**
 * What monitoring answers, described apart from how it is found out: the contract of {@link Handlers}, and the
 * source of `/openapi.json`.
 */
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform";
import { Schema } from "effect";

const Count = Schema.Int.pipe(Schema.nonNegative());

const healthFields = {
  type: Schema.Literal("L4"),
  algorithm: Schema.String.annotations({ description: "The balancing algorithm in use." }),
  total_backends: Count.annotations({ description: "Backends that discovery lists." }),
  healthy_backends: Count.annotations({ description: "Of those, the ones that take new connections." }),
};

/** 200: all listed backends are healthy, or some of them. */
export const Serving = Schema.Struct({
  status: Schema.Literal("healthy", "degraded"),
  ...healthFields,
}).annotations({ identifier: "Serving", description: "All backends are healthy, or some of them." });

/** 503: no backend is healthy (or there is none), or the balancer was told to stop. */
export const NotServing = Schema.Struct({
  status: Schema.Literal("unhealthy", "draining"),
  ...healthFields,
}).annotations({
  identifier: "NotServing",
  description: "No backend is healthy, or the balancer was told to stop.",
});

export const BackendView = Schema.Struct({
  id: Schema.String,
  address: Schema.String.annotations({ description: "host:port, or [v6]:port." }),
  healthy: Schema.Boolean,
  connections: Count.annotations({ description: "Connections open on it." }),
  last_check: Schema.NullOr(Schema.String).annotations({
    description: "When it was last heard of: RFC 3339, UTC; null before its first check.",
  }),
}).annotations({ identifier: "Backend" });

export const Live = Schema.Struct({ status: Schema.Literal("live") });
export const Ready = Schema.Struct({ status: Schema.Literal("ready") });
export const NotReady = Schema.Struct({ status: Schema.Literal("starting", "draining") });

/** Everything that is not an answer: a short reason. */
export const Failure = Schema.Struct({ error: Schema.String });

export const Api = HttpApi.make("monitoring")
  .add(
    HttpApiGroup.make("monitoring", { topLevel: true })
      .add(
        HttpApiEndpoint.get("health", "/health")
          .addSuccess(Serving)
          .addError(NotServing, { status: 503 })
          .annotate(OpenApi.Summary, "Whether clients are being served"),
      )
      .add(
        HttpApiEndpoint.get("backends", "/backends")
          .addSuccess(Schema.Array(BackendView))
          .annotate(OpenApi.Summary, "The backends that discovery lists"),
      )
      .add(
        HttpApiEndpoint.get("livez", "/livez")
          .addSuccess(Live)
          .annotate(OpenApi.Summary, "Whether the process answers at all"),
      )
      .add(
        HttpApiEndpoint.get("readyz", "/readyz")
          .addSuccess(Ready)
          .addError(NotReady, { status: 503 })
          .annotate(
            OpenApi.Summary,
            "Whether new connections should be sent here: the first discovery has ended and it is not draining",
          ),
      )
      .add(
        HttpApiEndpoint.get("metrics", "/metrics")
          .addSuccess(HttpApiSchema.Text({ contentType: "text/plain" }))
          .annotate(
            OpenApi.Summary,
            "Metrics, in the Prometheus format or, where that is accepted, OpenMetrics",
          ),
      ),
  )
  .annotate(OpenApi.Title, "zeitwork-load-balancer monitoring")
  .annotate(OpenApi.Version, "1");
