/**
 * Monitoring over HTTP: the answers of {@link Api}, the page and the descriptions, on a server of its own.
 *
 * @example
 * ```ts
 * import { Config, Layer } from "effect"
 * import { BackendRegistry, LoadBalancer, Monitoring, NodeTransport } from "zeitwork-load-balancer"
 *
 * const balancer = LoadBalancer.layer({ port: 8082 }).pipe(
 *   // Below the balancer: it answers until draining has ended.
 *   Layer.provide(
 *     Monitoring.layerConfig({ port: Config.port("MONITORING_PORT"), adminToken: Config.redacted("ADMIN_TOKEN") }),
 *   ),
 *   Layer.provideMerge(BackendRegistry.layer({})),
 *   Layer.provide(NodeTransport.layer),
 * )
 * ```
 */
import type * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import type * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import type * as HttpApp from "@effect/platform/HttpApp";
import * as HttpRouter from "@effect/platform/HttpRouter";
import { layerContext } from "@effect/platform/HttpServer";
import * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer";
import {
  Cause,
  Config,
  type ConfigError,
  Context,
  Effect,
  Layer,
  Option,
  type Redacted,
  type Scope,
} from "effect";
import type { BackendRegistry } from "../backend/BackendRegistry.js";
import * as InvalidOption from "../config/InvalidOption.js";
import type { Metrics } from "../metrics/Metrics.js";
import type { Program } from "../metrics/ProcessGauges.js";
import type { ListenError } from "../net/ListenError.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import { type Sessions, layer as sessionsLayer } from "../proxy/Sessions.js";
import type * as StateFile from "../state/StateFile.js";
import { Api } from "./Api.js";
import * as Description from "./Description.js";
import { Feed, layer as feedLayer } from "./Feed.js";
import * as Handlers from "./Handlers.js";
import * as HttpServer from "./HttpServer.js";
import * as Page from "./Page.js";
import * as SteeringAuth from "./SteeringAuth.js";

export type { Build, Program } from "../metrics/ProcessGauges.js";
export type { Limits } from "./HttpConnections.js";
export type { Options as HttpServerOptions } from "./HttpServer.js";

/**
 * @since 0.2.0
 * @category models
 */
