/**
 * Telemetry over OTLP: the log, and a sample of connections as spans, to one collector; and the HTTP client for it that
 * `OtlpMetrics` uses too. Loaded only if a collector is configured.
 *
 * If the collector is slow or unreachable, telemetry is dropped and nothing else is affected: there are few requests at
 * a time, each has a deadline, the queues are bounded, and one warning a minute is logged.
 */
import * as OtlpLogger from "@effect/opentelemetry/OtlpLogger";
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization";
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientError from "@effect/platform/HttpClientError";
import { Duration, Effect, Layer, Random, Redacted, Utils } from "effect";
import * as LogThrottle from "../log/LogThrottle.js";
import * as ConnectionSpan from "./ConnectionSpan.js";
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

/** The deadline of one request. */
const patience = Duration.seconds(5);
/** The deadline of the last request, at shutdown. */
export const lastPatience = Duration.seconds(2);

/** The most requests in progress at one time. */
const atOnce = 4;

/** The client of all exporters: each request has a deadline, and at most {@link atOnce} are in progress. */
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

/** What the telemetry is about: this program. */
export const resourceOf = ({ serviceName, version }: Options) => ({ serviceName, serviceVersion: version });

const urlOf = ({ endpoint }: Options, path: string): string =>
  `${endpoint.href.replace(/\/+$/, "")}/v1/${path}`;

/** The options that the exporters share. */
export const common = (options: Options, path: string) => ({
  url: urlOf(options, path),
  resource: resourceOf(options),
  headers: options.headers === undefined ? {} : Redacted.value(options.headers),
  shutdownTimeout: lastPatience,
});

/** The client and the encoding of the exporters. */
export const client = Layer.merge(bounded, OtlpSerialization.layerJson);

/** A generator for code outside of fibers, where connections end. Its seed is from Effect's `Random`. */
const generator = Effect.map(Random.nextInt, (seed) => new Utils.PCGRandom(seed));

/** Sends the log to the collector too, and spans of a sample of connections. */
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
