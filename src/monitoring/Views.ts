/**
 * The pool as monitoring shows it. Pure.
 */
import * as Pool from "../backend/Pool.js";
import { format } from "../net/SocketAddress.js";
import type { BackendView, NotReady, NotServing, Serving } from "./Api.js";

export const health = (pool: Pool.Pool): typeof Serving.Type | typeof NotServing.Type => {
  const healthy = Pool.healthy(pool);
  const fields = {
    type: "L4",
    algorithm: pool.algorithm.name,
    total_backends: pool.listed,
    healthy_backends: healthy,
  } as const;
  if (pool.phase === "draining") return { status: "draining", ...fields };
  if (healthy === 0) return { status: "unhealthy", ...fields };
  return { status: healthy === pool.listed ? "healthy" : "degraded", ...fields };
};

export const backends = (pool: Pool.Pool): ReadonlyArray<typeof BackendView.Type> =>
  Pool.backends(pool).map((backend) => ({
    id: backend.id,
    address: format(backend.address),
    healthy: backend.eligible,
    connections: backend.connections,
    last_check: backend.seen.lastCheck === undefined ? null : new Date(backend.seen.lastCheck).toISOString(),
  }));

/** Why new connections should not be sent here; undefined when they should. */
export const notReady = (pool: Pool.Pool): typeof NotReady.Type | undefined =>
  pool.phase === "serving" ? undefined : { status: pool.phase };
