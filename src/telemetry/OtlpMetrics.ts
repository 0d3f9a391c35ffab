/**
 * Sends the metrics to a collector over OTLP: the series that `/metrics` shows. Loaded only if a collector is
 * configured.
 */
import * as OtlpResource from "@effect/opentelemetry/OtlpResource";
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import { Clock, Duration, Effect, Iterable, Layer, Schedule } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import { processStarted } from "../clock/WallClock.js";
import { Metrics } from "../metrics/Metrics.js";
import { loopDelays, type Program } from "../metrics/ProcessGauges.js";
import type { Series } from "../metrics/Series.js";
import * as MetricsCollector from "../monitoring/MetricsCollector.js";
import { Sessions, layer as sessionsLayer } from "../proxy/Sessions.js";
import * as Otlp from "./Otlp.js";
import { encode } from "./OtlpMetricsEncoder.js";

/** The interval from one export to the next. */
const every = Duration.seconds(10);

/** The series in one request: encoding more at once would delay connections. */
const seriesPerRequest = 1_000;

/** Sends the metrics of the balancer and of the program every ten seconds, and once more at shutdown. */
export const layer = (
  options: Otlp.Options & Program,
): Layer.Layer<never, never, BackendRegistry | Metrics | HttpClient.HttpClient> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const registry = yield* BackendRegistry;
      const metrics = yield* Metrics;
      const sessions = yield* Sessions;
      const http = yield* HttpClient.HttpClient;
      const { metrics: body } = yield* OtlpSerialization.OtlpSerialization;
      const resource = yield* OtlpResource.fromConfig(Otlp.resourceOf(options));
      const { headers, url } = Otlp.common(options, "metrics");
      const delays = yield* loopDelays;
      const scope = { name: options.serviceName };
      const started = BigInt(Math.round(processStarted * 1000)) * 1000n;

      const post = (series: ReadonlyArray<Series>, now: bigint) => {
        const scopeMetrics = [{ scope, metrics: encode(series, started, now) }];
        return HttpClientRequest.post(url, { headers }).pipe(
          HttpClientRequest.setBody(body({ resourceMetrics: [{ resource, scopeMetrics }] })),
          http.execute,
          Effect.flatMap(({ text }) => text),
          Effect.scoped,
        );
      };
      const send = Effect.gen(function* () {
        const now = BigInt(yield* Clock.currentTimeMillis) * 1_000_000n;
        const sources = {
          pool: yield* registry.pool,
          metrics,
          sessions: yield* sessions.snapshot,
          queued: yield* registry.queued,
        };
        const all = MetricsCollector.everything(sources, options, delays, yield* MonotonicClock.now);
        for (const series of Iterable.chunksOf(all, seriesPerRequest)) {
          yield* post(series, now);
          yield* TimeSlices.turn;
        }
        // Failures are logged by the client; the next export sends all series again.
      }).pipe(Effect.ignore);
      yield* Effect.addFinalizer(() => Effect.timeoutOption(Effect.interruptible(send), Otlp.lastPatience));
      yield* Effect.forkScoped(Effect.repeat(send, Schedule.spaced(every)));
    }),
  ).pipe(Layer.provide([Otlp.client, sessionsLayer]));
