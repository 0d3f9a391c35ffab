/**
 * What monitoring answers, described apart from how it is found out: the contract of {@link Handlers}, and the
 * source of `/openapi.json`.
 *
 * @example
 * ```ts
 * import * as HttpApi from "@effect/platform/HttpApi"
 * import * as OpenApi from "@effect/platform/OpenApi"
 * import { MonitoringApi } from "zeitwork-load-balancer"
 *
 * const Ours = HttpApi.make("ours").addHttpApi(MonitoringApi.Api.prefix("/balancer"))
 * const paths = Object.keys(OpenApi.fromApi(Ours).paths) // "/balancer/health", …
 * ```
 */
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint";
import * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware";
import * as HttpApiSchema from "@effect/platform/HttpApiSchema";
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity";
import * as OpenApi from "@effect/platform/OpenApi";
import { Record, Schema } from "effect";
import { weightBounds } from "../backend/Listing.js";

const Count = Schema.Int.pipe(Schema.nonNegative());

const healthFields = {
  type: Schema.Literal("L4"),
  algorithm: Schema.String.annotations({ description: "The balancing algorithm in use." }),
  total_backends: Count.annotations({ description: "Backends that discovery lists." }),
  healthy_backends: Count.annotations({ description: "Of those, the ones that take new connections." }),
};

/**
 * 200: all listed backends are healthy, or some of them.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Serving = Schema.Struct({
  status: Schema.Literal("healthy", "degraded"),
  ...healthFields,
}).annotations({ identifier: "Serving", description: "All backends are healthy, or some of them." });

const notServing = Schema.Struct({
  status: Schema.Literal("unhealthy", "stopping", "draining"),
  ...healthFields,
}).annotations({
  identifier: "NotServing",
  description: "No backend is healthy, or the balancer stops or drains.",
});

/**
 * 503: no backend is healthy (or there is none), or the balancer stops or drains.
 *
 * @since 0.2.0
 * @category errors
 */
export class NotServing extends Schema.TaggedError<NotServing>("zeitwork-load-balancer/NotServing")(
  "NotServing",
  notServing,
) {
  override get message(): string {
    return `the load balancer is ${this.status}: ${this.healthy_backends} of ${this.total_backends} backends are healthy`;
  }
}

/**
 * A backend, as `GET /backends` lists it.
 *
 * @since 0.2.0
 * @category schemas
 */
export const BackendView = Schema.Struct({
  id: Schema.String,
  address: Schema.String.annotations({ description: "host:port, or [v6]:port." }),
  healthy: Schema.Boolean,
  connections: Count.annotations({ description: "Connections open on it." }),
  last_check: Schema.NullOr(Schema.String).annotations({
    description: "When it was last heard of: RFC 3339, UTC; null before its first check.",
  }),
}).annotations({ identifier: "Backend" });

/**
 * The answer of `GET /livez`.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Live = Schema.Struct({ status: Schema.Literal("live") });
/**
 * The answer of `GET /readyz` while the balancer takes clients.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Ready = Schema.Struct({ status: Schema.Literal("ready") });
const notReady = Schema.Struct({
  status: Schema.Literal("starting", "stopping", "draining"),
  why: Schema.String.annotations({ description: "What is waited for, or why no new connections are taken." }),
}).annotations({ identifier: "NotReady" });

/**
 * 503: new connections should not be sent here.
 *
 * @since 0.2.0
 * @category errors
 */
export class NotReady extends Schema.TaggedError<NotReady>("zeitwork-load-balancer/NotReady")(
  "NotReady",
  notReady,
) {
  override get message(): string {
    return `the load balancer is ${this.status}: ${this.why}`;
  }
}

/**
 * Everything that is not an answer: a short reason.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Failure = Schema.Struct({ error: Schema.String });

const Instant = Schema.String.annotations({ description: "RFC 3339, UTC." });
const Bytes = Count.annotations({ description: "Bytes." });

/**
 * What is known of a backend, and what it has done.
 *
 * @since 0.2.0
 * @category schemas
 */
