/**
 * The HTTP/1.1 server of monitoring: its socket, its limits and its end. What is answered is the caller's; see
 * {@link Monitoring}.
 *
 * It trusts nothing that is sent to it: a request that is malformed, too large or too slow is answered here, in the
 * same short JSON as every other error, and never reaches the caller.
 */
import * as Http from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Duration, Effect, FiberSet, type Scope } from "effect";
import * as LogThrottle from "../log/LogThrottle.js";
import * as DescriptorBudget from "../net/DescriptorBudget.js";
import * as Descriptors from "../net/Descriptors.js";
import { failureOf, ListenError } from "../net/ListenError.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import { HttpConnections, type Limits } from "./HttpConnections.js";
import { ResponseScheduler } from "./ResponseScheduler.js";

/**
 * Where the server listens, and how many connections it holds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** The address to listen on; undefined is every address, IPv6 and IPv4 (IPv4 alone on a host without IPv6). */
  readonly host?: string | undefined;
  /** 0 is any free port. */
  readonly port: number;
  /** How many connections it holds; by the descriptors of this process unless said otherwise. */
  readonly limits?: Limits;
  /**
   * Has the kernel keep back each connection of a listening socket, named by its descriptor, until its first bytes have
   * come, for this many milliseconds: what a transport may have under the same name. Without it, a burst of more
   * connections than there are places can close some before their requests have come.
   */
  readonly deferAccept?: ((descriptor: number, millis: number) => void) | undefined;
}

/** Request line and headers together, in bytes. */
const largestHeader = 8 * 1024;
/** A request's body, in bytes: a larger one is refused. If the handler does not use it, it is read and ignored. */
export const largestBody = 16 * 1024;
/**
 * What the kernel may hold until it is accepted; it caps this at net.core.somaxconn. Beyond that it drops connections,
 * and that client tries again only after a second, then after three: a burst of viewers must not do that to a probe of
 * health.
 */
const backlog = 4096;
/** How many requests of one connection may wait for the responses to those before them. */
const mostAhead = 16;
/** How long a connection on which nothing was read counts as one whose request is on its way. */
const arrivalMillis = 1_000;
/** How long a request may take to arrive. */
const requestMillis = 5_000;
/** How long a client may leave its answer unread. */
const silentMillis = 30_000;
/** How long running requests may go on once the server is closed. */
const closeMillis = 1_000;
/** The shortest time between two log lines about closed connections. */
const logInterval = Duration.seconds(60);

/** Half of the places are for what arrives: thus a burst of new connections closes none that is in use. */
const limitsByDescriptors = (): Limits => {
  const most = DescriptorBudget.forMonitoring(Descriptors.read()?.limit);
  return { kept: most >> 1, most };
};

/** Why a request is not given to the handler. */
interface Refusal {
  readonly status: number;
  readonly error: string;
}

/** Whether the handler has a use for a request's body. All of it is there when the handler is called. */
export type TakesBody = (request: Http.IncomingMessage) => boolean;

/** What is answered whatever the others do. */
const health = /^\/(?:health|livez|readyz)(?:\?|$)/;

/** The headers of every answer. */
export const headers = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

const refused = (status: number, error: string): Refusal => ({ status, error });

const malformed = refused(400, "this is not an HTTP/1.1 request");
const tooLarge = refused(413, "the request is too large");

const refusals: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: refused(431, tooLarge.error),
  ERR_HTTP_REQUEST_TIMEOUT: refused(408, "the request took too long to arrive"),
};

/**
 * RFC 9112, section 3.2.2: a target that is a whole URI is accepted from every client, not from those of proxies alone.
 */
const originForm = (target: string): string => {
  const absolute = /^https?:\/\/[^/?#]*([^#]*)/i.exec(target);
  if (absolute === null) return target;
  const [, path = ""] = absolute;
  return path.startsWith("/") ? path : `/${path}`;
};

// RFC 3986, section 3.2.2, without a judgement of what a name is; RFC 9112, section 3.2, asks for no more than one.
const host = /^(?:\[[0-9a-z:.%_-]*\]|[0-9a-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?$/i;

/** What is wrong with a request, before its body is looked at. */
const problemOf = (request: Http.IncomingMessage): Refusal | undefined => {
  const { httpVersion, rawHeaders, url = "" } = request;
  const hosts = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === "host");
  if (hosts.length > 1) return refused(400, "the request has more than one Host header");
  if (hosts.length === 0 && httpVersion === "1.1") return refused(400, "the request has no Host header");
  if (hosts.some((value) => !host.test(value)))
    return refused(400, "the Host header is not a host and a port");
  try {
    decodeURIComponent(url.split("?", 1)[0] ?? "");
  } catch {
    return refused(400, "the path is not percent-encoded UTF-8");
  }
  return Number(request.headers["content-length"] ?? 0) > largestBody ? tooLarge : undefined;
};

const refuse = (response: Http.ServerResponse, { error, status }: Refusal): void => {
  const body = Buffer.from(JSON.stringify({ error }));
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json",
    "content-length": body.length,
    connection: "close",
  });
  response.end(body);
};

