/**
 * Telemetry over OTLP: the log, the metrics, and a sample of connections as spans, to one collector. Loaded only where
 * one is set.
 *
 * A collector that is slow or away costs nothing but what is not sent to it: requests are few at a time and short, what
 * is waiting is bounded, and one warning a minute says so.
 */
import * as OtlpLogger from "@effect/opentelemetry/OtlpLogger";
import * as OtlpResource from "@effect/opentelemetry/OtlpResource";
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization";
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientError from "@effect/platform/HttpClientError";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import { Clock, Duration, Effect, Iterable, Layer, Random, Redacted, Schedule, Utils } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as EventLoop from "../clock/EventLoop.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import { processStarted } from "../clock/WallClock.js";
import * as LogThrottle from "../log/LogThrottle.js";
import { Metrics } from "../metrics/Metrics.js";
import { loopDelays, type Program } from "../metrics/ProcessGauges.js";
import type { Series } from "../metrics/Series.js";
import * as Gauges from "../monitoring/Gauges.js";
import { Sessions, layer as sessionsLayer } from "../proxy/Sessions.js";
import * as ConnectionSpan from "./ConnectionSpan.js";
import * as OtlpMetrics from "./OtlpMetrics.js";
import { Telemetry } from "./Telemetry.js";

export interface Options {
  /** The collector, without `/v1/...`: `http://localhost:4318`. */
  readonly endpoint: URL;
  /** Sent with every request. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>> | undefined;
  readonly serviceName: string;
  /** The part of connections that become spans, 0 to 1. */
  readonly sampling: number;
  /** Of this program. */
  readonly version: string;
}

/** How long one request may take, and what is left to send at the end. */
const patience = Duration.seconds(5);
const lastPatience = Duration.seconds(2);

/** Requests under way at one time. */
const atOnce = 4;

/** From one sending of the metrics to the next. */
const every = Duration.seconds(10);

/** The client that all goes through: it gives up in time, and does not let requests heap up. */
const bounded: Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient> = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(HttpClient.HttpClient, (client) => {
    const warn = LogThrottle.make("1 minute");
    let underWay = 0;
    return HttpClient.transform(client, (sending, request) =>
      Effect.suspend(() => {
        const failure = (description: string) =>
          new HttpClientError.RequestError({ request, reason: "Transport", description });
        if (underWay >= atOnce) return failure("the collector is too slow");
        underWay += 1;
        return sending.pipe(
          Effect.timeoutFail({
            duration: patience,
            onTimeout: () => failure(`no answer within ${Duration.format(patience)}`),
          }),
          Effect.ensuring(
            Effect.sync(() => {
              underWay -= 1;
            }),
          ),
        );
      }).pipe(
        Effect.tap((response) =>
          response.status >= 300
            ? warn(Effect.logWarning(`the telemetry collector answers with status ${response.status}`))
            : Effect.void,
        ),
        Effect.tapError(({ message }) =>
          warn(Effect.logWarning("telemetry cannot be sent").pipe(Effect.annotateLogs({ why: message }))),
        ),
      ),
    );
  }),
);

const resourceOf = ({ serviceName, version }: Options) => ({ serviceName, serviceVersion: version });

const urlOf = ({ endpoint }: Options, path: string): string =>
  `${endpoint.href.replace(/\/+$/, "")}/v1/${path}`;

const common = (options: Options, path: string) => ({
  url: urlOf(options, path),
  resource: resourceOf(options),
  headers: options.headers === undefined ? {} : Redacted.value(options.headers),
  shutdownTimeout: lastPatience,
});

const client = Layer.merge(bounded, OtlpSerialization.layerJson);

/** Random numbers for where connections end, which is no fiber: Effect's own generator, with a seed from its Random. */
const generator = Effect.map(Random.nextInt, (seed) => new Utils.PCGRandom(seed));

/** Adds the collector to where the log goes, and sends it spans of a sample of connections. */
export const layer = (options: Options): Layer.Layer<Telemetry, never, HttpClient.HttpClient> =>
  Layer.merge(
    OtlpLogger.layer(common(options, "logs")),
    Layer.scoped(
      Telemetry,
      Effect.zipWith(OtlpTracer.make(common(options, "traces")), generator, (tracer, random) => ({
        connectionEnded:
          options.sampling === 0
            ? undefined
            : (record) => {
                if (random.number() < options.sampling) ConnectionSpan.emit(tracer, record);
              },
      })),
    ),
  ).pipe(Layer.provide(client));

/** How many series one request has: encoding more at once would hold connections up. */
const seriesPerRequest = 1_000;

/** Sends the metrics of the balancer, and of the program, every ten seconds, and once more at the end. */
export const metrics = (
  options: Options & Program,
): Layer.Layer<never, never, BackendRegistry | Metrics | HttpClient.HttpClient> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const registry = yield* BackendRegistry;
      const metrics = yield* Metrics;
      const sessions = yield* Sessions;
      const http = yield* HttpClient.HttpClient;
      const { metrics: body } = yield* OtlpSerialization.OtlpSerialization;
      const resource = yield* OtlpResource.fromConfig(resourceOf(options));
      const { headers, url } = common(options, "metrics");
      const delays = yield* loopDelays;
      const scope = { name: options.serviceName };
      const started = BigInt(Math.round(processStarted * 1000)) * 1000n;

      const post = (series: ReadonlyArray<Series>, now: bigint) => {
        const scopeMetrics = [{ scope, metrics: OtlpMetrics.encode(series, started, now) }];
        return HttpClientRequest.post(url, { headers }).pipe(
          HttpClientRequest.setBody(body({ resourceMetrics: [{ resource, scopeMetrics }] })),
          http.execute,
          Effect.flatMap(({ text }) => text),
          Effect.scoped,
        );
      };
      const send = Effect.gen(function* () {
        const now = BigInt(yield* Clock.currentTimeMillis) * 1_000_000n;
        const sources = { pool: yield* registry.pool, metrics, sessions: yield* sessions.snapshot };
        const all = Gauges.everything(sources, options, delays, yield* MonotonicClock.now);
        for (const series of Iterable.chunksOf(all, seriesPerRequest)) {
          yield* post(series, now);
          yield* EventLoop.turn;
        }
        // A failure was logged, and the next time everything is sent again.
      }).pipe(Effect.ignore);
      yield* Effect.addFinalizer(() => Effect.timeoutOption(Effect.interruptible(send), lastPatience));
      yield* Effect.forkScoped(Effect.repeat(send, Schedule.spaced(every)));
    }),
  ).pipe(Layer.provide([client, sessionsLayer]));
