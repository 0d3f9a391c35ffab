/**
 * An Operator with a list of its own: it answers `GET /api/v1/instances` as the real one does.
 */
import { Effect, type Scope } from "effect";
import type { Instance } from "../backend/Backend.js";
import { type ServerError, serve } from "./LoopbackServer.js";

export interface EmbeddedOperator {
  /** What OPERATOR_URL would be. */
  readonly url: URL;
}

const entry = ({ id, address }: Instance) => ({
  id,
  state: "running",
  ip_address: address.host,
  default_port: address.port,
  resources: { vcpu: 1, memory: 1024 },
  environment_variables: "{}",
  deleted_at: null,
});

/** Starts it on a free port of 127.0.0.1; it lists these instances, and is gone when the scope closes. */
export const make = (
  instances: ReadonlyArray<Instance>,
): Effect.Effect<EmbeddedOperator, ServerError, Scope.Scope> => {
  const list = JSON.stringify(instances.map(entry));
  return Effect.map(
    serve((request, response) => {
      if (request.method === "GET" && request.url?.split("?")[0] === "/api/v1/instances") {
        response.writeHead(200, { "content-type": "application/json" });
        response.end(list);
      } else {
        response.writeHead(404, { "content-type": "text/plain; charset=utf-8" });
        response.end("404 page not found\n");
      }
    }, 0),
    (port) => ({ url: new URL(`http://127.0.0.1:${port}`) }),
  );
};