export const BackendStatus = Schema.Struct({
  id: Schema.String,
  address: Schema.String,
  healthy: Schema.Boolean.annotations({ description: "Its probes and connects succeed." }),
  admin: Schema.Literal("enabled", "draining", "disabled").annotations({
    description: "What an operator has chosen: normal, finishing (no new connections), or cut.",
  }),
  steered_by: Schema.NullOr(Schema.String).annotations({
    description: "The address from which it was drained or disabled; null while it is neither.",
  }),
  since: Schema.NullOr(Instant).annotations({
    description: "When it last went up or down; of one that is drained or disabled, since when it is.",
  }),
  why: Schema.NullOr(Schema.String).annotations({ description: "Why it is down." }),
  last_check: Schema.NullOr(Instant),
  role: Schema.Literal("primary", "backup").annotations({
    description: "A backup gets connections only while no primary backend can.",
  }),
  weight: Schema.Number.annotations({
    description: "Its share of the connections relative to the others; with 0 it gets no new ones.",
  }),
  slow_start: Schema.NullOr(Schema.Number).annotations({
    description:
      "The part of its weight that it has during a slow start, 0.1 to 0.9; null while it has all of it.",
  }),
  listed_weight: Schema.Number.annotations({ description: "The weight that discovery says." }),
  weighed_by: Schema.NullOr(Schema.String).annotations({
    description: "The address from which its weight was chosen; null while it has the listed one.",
  }),
  weighed_since: Schema.NullOr(Instant).annotations({ description: "When that was." }),
  max_connections: Schema.NullOr(Count).annotations({
    description: "The most connections that it may have at a time; null where there is no limit.",
  }),
  open: Count.annotations({ description: "Connections open on it." }),
  peak: Count.annotations({ description: "The most connections it had at one time." }),
  total: Count.annotations({ description: "Connections made to it." }),
  received: Bytes,
  sent: Bytes,
  connect_failures: Count,
  connect_ms: Schema.NullOr(Schema.Number).annotations({
    description: "What connecting to it takes on average, in milliseconds.",
  }),
}).annotations({ identifier: "BackendStatus" });

/**
 * A backend that was steered, and the others that were together with it.
 *
 * @since 0.2.0
 * @category schemas
 */
export const SteeredBackend = Schema.Struct({
  ...BackendStatus.fields,
  others: Schema.Array(BackendStatus).annotations({
    description: "The other addresses of a host name that was steered as a whole.",
  }),
}).annotations({ identifier: "SteeredBackend" });

/**
 * A connection that is open, or was when it was cut.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Connection = Schema.Struct({
  id: Count.annotations({ description: "As in the access log. No later process uses it again." }),
  client: Schema.String.annotations({ description: "host:port: whom a PROXY header named, or the peer." }),
  backend: Schema.NullOr(Schema.Struct({ id: Schema.String, address: Schema.String })).annotations({
    description: "The one that it has, or that is tried; null before the first choice.",
  }),
  phase: Schema.Literal("choosing", "queued", "connecting", "relaying", "draining"),
  accepted: Instant,
  age_seconds: Schema.NonNegative.annotations({ description: "Since it was accepted." }),
  received: Bytes.annotations({ description: "Bytes from the client." }),
  sent: Bytes.annotations({ description: "Bytes to the client." }),
}).annotations({ identifier: "Connection" });

const Rate = Schema.NonNegative;

/**
 * A connection that was looked at twice, a second apart.
 *
 * @since 0.2.0
 * @category schemas
 */
export const SampledConnection = Schema.Struct({
  ...Connection.fields,
  received_per_second: Rate.annotations({ description: "Bytes from the client in this second." }),
  sent_per_second: Rate.annotations({ description: "Bytes to the client in this second." }),
  idle_seconds: Schema.NullOr(Schema.NonNegative).annotations({
    description: "Since bytes last came from either side; null where the transport cannot tell.",
  }),
}).annotations({ identifier: "SampledConnection" });

