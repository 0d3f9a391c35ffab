/**
 * The answers of {@link Api}: read off the pool, and what was recorded.
 */
import type * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage";
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import { Clock, Effect, Either, Iterable, Layer, Option, Schema, Stream } from "effect";
import { type Admin, type Backend, describe } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import { weightBounds } from "../backend/Listing.js";
import * as Pool from "../backend/Pool.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as WallClock from "../clock/WallClock.js";
import * as Json from "../json/Json.js";
import { printable } from "../log/ForeignText.js";
import * as Exposition from "../metrics/Exposition.js";
import { Metrics } from "../metrics/Metrics.js";
import { loopDelays, type Program } from "../metrics/ProcessGauges.js";
import { Sessions } from "../proxy/Sessions.js";
import {
  type Api,
  ChosenWeight,
  InvalidRequest,
  NotReady,
  NotServing,
  UnknownBackend,
  UnknownConnection,
} from "./Api.js";
import { selectionOf } from "./ConnectionsQuery.js";
import { Feed } from "./Feed.js";
import { hasBody, largestBody } from "./HttpServer.js";
import * as MetricsCollector from "./MetricsCollector.js";
import * as Rendering from "./Rendering.js";
import { clientOf } from "./SteeringAuth.js";
import * as Views from "./Views.js";

/** A rendering as an answer, compressed where the client accepts that. */
const respond = (
  rendering: Rendering.Rendering,
  request: HttpServerRequest.HttpServerRequest,
  contentType: string,
) => {
  const answer = (sent: Rendering.Pieces, encoding: Readonly<Record<string, string>>) =>
    HttpServerResponse.stream(Rendering.stream(sent), {
      contentType,
      contentLength: sent.bytes,
      headers: { vary: "accept, accept-encoding", ...encoding },
    });
  return Rendering.isCompressed(rendering, request.headers["accept-encoding"])
    ? Effect.map(rendering.compressed, (sent) => answer(sent, { "content-encoding": "gzip" }))
    : Effect.succeed(answer(rendering, {}));
};

const json = "application/json";

const decodeJson = Schema.decodeUnknownEither(Schema.parseJson());
const decodeWeight = Schema.decodeUnknownEither(ChosenWeight);

/** An API with the groups of {@link Api}: itself, or one of a team's own that they were added to. */
export type Described<Id extends string> =
  typeof Api extends HttpApi.HttpApi<string, infer Groups, infer E> ? HttpApi.HttpApi<Id, Groups, E> : never;

const monitoring = <Id extends string>(api: Described<Id>, program: Program) =>
  HttpApiBuilder.group(api, "monitoring", (handlers) =>
    Effect.gen(function* () {
      const { pool, queued } = yield* BackendRegistry;
      const metrics = yield* Metrics;
      const sessions = yield* Sessions;
      const delays = yield* loopDelays;
      const converter = yield* WallClock.make;

      const exposition = (format: Exposition.Format) =>
        Rendering.shared(
          Effect.gen(function* () {
            const snapshot = yield* sessions.snapshot;
            const sources = { pool: yield* pool, metrics, sessions: snapshot, queued: yield* queued };
            const all = MetricsCollector.everything(sources, program, delays, yield* MonotonicClock.now);
            return yield* Rendering.make(yield* TimeSlices.run(Exposition.render(all, format)));
          }),
        );
      const expositions = {
        prometheus: yield* exposition("prometheus"),
        openmetrics: yield* exposition("openmetrics"),
      };
      const backends = yield* Rendering.shared(
        Effect.gen(function* () {
          const toEpoch = converter();
          const now = yield* pool;
          const views = Iterable.map(Pool.iterate(now), (backend) =>
            Views.backendView(now, backend, toEpoch),
          );
          return yield* Rendering.make(yield* TimeSlices.run(Json.list(views)));
        }),
      );

      return handlers
        .handle("health", () =>
          Effect.gen(function* () {
            const health = Views.health(yield* pool, yield* sessions.phase);
            return health.status === "healthy" || health.status === "degraded"
              ? { ...health, status: health.status }
              : yield* new NotServing({ ...health, status: health.status });
          }),
        )
        .handleRaw("backends", ({ request }) =>
          Effect.flatMap(backends, (rendering) => respond(rendering, request, json)),
        )
        .handle("livez", () => Effect.succeed({ status: "live" } as const))
        .handle("readyz", () =>
          Effect.gen(function* () {
            const why = Views.notReady(yield* pool, yield* sessions.phase);
            return why === undefined ? ({ status: "ready" } as const) : yield* new NotReady(why);
          }),
        )
        .handleRaw("metrics", ({ request }) => {
          const format = Exposition.formatFor(request.headers["accept"]);
          return Effect.flatMap(expositions[format], (rendering) =>
            respond(rendering, request, Exposition.contentTypes[format]),
          );
        });
    }),
  );

const live = <Id extends string>(api: Described<Id>) =>
  HttpApiBuilder.group(api, "live", (handlers) =>
    Effect.map(Feed, ({ messages, status }) =>
      handlers
        .handleRaw("status", ({ request }) =>
          Effect.flatMap(status, (rendering) => respond(rendering, request, json)),
        )
        .handleRaw("events", ({ request }) =>
          Effect.succeed(
            HttpServerResponse.stream(request.method === "HEAD" ? Stream.empty : messages, {
              contentType: "text/event-stream; charset=utf-8",
            }),
          ),
        ),
    ),
  );

