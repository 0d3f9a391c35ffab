/**
 * Monitoring over HTTP: the answers of {@link Api}, the page and the descriptions, on a server of its own.
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpApiSwagger from "@effect/platform/HttpApiSwagger";
import type * as HttpApp from "@effect/platform/HttpApp";
import * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer";
import { Cause, Context, Effect, Layer, type Redacted } from "effect";
import type { BackendRegistry } from "../backend/BackendRegistry.js";
import * as InvalidOption from "../config/InvalidOption.js";
import type { Metrics } from "../metrics/Metrics.js";
import type { Program } from "../metrics/ProcessGauges.js";
import type { ListenError } from "../net/ListenError.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import { type Sessions, layer as sessionsLayer } from "../proxy/Sessions.js";
import { Api } from "./Api.js";
import { Feed, layer as feedLayer } from "./Feed.js";
import * as Handlers from "./Handlers.js";
import * as HttpServer from "./HttpServer.js";
import * as Page from "./Page.js";
import * as Steering from "./Steering.js";

export interface Options extends HttpServer.Options, Program {
  /** Those who send it as a bearer token may steer; without it nobody may. At least 16 printable ASCII characters. */
  readonly adminToken?: Redacted.Redacted | undefined;
}

export class Monitoring extends Context.Tag("zeitwork-load-balancer/Monitoring")<
  Monitoring,
  {
    /** Where it listens: the port in use where port 0 was asked for. */
    readonly address: SocketAddress;
  }
>() {}

const failure = (status: number, error: string, more: Record<string, string> = {}) =>
  HttpServerResponse.unsafeJson({ error }, { status, headers: { ...HttpServer.headers, ...more } });

const openApiPath = "/openapi.json";
const docsPath = "/docs";
/** The page at /docs has its script and style in itself, and asks nobody but this server. */
const docsPolicy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const openApi = HttpServerResponse.unsafeJson(Handlers.openApi);

interface Path {
  readonly pattern: RegExp;
  readonly methods: ReadonlySet<string>;
  /** The methods, as the `allow` header lists them. */
  readonly allow: string;
}

/** What is answered at each path, read off the description. A GET is answered to HEAD too, without its body. */
const paths: ReadonlyArray<Path> = [
  ...Object.entries(Handlers.openApi.paths),
  [openApiPath, { get: undefined }] as const,
  [docsPath, { get: undefined }] as const,
].map(([path, item]) => {
  const methods = Object.keys(item ?? {}).flatMap((method) =>
    method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()],
  );
  return {
    pattern: new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/\{[^}]+\}/g, "[^/]+")}$`),
    methods: new Set(methods),
    allow: methods.join(", "),
  };
});

const ofPage = { methods: new Set(["GET", "HEAD"]), allow: "GET, HEAD" };

/** What comes before and after the described answers: the same short JSON for every request that has none. */
const guarded = <R>(app: HttpApp.Default<never, R>, page: Page.Page) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const shown = page.get(path);
    const known = shown === undefined ? paths.find(({ pattern }) => pattern.test(path)) : ofPage;
    if (known === undefined)
      return Effect.succeed(failure(404, "no such path; /openapi.json lists what there is"));
    if (!known.methods.has(request.method)) {
      const { allow } = known;
      return Effect.succeed(failure(405, `only ${allow.replace(", ", " and ")} is answered here`, { allow }));
    }
    if (shown !== undefined) return Effect.succeed(shown);
    return Effect.map(path === openApiPath ? Effect.succeed(openApi) : app, (response) =>
      HttpServerResponse.setHeaders(response, {
        ...HttpServer.headers,
        ...(path === docsPath ? { "content-security-policy": docsPolicy } : {}),
        // RFC 9110, 11.6.1: an answer that asks for a credential says for which.
        ...(response.status === 401 ? { "www-authenticate": "Bearer" } : {}),
      }),
    );
  }).pipe(
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause)
        ? Effect.failCause(cause)
        : Effect.as(Effect.logError("a monitoring request failed", cause), failure(500, "internal error")),
    ),
  );

/** Builds the server. Its scope owns it: closing stops listening, and resets what has not ended a second later. */
export const make = (options: Options) =>
  Effect.gen(function* () {
    yield* InvalidOption.ipAddress("host", options.host);
    yield* InvalidOption.port("port", options.port);
    const app = yield* HttpApiBuilder.httpApp;
    const handler = yield* NodeHttpServer.makeHandler(guarded(app, yield* Page.load(Page.built)));
    const feed = yield* Feed;
    const address = yield* HttpServer.make(options, handler, feed.end);
    yield* Effect.logInfo("monitoring").pipe(Effect.annotateLogs({ address: format(address) }));
    return Monitoring.of({ address });
  });

/**
 * Serves monitoring for as long as its scope is open. Fails when the port cannot be listened on, or when an option
 * cannot be used.
 */
export const layer = (
  options: Options,
): Layer.Layer<Monitoring, InvalidOption.InvalidOption | ListenError, BackendRegistry | Metrics> =>
  Layer.provide(layerWithoutDependencies(options), sessionsLayer);

/**
 * The same over open sessions that are given.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerWithoutDependencies = (
  options: Options,
): Layer.Layer<Monitoring, InvalidOption.InvalidOption | ListenError, BackendRegistry | Metrics | Sessions> =>
  Layer.scoped(Monitoring, make(options)).pipe(
    Layer.provide(HttpApiSwagger.layer({ path: docsPath })),
    Layer.provide([
      HttpApiBuilder.api(Api).pipe(
        Layer.provide(Layer.provide(Handlers.layer(options), Steering.layer(options.adminToken))),
      ),
      HttpApiBuilder.Router.Live,
      HttpApiBuilder.Middleware.layer,
      NodeHttpServer.layerContext,
    ]),
    Layer.provide(feedLayer(options.build)),
  );