/**
 * The answer of `GET /connections`.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Connections = Schema.Struct({
  now: Instant,
  open: Count.annotations({ description: "All that are open." }),
  connections: Schema.Array(SampledConnection).annotations({ description: "Those that were asked for." }),
}).annotations({ identifier: "Connections" });

/**
 * In which order `GET /connections` lists, and how many at most.
 *
 * @since 0.2.0
 * @category constants
 */
export const connectionsListed = {
  orders: ["longest", "busiest", "newest"],
  order: "longest",
  least: 1,
  most: 1_000,
  limit: 20,
} as const;

const { limit, least, most, order, orders } = connectionsListed;

// Strings, and lists of what was sent more than once, so that what is wrong with them is said in words as everywhere else.
const parameter = (description: string, jsonSchema: object = { type: "string" }) =>
  Schema.optionalWith(
    Schema.Union(Schema.String, Schema.Array(Schema.String)).annotations({ description, jsonSchema }),
    { exact: true },
  );
const ConnectionsAsked = Schema.Struct({
  order: parameter(
    `Which come first: those that have been open for the longest time, that carry the most bytes per second, or that came last; ${order} unless said otherwise.`,
    { type: "string", enum: orders },
  ),
  limit: parameter(`No more than so many, ${least} to ${most}; ${limit} unless said otherwise.`, {
    type: "integer",
    minimum: least,
    maximum: most,
  }),
  backend: parameter("The id or name of a backend: of its connections alone."),
  client: parameter("IP addresses and CIDRs, separated by commas: of connections of these clients alone."),
});

const Refusals = Schema.Record({ key: Schema.String, value: Count }).annotations({
  description:
    "Connections reset since the start because no backend could take them, there were as many as there can be, or their clients may not come, by reason.",
});

const Uptime = Schema.Number.annotations({
  description: "Seconds since the process started, by a clock that nobody sets.",
});

/**
 * A data thread, and what it has done since it began.
 *
 * @since 0.2.0
 * @category schemas
 */
export const DataThread = Schema.Struct({
  name: Schema.String,
  connections: Count.annotations({ description: "Connections that it has: to be made, or relayed." }),
  cpu_seconds: Schema.NullOr(Schema.Number).annotations({
    description: "Processor time that it has used; null where the system does not say.",
  }),
  phase: Schema.Literal("starting", "orders", "timers", "relaying", "waiting").annotations({
    description:
      "What it is doing: orders of the main thread, what is due by time, what has come from clients and backends; or waiting for one of these.",
  }),
  responsive: Schema.Boolean.annotations({
    description: "False from when it has taken no turn for 5 seconds until it takes one.",
  }),
  silent_seconds: Schema.NonNegative.annotations({
    description: "For how long it has taken no turn, by a look once a second.",
  }),
  turns: Count.annotations({ description: "Turns of its loop: one or more in each second." }),
  waits: Count.annotations({ description: "How often it has waited for something to do." }),
  orders: Count.annotations({ description: "Orders to it that it has not followed yet." }),
  reports: Count.annotations({ description: "Reports of it that the main thread has not heard yet." }),
}).annotations({ identifier: "DataThread" });

/**
 * The file in which the list of backends and what was steered are kept.
 *
 * @since 0.2.0
 * @category schemas
 */
export const StateFile = Schema.Struct({
  file: Schema.String,
  loaded: Schema.NullOr(Instant).annotations({
    description:
      "When what was read at the start had been written; null where there was no file, or a broken one.",
  }),
  serving: Schema.Boolean.annotations({
    description: "Whether the list is that of the file, because no discovery has succeeded yet.",
  }),
  written: Schema.NullOr(Instant).annotations({ description: "When this process last wrote it." }),
  error: Schema.NullOr(Schema.String).annotations({
    description: "Why it could not be written when that was last tried.",
  }),
}).annotations({ identifier: "StateFile" });