/** Samples of open connections that are taken at a time. Who asks for more waits. */
const mostSamples = 4;

const acceptedWeight = `a whole number from ${weightBounds.least} to ${weightBounds.most}, or null, which gives it back to discovery`;

const invalid = (error: string) => new InvalidRequest({ error, reason: "invalid-request" });

/** The weight that a request asks for; undefined gives it back. */
const weightIn = (
  request: HttpServerRequest.HttpServerRequest,
): Effect.Effect<number | undefined, InvalidRequest> =>
  // The end of a request without a body may have been said already, and would be waited for.
  (hasBody(request.headers) ? request.text : Effect.succeed("")).pipe(
    // The server of this module has seen to that; a team's own may not have.
    HttpIncomingMessage.withMaxBodySize(Option.some(largestBody)),
    Effect.mapError(() => invalid(`the body cannot be read, or has more than ${largestBody} bytes`)),
    Effect.flatMap((text) => {
      const body = decodeJson(text);
      if (Either.isLeft(body)) return invalid('the body is not JSON: send {"weight": 2}');
      const { right } = body;
      if (typeof right !== "object" || right === null || !("weight" in right)) {
        return invalid('the body has no weight: send {"weight": 2}');
      }
      return Either.match(decodeWeight(right), {
        onLeft: () =>
          invalid(`weight ${printable(JSON.stringify(right.weight), 50)}: accepted: ${acceptedWeight}`),
        onRight: ({ weight }) => Effect.succeed(weight ?? undefined),
      });
    }),
  );

const steering = <Id extends string>(api: Described<Id>) =>
  HttpApiBuilder.group(api, "steering", (handlers) =>
    Effect.gen(function* () {
      const { pool, steer, weigh } = yield* BackendRegistry;
      const feed = yield* Feed;
      const metrics = yield* Metrics;
      const sessions = yield* Sessions;
      const converter = yield* WallClock.make;
      const atOnce = yield* Effect.makeSemaphore(mostSamples);
      const chosen = (id: string, choose: (by: string) => Effect.Effect<ReadonlyArray<Backend>>) =>
        Effect.gen(function* () {
          const [backend, ...others] = yield* Effect.flatMap(clientOf, choose);
          if (backend === undefined) {
            return yield* new UnknownBackend({
              error: `no backend with the id ${JSON.stringify(printable(id))} is listed; GET /backends lists them`,
              reason: "unknown-backend",
            });
          }
          const now = yield* pool;
          const bytes = Views.bytesOfBackends({ metrics, sessions: yield* sessions.snapshot });
          const toEpoch = converter();
          const statusOf = (steered: Backend) =>
            Views.backendStatus(now, steered, metrics, bytes(steered.key), toEpoch);
          return { ...statusOf(backend), others: others.map(statusOf) };
        });
      const steered = (id: string, admin: Admin) => chosen(id, (by) => steer(id, admin, by));
      return handlers
        .handle("drain", ({ path }) => steered(path.id, "draining"))
        .handle("disable", ({ path }) => steered(path.id, "disabled"))
        .handle("enable", ({ path }) => steered(path.id, "enabled"))
        .handleRaw("connections", ({ request, urlParams }) =>
          Effect.gen(function* () {
            const selection = selectionOf(urlParams);
            if ("wrong" in selection) return yield* invalid(selection.wrong);
            const samples = yield* atOnce.withPermits(1)(sessions.sample(selection));
            const now = yield* Clock.currentTimeMillis;
            const fields = { now: new Date(now).toISOString(), open: yield* sessions.open };
            const views = Iterable.map(samples, (sample) => Views.sampledConnection(sample, now));
            const rendering = yield* Rendering.make(
              yield* TimeSlices.run(Json.objectWithList(fields, "connections", views)),
            );
            return yield* respond(rendering, request, json);
          }),
        )
        .handle("cut", ({ path: { id } }) =>
          Effect.gen(function* () {
            const session = /^\d{1,16}$/.test(id) ? yield* sessions.cut(Number(id)) : undefined;
            if (session === undefined) {
              return yield* new UnknownConnection({
                error: `no connection with the id ${JSON.stringify(printable(id))} is open; GET /connections lists those that are`,
                reason: "unknown-connection",
              });
            }
            const connection = Views.connection(session, yield* Clock.currentTimeMillis);
            const by = yield* clientOf;
            yield* feed.cut(session.id, session.backend, by);
            yield* Effect.logInfo("connection is cut").pipe(
              Effect.annotateLogs({
                connection: connection.id,
                client: connection.client,
                backend: session.backend === undefined ? null : describe(session.backend),
                by,
              }),
            );
            return connection;
          }),
        )
        .handleRaw("weight", ({ path, request }) =>
          Effect.gen(function* () {
            const weight = yield* weightIn(request);
            // The weight is within its bounds.
            const weighed = (by: string) => Effect.orDie(weigh(path.id, weight, by));
            return HttpServerResponse.unsafeJson(yield* chosen(path.id, weighed));
          }),
        );
    }),
  );

/** Answers from the registry and the feed; the metrics have those of the program too. */
export const layer = <Id extends string>(api: Described<Id>, program: Program) =>
  Layer.mergeAll(monitoring(api, program), live(api), steering(api));