export interface AppOptions extends Program {
  /** Those who send it as a bearer token may steer; without it nobody may. At least 16 printable ASCII characters. */
  readonly adminToken?: Redacted.Redacted | undefined;
  /** `status` of the `StateFile` of this program, where there is one. */
  readonly stateFile?: (() => StateFile.Status | undefined) | undefined;
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Options extends HttpServer.Options, AppOptions {}

/**
 * @since 0.2.0
 * @category tags
 */
export class Monitoring extends Context.Tag("zeitwork-load-balancer/Monitoring")<
  Monitoring,
  {
    /** Where it listens: the port in use where port 0 was asked for. */
    readonly address: SocketAddress;
  }
>() {}

const failure = (status: number, error: string, more: Record<string, string> = {}) =>
  HttpServerResponse.unsafeJson({ error }, { status, headers: { ...HttpServer.headers, ...more } });

const described: Description.Paths = { openApi: "/openapi.json", docs: "/docs" };
/** The page at /docs has its script and style in itself, and makes requests to this server only. */
const docsPolicy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

interface Path {
  readonly pattern: RegExp;
  readonly methods: ReadonlySet<string>;
  /** It is described with a body. */
  readonly takesBody: boolean;
  /** The methods, as the `allow` header lists them. */
  readonly allow: string;
}

/** The methods of each path, and whether one of them is described with a body. */
const endpoints = new Map<string, { readonly methods: ReadonlyArray<string>; readonly takesBody: boolean }>(
  [described.openApi, described.docs].map((path) => [path, { methods: ["GET"], takesBody: false }]),
);
for (const group of Object.values(Api.groups)) {
  for (const { method, path, payloadSchema } of Object.values(group.endpoints)) {
    const { methods = [], takesBody = false } = endpoints.get(path) ?? {};
    endpoints.set(path, {
      methods: [...methods, method],
      takesBody: takesBody || Option.isSome(payloadSchema),
    });
  }
}

/** What is answered at each path, read off the description. A GET is answered to HEAD too, without its body. */
const paths: ReadonlyArray<Path> = [...endpoints].map(([path, { methods, takesBody }]) => {
  const answered = methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
  return {
    pattern: new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/:[^/]+/g, "[^/]+")}$`),
    methods: new Set(answered),
    takesBody,
    allow: answered.join(", "),
  };
});

const pathOf = (url: string): string => url.split("?", 1)[0] ?? "";

const takesBody: HttpServer.TakesBody = ({ method, url = "" }) =>
  method === "POST" && paths.some((path) => path.takesBody && path.pattern.test(pathOf(url)));

const ofPage = { methods: new Set(["GET", "HEAD"]), allow: "GET, HEAD" };

/** What comes before and after the described answers: the same short JSON for every request that has none. */
const guarded = <R>(app: HttpApp.Default<never, R>, page: Page.Page) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const path = pathOf(request.url);
    const shown = page.get(path);
    const known = shown === undefined ? paths.find(({ pattern }) => pattern.test(path)) : ofPage;
    if (known === undefined)
      return Effect.succeed(failure(404, "no such path; /openapi.json lists what there is"));
    if (!known.methods.has(request.method)) {
      const { allow } = known;
      return Effect.succeed(failure(405, `this path takes only ${allow.replace(", ", " and ")}`, { allow }));
    }
    if (shown !== undefined) return Effect.succeed(shown);
    return Effect.map(app, (response) =>
      HttpServerResponse.setHeaders(response, {
        ...HttpServer.headers,
        ...(path === described.docs ? { "content-security-policy": docsPolicy } : {}),
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

/** The described answers. */
const handlers = <Id extends string>(api: Handlers.Described<Id>, { adminToken, ...program }: AppOptions) =>
  Layer.provide(Handlers.layer(api, program), SteeringAuth.layer(adminToken));

/** What the described answers are served with. */
const services = (options: AppOptions) =>
  Description.layer(described).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.provide(HttpApiBuilder.api(Api), handlers(Api, options)),
        HttpApiBuilder.Middleware.layer,
        // No file is served by it, and no body is read that comes in parts.
        layerContext,
      ),
    ),
    Layer.provideMerge(HttpApiBuilder.Router.Live),
    Layer.provideMerge(feedLayer(options)),
  );

/** The answers, and what ends the streams among them. */
const build = (options: AppOptions) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(services(options));
    const app = yield* HttpRouter.withRouterConfig(Effect.provide(HttpApiBuilder.httpApp, context), {
      // By itself the router finds no route for an id of more than 100 characters; a server bounds the whole path.
      maxParamLength: Number.POSITIVE_INFINITY,
    });
    const page = yield* Page.load(Page.built);
    return { app: Effect.provide(guarded(app, page), context), end: Context.get(context, Feed).end };
  });

/**
 * What monitoring answers, to be served by a server of one's own, or mounted in its router: page, descriptions and
 * errors included. Streams of events end with the scope. The limits of {@link layer} are not in it: they are the
 * server's.
 *
 * @example
 * ```ts
 * import * as HttpRouter from "@effect/platform/HttpRouter"
 * import { Effect } from "effect"
 * import { Monitoring } from "zeitwork-load-balancer"
 *
 * const router = Effect.map(Monitoring.httpApp({}), (app) =>
 *   HttpRouter.empty.pipe(HttpRouter.mountApp("/monitoring", app)),
 * )
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const httpApp = (
  options: AppOptions,
): Effect.Effect<
  HttpApp.Default,
  InvalidOption.InvalidOption,
  BackendRegistry | Metrics | Sessions | Scope.Scope
> => Effect.map(build(options), ({ app }) => app);

/**
 * What an API lacks whose groups are not all there.
 *
 * @since 0.2.0
 * @category models
 */
export type WithMonitoring<Groups> = ["monitoring" | "live" | "steering"] extends [
  HttpApiGroup.HttpApiGroup.Name<Groups>,
]
  ? unknown
  : { readonly addHttpApi: "MonitoringApi.Api is to be added to this API" };

/**
 * What `MonitoringApi.Api` describes, for an `HttpApi` of one's own that it was added to: under a prefix or not, beside
 * groups of one's own, and in its OpenAPI and its derived client. The page, and the short JSON of {@link httpApp} for
 * unknown paths and methods, are not in it.
 *
 * Streams of events end with its scope: provide the server below it, so that they end before the server waits for its
 * last answer.
 *
 * @example
 * ```ts
 * import * as HttpApi from "@effect/platform/HttpApi"
 * import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
 * import { Layer } from "effect"
 * import { Monitoring, MonitoringApi } from "zeitwork-load-balancer"
 *
 * const Ours = HttpApi.make("ours").addHttpApi(MonitoringApi.Api.prefix("/balancer"))
 * const api = HttpApiBuilder.api(Ours).pipe(Layer.provide(Monitoring.layerHandlers(Ours, {})))
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layerHandlers = <Id extends string, Groups extends HttpApiGroup.HttpApiGroup.Any, E, R>(
  api: HttpApi.HttpApi<Id, Groups, E, R> & WithMonitoring<Groups>,
  options: AppOptions,
): Layer.Layer<
  | HttpApiGroup.ApiGroup<Id, "monitoring">
  | HttpApiGroup.ApiGroup<Id, "live">
  | HttpApiGroup.ApiGroup<Id, "steering">,
  InvalidOption.InvalidOption,
  BackendRegistry | Metrics | Sessions
> => {
  // Nothing is asked of it but these groups, which its type says it has.
  const described = api as unknown as Handlers.Described<Id>;
  return Layer.provide(handlers(described, options), feedLayer(options));
};

const make = (options: Options) =>
  Effect.gen(function* () {
    yield* InvalidOption.ipAddress("host", options.host);
    yield* InvalidOption.port("port", options.port);
    const { app, end } = yield* build(options);
    const address = yield* HttpServer.make(options, yield* NodeHttpServer.makeHandler(app), end, takesBody);
    yield* Effect.logInfo("monitoring").pipe(Effect.annotateLogs({ address: format(address) }));
    return Monitoring.of({ address });
  });

/**
 * Serves monitoring for as long as its scope is open, over open sessions that are given. Fails when the port cannot be
 * listened on, or when an option cannot be used. At the end it stops listening, and resets what has not ended a second
 * later.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerWithoutDependencies = (
  options: Options,
): Layer.Layer<Monitoring, InvalidOption.InvalidOption | ListenError, BackendRegistry | Metrics | Sessions> =>
  Layer.scoped(Monitoring, make(options));

/**
 * The same over the sessions that the balancer of this program has, as `LoadBalancer.layer` provides them.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options,
): Layer.Layer<Monitoring, InvalidOption.InvalidOption | ListenError, BackendRegistry | Metrics> =>
  Layer.provide(layerWithoutDependencies(options), sessionsLayer);

/**
 * The same with options from a `Config`, such as fields of `Settings.config`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
): Layer.Layer<
  Monitoring,
  ConfigError.ConfigError | InvalidOption.InvalidOption | ListenError,
  BackendRegistry | Metrics
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));
