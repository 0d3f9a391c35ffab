/**
 * Discovery from an Operator service: `GET {url}/api/v1/instances?state=running` answers a JSON list of instances.
 *
 * @example
 * ```ts
 * import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
 * import { Config, Layer } from "effect"
 * import { OperatorDiscovery } from "zeitwork-load-balancer"
 *
 * const discovery = OperatorDiscovery.layer({ url: new URL("http://operator.internal:8080") }).pipe(
 *   Layer.provide(NodeHttpClient.layer),
 * )
 * const configured = OperatorDiscovery.layerConfig({
 *   url: Config.url("OPERATOR_URL"),
 *   token: Config.redacted("OPERATOR_TOKEN"),
 * })
 * ```
 */
import { STATUS_CODES } from "node:http";
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse";
import { Config, type ConfigError, Duration, Effect, Layer, type Redacted, Stream } from "effect";
import * as Timeout from "../clock/Timeout.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as InvalidOption from "../config/InvalidOption.js";
import * as Settings from "../config/Settings.js";
import { JsonList, type Limits, type Problem } from "../json/JsonList.js";
import { printable } from "../log/ForeignText.js";
import { quantity } from "../log/Quantity.js";
import { type Answer, Discovery, DiscoveryError, type DiscoveryFailure } from "./Discovery.js";
import * as OperatorFailure from "./OperatorFailure.js";
import { longestEntry, OperatorList } from "./OperatorList.js";

export type { Limits };

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where the Operator is; http or https. A path is a prefix of what is asked for; query and fragment are ignored.
   * http://localhost:8080 unless said otherwise.
   */
  readonly url?: URL;
  /** Sent as a bearer token. Takes the place of credentials in the URL, which are sent as basic ones. */
  readonly token?: Redacted.Redacted | undefined;
  /** How long one answer may take, from connecting to the last byte of its body. 3 s unless said otherwise. */
  readonly timeout?: Duration.DurationInput;
}

/**
 * What is accepted of an answer.
 *
 * @since 0.2.0
 * @category constants
 */
export const limits: Limits = {
  bytes: 16 * 1024 * 1024,
  entries: 100_000,
  depth: 100,
  entryBytes: longestEntry,
};

const tooLarge: Readonly<Partial<Record<Problem, string>>> = {
  bytes: `is longer than ${limits.bytes / 1024 / 1024} MiB`,
  entries: `has more than ${limits.entries} entries`,
  depth: `is nested deeper than ${limits.depth}`,
};

const decodePart = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};

const checkUrl = (url: URL): Effect.Effect<URL, InvalidOption.InvalidOption> =>
  url.protocol === "http:" || url.protocol === "https:"
    ? Effect.succeed(url)
    : new InvalidOption.InvalidOption({
        option: "url",
        // Without credentials.
        value: `${url.protocol}//${url.host}`,
        accepted: "an http:// or https:// URL",
      });

/**
 * Builds Discovery over the HttpClient of the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {},
): Effect.Effect<typeof Discovery.Service, InvalidOption.InvalidOption, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = (yield* HttpClient.HttpClient).pipe(HttpClient.withScope);
    const url = yield* checkUrl(options.url ?? Settings.defaults.operatorUrl);
    const token = yield* InvalidOption.token("token", options.token, 1);
    const timeoutMillis = yield* InvalidOption.duration(
      "timeout",
      options.timeout ?? Settings.defaults.discoveryTimeout,
    );
    const source = `${url.origin}${url.pathname.replace(/\/+$/, "")}/api/v1/instances?state=running`;

    const fail = (reason: DiscoveryFailure, wrong: string, cause?: unknown) =>
      new DiscoveryError({ reason, message: `GET ${source}: ${wrong}`, cause });

    const authorize = (request: HttpClientRequest.HttpClientRequest): HttpClientRequest.HttpClientRequest => {
      if (token !== undefined) return HttpClientRequest.bearerToken(request, token);
      if (`${url.username}${url.password}` === "") return request;
      return HttpClientRequest.basicAuth(request, decodePart(url.username), decodePart(url.password));
    };
    const request = authorize(HttpClientRequest.get(source, { acceptJson: true }));

    const broken = (error: unknown) =>
      fail("unreachable", OperatorFailure.describe(error), OperatorFailure.systemError(error));

    const wrongStatus = (status: number) =>
      fail(
        "status",
        `it answered ${status} ${STATUS_CODES[status] ?? ""}`.trimEnd() + OperatorFailure.statusHint(status),
      );

    const wrongBody = (
      problem: Problem,
      { bytes }: JsonList,
      { headers }: HttpClientResponse.HttpClientResponse,
    ): DiscoveryError => {
      const large = tooLarge[problem];
      if (large !== undefined) return fail("too-large", `the answer ${large}`);
      const type = headers["content-type"];
      const encoding = headers["content-encoding"];
      const read = [
        `${quantity(bytes, "byte")} read`,
        type === undefined ? "no content type" : printable(type),
        ...(encoding === undefined ? [] : [`content-encoding ${printable(encoding)}`]),
      ].join(", ");
      return fail(
        "malformed",
        problem === "not-json"
          ? `the answer is not JSON (${read})`
          : `the answer is neither a JSON list nor null (${read})`,
      );
    };

    const read = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<Answer, DiscoveryError> => {
      const found = new OperatorList();
      const list = new JsonList(limits, (entry, place) => found.add(entry, place));
      const unless = (problem: Problem | undefined): Effect.Effect<void, DiscoveryError> =>
        problem === undefined ? Effect.void : wrongBody(problem, list, response);
      return response.stream.pipe(
        Stream.mapError(broken),
        Stream.runForEach((piece) => Effect.flatMap(TimeSlices.run(list.push(piece)), unless)),
        Effect.zipRight(Effect.suspend(() => unless(list.end()))),
        Effect.map(() => found.answer),
      );
    };

    const list = Effect.gen(function* () {
      const response = yield* client.execute(request).pipe(
        Effect.mapError(broken),
        // A client may throw at a header that it cannot send, and quote it, with the token, in what it throws.
        Effect.catchAllDefect((defect) => Effect.fail(broken(defect))),
      );
      if (response.status < 200 || response.status > 299) return yield* wrongStatus(response.status);
      if (Number(response.headers["content-length"] ?? 0) > limits.bytes) {
        return yield* fail("too-large", `the answer ${tooLarge.bytes}`);
      }
      return yield* read(response);
    }).pipe(
      // Leaving the scope ends the request, wherever it stands.
      Effect.scoped,
      Timeout.timeoutFail(timeoutMillis, () =>
        fail("timeout", `no whole answer within ${Duration.format(Duration.millis(timeoutMillis))}`),
      ),
      // fetch would follow a redirect, and take the token to where it leads on the same host.
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
    );

    return Discovery.of({ source, list });
  });

/**
 * Asks the Operator at `options.url`. Which HTTP client does it is for the program to say.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {},
): Layer.Layer<Discovery, InvalidOption.InvalidOption, HttpClient.HttpClient> =>
  Layer.effect(Discovery, make(options));

/**
 * The same with options from a ConfigProvider.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
): Layer.Layer<Discovery, InvalidOption.InvalidOption | ConfigError.ConfigError, HttpClient.HttpClient> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));
