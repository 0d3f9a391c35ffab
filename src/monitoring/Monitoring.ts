/**
 * Monitoring over HTTP: the server, its limits and its end. What it answers stands in {@link Api}.
 *
 * It trusts nothing that is sent to it: requests are small, slow ones are cut off, and how many connections it
 * holds is bounded.
 */
import * as Http from "node:http";
import type { Duplex } from "node:stream";
import {
  HttpApiBuilder,
  HttpApiSwagger,
  type HttpApp,
  HttpServerRequest,
  HttpServerResponse,
} from "@effect/platform";
import { NodeHttpServer } from "@effect/platform-node";
import { Cause, Context, Effect, Layer, type Redacted } from "effect";
import type { BackendRegistry } from "../backend/BackendRegistry.js";
import { failureOf, ListenError } from "../net/ListenError.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import { Api } from "./Api.js";
import { Feed, layer as feedLayer } from "./Feed.js";
import type { Program } from "./Gauges.js";
import * as Handlers from "./Handlers.js";
import * as Page from "./Page.js";
import * as Steering from "./Steering.js";

export interface Options extends Program {
  /** The address to listen on; undefined is every address, IPv6 and IPv4 (IPv4 alone on a host without IPv6). */
  readonly host: string | undefined;
  /** 0 is any free port. */
  readonly port: number;
  /** Whoever sends it as a bearer token may steer; without it nobody may. At least 16 characters. */
  readonly adminToken?: Redacted.Redacted | undefined;
}

export class Monitoring extends Context.Tag("zeitwork-load-balancer/Monitoring")<
  Monitoring,
  {
    /** Where it listens: the port in use where port 0 was asked for. */
    readonly address: SocketAddress;
  }
>() {}

/** Request line and headers together, in bytes. */
const largestHeader = 8 * 1024;
/** No request has a use for a body; one larger than this is refused instead of being read and ignored. */
const largestBody = 16 * 1024;
/** Connections held at once; what comes beyond is closed. */
const mostConnections = 512;
/** How long a request may take to arrive. */
const requestMillis = 5_000;
/** How long running requests may go on once the server was told to stop. */
const closeMillis = 1_000;

const headers = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

const failure = (status: number, error: string, more: Record<string, string> = {}) =>
  HttpServerResponse.unsafeJson({ error }, { status, headers: { ...headers, ...more } });

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

const tooLarge = (request: HttpServerRequest.HttpServerRequest): boolean =>
  request.headers["transfer-encoding"] !== undefined ||
  Number(request.headers["content-length"] ?? 0) > largestBody;

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
    if (tooLarge(request))
      return Effect.succeed(failure(413, "the request is too large", { connection: "close" }));
    if (shown !== undefined) return Effect.succeed(shown);
    return Effect.map(path === openApiPath ? Effect.succeed(openApi) : app, (response) =>
      HttpServerResponse.setHeaders(response, {
        ...headers,
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

const malformed: Readonly<Record<string, readonly [status: string, error: string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the request is too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request took too long to arrive"],
};

// What Node's parser refuses never becomes a request, so it is answered on the bare socket.
const refuse = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, text] = malformed[error.code ?? ""] ?? [
    "400 Bad Request",
    "this is not an HTTP/1.1 request",
  ];
  const body = JSON.stringify({ error: text });
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
};

const listen = ({ host, port }: Options, handler: Http.RequestListener, beforeClose: Effect.Effect<void>) =>
  Effect.acquireRelease(
    Effect.async<Http.Server, ListenError>((resume) => {
      const server = Http.createServer(
        {
          maxHeaderSize: largestHeader,
          headersTimeout: requestMillis,
          requestTimeout: requestMillis,
          keepAliveTimeout: requestMillis,
          connectionsCheckingInterval: 1_000,
        },
        handler,
      );
      server.maxConnections = mostConnections;
      server.on("clientError", refuse);
      // Nothing is ever upgraded or continued; without a listener of their own these wait for ever.
      server.on("upgrade", (_request, socket) => socket.destroy());
      server.on("connect", (_request, socket) => socket.destroy());
      const onError = (error: NodeJS.ErrnoException): void => {
        const address = { host: host ?? "::", port };
        resume(Effect.fail(new ListenError({ reason: failureOf(error.code), address, code: error.code })));
      };
      server.on("error", onError);
      server.listen({ ...(host === undefined ? {} : { host }), port }, () => {
        server.off("error", onError);
        // Accepting can fail later (out of descriptors); Node goes on by itself, and so do we.
        server.on("error", () => {});
        resume(Effect.succeed(server));
      });
    }),
    // An idle connection, a half-sent request or a stream without end must not hold up the end of the program.
    (server) =>
      Effect.zipRight(
        beforeClose,
        Effect.async<void>((resume) => {
          const deadline = setTimeout(() => server.closeAllConnections(), closeMillis);
          server.close(() => {
            clearTimeout(deadline);
            resume(Effect.void);
          });
          server.closeIdleConnections();
        }),
      ),
  );

/** Builds the server. Its scope owns it: closing stops listening, and cuts off what has not ended a second later. */
export const make = (options: Options) =>
  Effect.gen(function* () {
    const app = yield* HttpApiBuilder.httpApp;
    const handler = yield* NodeHttpServer.makeHandler(guarded(app, yield* Page.load(Page.built)));
    const feed = yield* Feed;
    const server = yield* listen(options, handler, feed.end);
    const bound = server.address();
    const address =
      bound === null || typeof bound === "string"
        ? { host: options.host ?? "::", port: options.port }
        : { host: bound.address, port: bound.port };
    yield* Effect.logInfo("monitoring").pipe(Effect.annotateLogs({ address: format(address) }));
    return Monitoring.of({ address });
  });

/** Serves monitoring for as long as its scope is open. Fails when the port cannot be listened on. */
export const layer = (options: Options): Layer.Layer<Monitoring, ListenError, BackendRegistry> =>
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
