/**
 * An HTTP/1.1 server on 127.0.0.1, for what the demo embeds: it is not reachable from the network.
 */
import { createServer, type RequestListener } from "node:http";
import { Data, Effect, type Scope } from "effect";

/** A server of the demo that could not be started. */
export class ServerError extends Data.TaggedError("ServerError")<{
  /** The port it was to have on 127.0.0.1; 0 is any. */
  readonly port: number;
  /** The system's word for it: EADDRINUSE, EMFILE, ... */
  readonly code: string;
}> {
  override get message(): string {
    return `a server of the demo cannot listen on 127.0.0.1:${this.port} (${this.code})`;
  }
}

/**
 * Serves until the scope closes, which also ends the connections that are open. Returns the port in use.
 * Port 0 is any free one.
 */
export const serve = (
  handler: RequestListener,
  port: number,
): Effect.Effect<number, ServerError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<{ readonly close: Effect.Effect<void>; readonly port: number }, ServerError>((resume) => {
        const server = createServer(handler);
        const failed = (error: NodeJS.ErrnoException) =>
          resume(new ServerError({ port, code: error.code ?? error.message }));
        server.once("error", failed);
        server.listen({ host: "127.0.0.1", port }, () => {
          const address = server.address();
          server.off("error", failed);
          // Accepting can fail later on (EMFILE); that must not end the process.
          server.on("error", () => {});
          const close = Effect.async<void>((closed) => {
            server.close(() => closed(Effect.void));
            server.closeAllConnections();
          });
          resume(
            Effect.succeed({
              close,
              port: typeof address === "object" && address !== null ? address.port : port,
            }),
          );
        });
      }),
      ({ close }) => close,
    ),
    (server) => server.port,
  );

/** As {@link serve}, on the preferred port if that is free and on any other if it is not. */
export const servePreferably = (
  handler: RequestListener,
  preferred: number,
): Effect.Effect<number, ServerError, Scope.Scope> =>
  Effect.catchIf(
    serve(handler, preferred),
    (error) => error.code === "EADDRINUSE",
    () => serve(handler, 0),
  );