const totals = {
  status: Schema.Literal("healthy", "degraded", "unhealthy", "stopping", "draining"),
  algorithm: Schema.String,
  version: Schema.NullOr(Schema.String),
  transport: Schema.NullOr(Schema.String),
  now: Instant,
  started: Instant.annotations({ description: "When the process started." }),
  uptime_seconds: Uptime,
  total_backends: Count,
  healthy_backends: Count.annotations({ description: "Those that take new connections." }),
  open: Count.annotations({ description: "Connections open now." }),
  total: Count.annotations({ description: "Connections accepted since the start." }),
  queued: Count.annotations({
    description: "Connections that wait for a place now, as all healthy backends are full.",
  }),
  queued_total: Count.annotations({ description: "Connections that waited so since the start." }),
  refused: Count.annotations({
    description:
      "Of those, reset because no backend could take them, there were as many as there can be, or their clients may not come.",
  }),
  refusals: Refusals,
  last_refused: Schema.NullOr(Instant).annotations({ description: "When one was last reset so." }),
  received: Bytes,
  sent: Bytes,
  discovered: Schema.NullOr(Instant).annotations({ description: "When the list of backends was last got." }),
  data_threads: Schema.Array(DataThread).annotations({
    description: "The threads that move bytes; none where the main thread does all.",
  }),
  state_file: Schema.NullOr(StateFile).annotations({ description: "Null where none is kept." }),
};

/**
 * Everything that a person on call may want to know.
 *
 * @since 0.2.0
 * @category models
 */
export const Status = Schema.Struct({
  ...totals,
  backends: Schema.Array(BackendStatus),
}).annotations({ identifier: "Status" });

const name = BackendStatus.pick("id", "address");

type Fields = Readonly<Record<string, Schema.Schema.AnyNoContext>>;
type Optional<A extends Fields> = { readonly [K in keyof A]: Schema.optionalWith<A[K], { exact: true }> };

const optional = <A extends Fields>(fields: A): Optional<A> =>
  Record.map(fields, (field) => Schema.optionalWith(field, { exact: true })) as Optional<A>; // each from its own field

/**
 * What has changed since the last message: only the fields that have.
 *
 * @since 0.2.0
 * @category models
 */
export const Change = Schema.Struct({
  ...optional(totals),
  now: Instant,
  uptime_seconds: Uptime,
  backends: Schema.optionalWith(
    Schema.Array(
      Schema.Struct({
        ...optional(BackendStatus.fields),
        ...name.fields,
      }),
    ),
    { default: () => [] },
  ).annotations({ description: "Backends that are new, with all their fields, or have changed." }),
  removed: Schema.optionalWith(Schema.Array(name), { default: () => [] }).annotations({
    description: "Backends that are no longer listed.",
  }),
}).annotations({ identifier: "Change" });

/**
 * Something that happened.
 *
 * @since 0.2.0
 * @category models
 */
export const Event = Schema.Struct({
  id: Count.annotations({ description: "Grows by one with each event of this process." }),
  at: Instant,
  kind: Schema.Literal(
    "added",
    "removed",
    "altered",
    "slow-start",
    "up",
    "down",
    "steered",
    "cut",
    "phase",
    "refusals-began",
    "refusals-ended",
  ),
  backend: Schema.optionalWith(Schema.String, { exact: true }).annotations({
    description: "`id (address)` of the backend concerned.",
  }),
  detail: Schema.optionalWith(Schema.String, { exact: true }).annotations({
    description:
      "Why it is down, who steered it and to what, which connection was cut and by whom, what discovery says of it now, or the phase that begins.",
  }),
  reason: Schema.optionalWith(Schema.String, { exact: true }).annotations({
    description: "Of refusals: why connections are reset.",
  }),
  count: Schema.optionalWith(Count, { exact: true }).annotations({
    description: "Of refusals that have ended: how many connections were reset.",
  }),
  seconds: Schema.optionalWith(Schema.Number, { exact: true }).annotations({
    description: "Of refusals that have ended: from the first to the last.",
  }),
}).annotations({ identifier: "Event" });