// What Node's parser refuses never becomes a request, so it is answered on the bare socket.
const refuseSocket = (socket: Duplex, { error, status }: Refusal, more = ""): void => {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({ error });
  socket.end(
    `HTTP/1.1 ${status} ${Http.STATUS_CODES[status]}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n${more}connection: close\r\n\r\n${body}`,
  );
};

/** That a request has a body, by its headers (RFC 9112, 6). */
export const hasBody = (headers: Readonly<Record<string, unknown>>): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;

/** Reads the body of a request to its end and forgets it, then calls back; or responds that it is too large. */
const withoutBody = (
  request: Http.IncomingMessage,
  response: Http.ServerResponse,
  then: () => void,
): void => {
  let read = 0;
  const onData = (chunk: Buffer): void => {
    read += chunk.length;
    if (read <= largestBody) return;
    request.off("data", onData).off("end", then).pause();
    refuse(response, tooLarge);
  };
  request.on("data", onData).once("end", then);
};

/**
 * The same for one whose body has a use: it calls back when all of it has come, and whoever reads the request then gets
 * it from its beginning. A handler that read by itself would be under way, and hold its place, for as long as the
 * client sends.
 */
const withBody = (request: Http.IncomingMessage, response: Http.ServerResponse, then: () => void): void => {
  const chunks: Array<Buffer> = [];
  let read = 0;
  const onReadable = (): void => {
    // Reading on at the end of the stream would have it end before the handler listens.
    while (request.readableLength > 0) {
      // Bytes, for as long as no encoding was set.
      const chunk = request.read() as Buffer;
      chunks.push(chunk);
      read += chunk.length;
    }
    if (read <= largestBody && !request.complete) return;
    request.off("readable", onReadable);
    if (read > largestBody) {
      refuse(response, tooLarge);
    } else if (read === 0) {
      refuse(response, refused(400, "the body of the request is empty"));
    } else {
      request.unshift(Buffer.concat(chunks));
      then();
    }
  };
  request.on("readable", onReadable);
};

/**
 * Handles the requests of a connection one after the other. Node hands over all pipelined requests at once: without
 * this, hundreds of requests in one packet could each start an endless stream of events.
 */
const inTurn = (): ((listener: Http.RequestListener) => Http.RequestListener) => {
  /** Of each connection with an answer under way. */
  const ahead = new WeakMap<Socket, Array<() => void>>();
  return (listener) => (request, response) => {
    const { socket } = request;
    const next = (): void => {
      const begin = socket.writable ? ahead.get(socket)?.shift() : undefined;
      if (begin === undefined) ahead.delete(socket);
      else begin();
    };
    const begin = (): void => {
      response.once("close", next);
      listener(request, response);
    };
    const waiting = ahead.get(socket);
    if (waiting === undefined) {
      ahead.set(socket, []);
      begin();
    } else if (waiting.length < mostAhead) waiting.push(begin);
    else socket.destroy();
  };
};

const listener =
  (
    handler: Http.RequestListener,
    takesBody: TakesBody,
    connections: HttpConnections<Socket>,
    responses: ResponseScheduler,
  ): Http.RequestListener =>
  (request, response) => {
    const problem = problemOf(request);
    if (problem !== undefined) {
      refuse(response, problem);
      return;
    }
    request.url = originForm(request.url ?? "");
    const answer = (): void => {
      const { socket } = request;
      if (socket.destroyed) return;
      const isHealth = health.test(request.url ?? "");
      connections.requested(socket, isHealth);
      // Before the next request of the connection begins, which happens at this event too.
      response.prependOnceListener("close", () => connections.answered(socket));
      if (isHealth) handler(request, response);
      else responses.add(() => (socket.destroyed ? undefined : handler(request, response)));
    };
    if (!hasBody(request.headers)) answer();
    else if (takesBody(request)) withBody(request, response, answer);
    else withoutBody(request, response, answer);
  };

