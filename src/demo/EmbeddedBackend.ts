/**
 * A backend that returns its name over HTTP, and that can die and return.
 */
import type { RequestListener } from "node:http";
import { Effect, type Scope, ScopedRef } from "effect";
import type { Instance } from "../backend/Backend.js";
import { type ServerError, serve, servePreferably } from "./LoopbackServer.js";

export interface EmbeddedBackend {
  readonly instance: Instance;
  /** Stops listening and breaks its connections off, as a process that is killed does. Does nothing when dead. */
  readonly die: Effect.Effect<void>;
  /** Listens again where it did. Fails if another program has taken the port meanwhile. */
  readonly comeBack: Effect.Effect<void, ServerError>;
}

/** Starts it; it is gone when the scope closes. A preferred port that is taken gives way to any free one. */
export const make = (
  id: string,
  preferredPort: number,
): Effect.Effect<EmbeddedBackend, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const answer: RequestListener = (_, response) => {
      // One connection per request, so that to ask again is to choose again.
      response.writeHead(200, { "content-type": "text/plain; charset=utf-8", connection: "close" });
      response.end(`hello from ${id}\n`);
    };
    const server = yield* ScopedRef.fromAcquire<number | undefined, ServerError, Scope.Scope>(
      servePreferably(answer, preferredPort),
    );
    const port = (yield* ScopedRef.get(server)) ?? preferredPort;
    return {
      instance: { id, address: { host: "127.0.0.1", port } },
      die: ScopedRef.set(server, Effect.succeed(undefined)),
      comeBack: ScopedRef.set(server, serve(answer, port)),
    };
  });