/**
 * One moment of the last minutes, for charts: totals, so that rates are differences.
 *
 * @since 0.2.0
 * @category models
 */
export const Sample = Schema.Struct({
  at: Instant,
  uptime_seconds: Uptime,
  open: Count,
  total: Count,
  refusals: Refusals,
  received: Bytes,
  sent: Bytes,
}).annotations({ identifier: "Sample" });

const unauthorized = Schema.Struct({
  error: Schema.String,
  reason: Schema.Literal("unauthorized"),
}).annotations({ identifier: "Unauthorized" });

/**
 * 401: steering was asked for without the right token.
 *
 * @since 0.2.0
 * @category errors
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>("zeitwork-load-balancer/Unauthorized")(
  "Unauthorized",
  unauthorized,
) {
  override get message(): string {
    return this.error;
  }
}

const steeringOff = Schema.Struct({
  error: Schema.String,
  reason: Schema.Literal("steering-off"),
}).annotations({ identifier: "SteeringOff" });

/**
 * 403: nobody can steer, because no ADMIN_TOKEN is set.
 *
 * @since 0.2.0
 * @category errors
 */
export class SteeringOff extends Schema.TaggedError<SteeringOff>("zeitwork-load-balancer/SteeringOff")(
  "SteeringOff",
  steeringOff,
) {
  override get message(): string {
    return this.error;
  }
}

const unknownBackend = Schema.Struct({
  error: Schema.String,
  reason: Schema.Literal("unknown-backend"),
}).annotations({ identifier: "UnknownBackend" });

/**
 * 404: no backend with this id is listed.
 *
 * @since 0.2.0
 * @category errors
 */
export class UnknownBackend extends Schema.TaggedError<UnknownBackend>(
  "zeitwork-load-balancer/UnknownBackend",
)("UnknownBackend", unknownBackend) {
  override get message(): string {
    return this.error;
  }
}

const invalidRequest = Schema.Struct({
  error: Schema.String,
  reason: Schema.Literal("invalid-request"),
}).annotations({ identifier: "InvalidRequest" });

/**
 * 400: what was sent is not what this path accepts. The message says what is.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>(
  "zeitwork-load-balancer/InvalidRequest",
)("InvalidRequest", invalidRequest) {
  override get message(): string {
    return this.error;
  }
}

const unknownConnection = Schema.Struct({
  error: Schema.String,
  reason: Schema.Literal("unknown-connection"),
}).annotations({ identifier: "UnknownConnection" });

/**
 * 404: no connection with this id is open.
 *
 * @since 0.2.0
 * @category errors
 */
export class UnknownConnection extends Schema.TaggedError<UnknownConnection>(
  "zeitwork-load-balancer/UnknownConnection",
)("UnknownConnection", unknownConnection) {
  override get message(): string {
    return this.error;
  }
}

/**
 * How an error is answered: as its fields without the tag, which is for programs. HTTP has the status for that.
 */
const answered = {
  notServing: Schema.compose(Schema.attachPropertySignature(notServing, "_tag", "NotServing"), NotServing),
  notReady: Schema.compose(Schema.attachPropertySignature(notReady, "_tag", "NotReady"), NotReady),
  unauthorized: Schema.compose(
    Schema.attachPropertySignature(unauthorized, "_tag", "Unauthorized"),
    Unauthorized,
  ),
  steeringOff: Schema.compose(
    Schema.attachPropertySignature(steeringOff, "_tag", "SteeringOff"),
    SteeringOff,
  ),
  unknownBackend: Schema.compose(
    Schema.attachPropertySignature(unknownBackend, "_tag", "UnknownBackend"),
    UnknownBackend,
  ),
  invalidRequest: Schema.compose(
    Schema.attachPropertySignature(invalidRequest, "_tag", "InvalidRequest"),
    InvalidRequest,
  ),
  unknownConnection: Schema.compose(
    Schema.attachPropertySignature(unknownConnection, "_tag", "UnknownConnection"),
    UnknownConnection,
  ),
};