const create = (
  handler: Http.RequestListener,
  takesBody: TakesBody,
  limits: Limits,
  onExcess: () => void,
): Http.Server => {
  const connections = new HttpConnections<Socket>(
    limits,
    (socket) => socket.writableLength > 0,
    (socket) => socket.bytesRead > 0,
  );
  const responses = new ResponseScheduler(setImmediate);
  const turns = inTurn();
  const server = Http.createServer(
    {
      maxHeaderSize: largestHeader,
      headersTimeout: requestMillis,
      requestTimeout: requestMillis,
      keepAliveTimeout: requestMillis,
      connectionsCheckingInterval: 1_000,
      // It is asked for here, since Node's own answer has no body.
      requireHostHeader: false,
    },
    turns(listener(handler, takesBody, connections, responses)),
  );
  server.timeout = silentMillis;
  const closeExcess = (): void => {
    for (const socket of connections.excess()) {
      socket.destroy();
      onExcess();
    }
  };
  server.on("connection", (socket) => {
    const arrival = setTimeout(() => {
      connections.settled(socket);
      closeExcess();
    }, arrivalMillis);
    responses.arrived();
    connections.arrived(socket);
    socket.once("close", () => {
      clearTimeout(arrival);
      connections.closed(socket);
    });
    closeExcess();
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    // What is written now would stand within the answer that is under way.
    // Its type leaves room for sockets of others, which Node's server of HTTP never has.
    if (error.code === "ECONNRESET" || connections.isAnswering(socket as Socket)) socket.destroy();
    else refuseSocket(socket, refusals[error.code ?? ""] ?? malformed);
  });
  // There is no listener for `upgrade`, so a request that offers one is answered as if it did not (RFC 9110, 7.8).
  server.on("connect", (_request, socket) =>
    refuseSocket(
      socket,
      refused(405, "only GET, HEAD, POST and DELETE are answered"),
      "allow: GET, HEAD, POST, DELETE\r\n",
    ),
  );
  server.on(
    "checkExpectation",
    turns((_request, response) =>
      refuse(response, refused(417, "no expectation but 100-continue can be met")),
    ),
  );
  return server;
};

const close = (server: Http.Server): Effect.Effect<void> =>
  Effect.async((resume) => {
    const deadline = setTimeout(() => server.closeAllConnections(), closeMillis);
    server.close(() => {
      clearTimeout(deadline);
      resume(Effect.void);
    });
    server.closeIdleConnections();
  });

const listen = (
  { deferAccept, host, limits = limitsByDescriptors(), port }: Options,
  handler: Http.RequestListener,
  takesBody: TakesBody,
  beforeClose: Effect.Effect<void>,
  onExcess: () => void,
): Effect.Effect<SocketAddress, ListenError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Http.Server, ListenError>((resume) => {
      const server = create(handler, takesBody, limits, onExcess);
      const onError = (error: NodeJS.ErrnoException): void => {
        const address = { host: host ?? "::", port };
        resume(Effect.fail(new ListenError({ reason: failureOf(error.code), address, code: error.code })));
      };
      server.on("error", onError);
      server.listen({ ...(host === undefined ? {} : { host }), port, backlog }, () => {
        server.off("error", onError);
        // The server listens, so it has a handle, and that has a descriptor but on Windows.
        const descriptor: unknown = Reflect.get(Reflect.get(server, "_handle"), "fd");
        if (typeof descriptor === "number" && descriptor >= 0) deferAccept?.(descriptor, requestMillis);
        // Accepting can fail later (out of descriptors); Node goes on by itself, and so do we.
        server.on("error", () => {});
        resume(Effect.succeed(server));
      });
    }),
    (server) => Effect.zipRight(beforeClose, close(server)),
  ).pipe(
    Effect.map((server) => {
      const bound = server.address();
      return bound === null || typeof bound === "string"
        ? { host: host ?? "::", port }
        : { host: bound.address, port: bound.port };
    }),
  );

/**
 * Listens until its scope closes, and returns where: the port in use where port 0 was asked for. At the end, after
 * `beforeClose`, it stops listening, and resets what has not ended a second later: an idle connection, a half-sent
 * request or an answer without end must not hold up the end of the program.
 */
export const make = (
  options: Options,
  handler: Http.RequestListener,
  beforeClose: Effect.Effect<void>,
  takesBody: TakesBody = () => false,
): Effect.Effect<SocketAddress, ListenError, Scope.Scope> =>
  Effect.flatMap(FiberSet.makeRuntime<never>(), (run) => {
    const throttle = LogThrottle.make(logInterval);
    const onExcess = () => {
      run(throttle(Effect.logWarning("monitoring has too many connections: some are closed")));
    };
    return listen(options, handler, takesBody, beforeClose, onExcess);
  });