/**
 * Lets through whoever has the ADMIN_TOKEN.
 *
 * @since 0.2.0
 * @category models
 */
export class Steering extends HttpApiMiddleware.Tag<Steering>()("zeitwork-load-balancer/Steering", {
  failure: Schema.Union(
    answered.unauthorized.annotations(HttpApiSchema.annotations({ status: 401 })),
    answered.steeringOff.annotations(HttpApiSchema.annotations({ status: 403 })),
  ),
  security: { token: HttpApiSecurity.bearer },
}) {}

const Id = Schema.Struct({ id: Schema.String });

/**
 * The body of `POST /backends/{id}/weight`.
 *
 * @since 0.2.0
 * @category schemas
 */
export const ChosenWeight = Schema.Struct({
  weight: Schema.NullOr(Schema.Int.pipe(Schema.between(weightBounds.least, weightBounds.most))).annotations({
    description: "Its share relative to the others; null gives it back to discovery.",
  }),
}).annotations({ identifier: "ChosenWeight" });

const steering = <Name extends string>(name: Name, summary: string) =>
  HttpApiEndpoint.post(name, `/backends/:id/${name}`)
    .setPath(Id)
    .addSuccess(SteeredBackend)
    .addError(answered.unknownBackend, { status: 404 })
    .annotate(OpenApi.Summary, summary);

/**
 * The HTTP API of monitoring.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Api = HttpApi.make("monitoring")
  .add(
    HttpApiGroup.make("monitoring", { topLevel: true })
      .add(
        HttpApiEndpoint.get("health", "/health")
          .addSuccess(Serving)
          .addError(answered.notServing, { status: 503 })
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
          .addError(answered.notReady, { status: 503 })
          .annotate(
            OpenApi.Summary,
            "Whether new connections should be sent here: a list of backends was had and it neither stops nor drains",
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
  .add(
    HttpApiGroup.make("live")
      .add(
        HttpApiEndpoint.get("status", "/status")
          .addSuccess(Status)
          .annotate(OpenApi.Summary, "Everything that a person on call may want to know"),
      )
      .add(
        HttpApiEndpoint.get("events", "/events")
          .addSuccess(HttpApiSchema.Text({ contentType: "text/event-stream" }))
          .annotate(
            OpenApi.Summary,
            "Server-sent events: `status` (as /status) at most twice a second, `event` for what happens",
          ),
      ),
  )
  .add(
    HttpApiGroup.make("steering")
      .add(steering("drain", "No new connections for this backend; those it has run on"))
      .add(steering("disable", "No new connections for this backend; those it has are reset"))
      .add(steering("enable", "Normal again"))
      .add(
        steering("weight", "Another weight than the listed one, or that one again")
          .setPayload(ChosenWeight)
          .addError(answered.invalidRequest, { status: 400 }),
      )
      .add(
        HttpApiEndpoint.get("connections", "/connections")
          .setUrlParams(ConnectionsAsked)
          .addSuccess(Connections)
          .addError(answered.invalidRequest, { status: 400 })
          .annotate(OpenApi.Summary, "Some of the open connections, looked at for a second"),
      )
      .add(
        HttpApiEndpoint.del("cut", "/connections/:id")
          .setPath(Id)
          .addSuccess(Connection)
          .addError(answered.unknownConnection, { status: 404 })
          .annotate(OpenApi.Summary, "Resets an open connection"),
      )
      .middleware(Steering),
  )
  .annotate(OpenApi.Title, "zeitwork-load-balancer monitoring")
  .annotate(OpenApi.Version, "1");
