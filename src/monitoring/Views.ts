/**
 * The pool as monitoring shows it. Pure.
 */

import { type Backend, since } from "../backend/Backend.js";
import * as Pool from "../backend/Pool.js";
import { processStarted, type ToEpoch } from "../clock/WallClock.js";
import type { Recorder } from "../metrics/Recorder.js";
import { format } from "../net/SocketAddress.js";
import type { Snapshot } from "../proxy/Sessions.js";
import type { BackendStatus, BackendView, NotReady, NotServing, Serving, Status } from "./Api.js";
import type { Build } from "./Gauges.js";

export const health = (pool: Pool.Pool, draining: boolean): typeof Serving.Type | typeof NotServing.Type => {
  const healthy = Pool.healthy(pool);
  const fields = {
    type: "L4",
    algorithm: pool.algorithm.name,
    total_backends: pool.listed,
    healthy_backends: healthy,
  } as const;
  if (draining) return { status: "draining", ...fields };
  if (healthy === 0) return { status: "unhealthy", ...fields };
  return { status: healthy === pool.listed ? "healthy" : "degraded", ...fields };
};

const instant = (toEpoch: ToEpoch, monotonicMillis: number | undefined): string | null =>
  monotonicMillis === undefined ? null : new Date(toEpoch(monotonicMillis)).toISOString();

export const backends = (pool: Pool.Pool, toEpoch: ToEpoch): ReadonlyArray<typeof BackendView.Type> =>
  Pool.backends(pool).map((backend) => ({
    id: backend.id,
    address: format(backend.address),
    healthy: backend.eligible,
    connections: backend.connections,
    last_check: instant(toEpoch, backend.seen.lastCheck),
  }));

const whyNotReady = {
  starting: "the first list of backends is waited for",
  draining: "the balancer is stopping: open connections may end, and no new ones are taken",
} as const;

/** Why new connections should not be sent here; undefined when they should. */
export const notReady = (
  { notListed, phase }: Pool.Pool,
  draining: boolean,
): typeof NotReady.Type | undefined => {
  const status = draining ? "draining" : phase === "serving" ? undefined : phase;
  if (status === undefined) return undefined;
  return { status, why: (status === "starting" ? notListed : undefined) ?? whyNotReady[status] };
};

export const backendStatus = (
  backend: Backend,
  metrics: Recorder,
  sessions: Snapshot,
  toEpoch: ToEpoch,
): typeof BackendStatus.Type => {
  const { bytesEnded, connectFailures, connectMillis, peak, total } = metrics.backend(backend);
  const bytesOpen = sessions.bytesOf(backend.key);
  return {
    id: backend.id,
    address: format(backend.address),
    healthy: backend.health.up,
    admin: backend.admin,
    steered_by: backend.admin === "enabled" ? null : (backend.steered?.by ?? null),
    since: instant(toEpoch, since(backend)),
    why: backend.seen.why ?? null,
    last_check: instant(toEpoch, backend.seen.lastCheck),
    open: backend.connections,
    peak,
    total,
    received: bytesEnded.received + bytesOpen.received,
    sent: bytesEnded.sent + bytesOpen.sent,
    connect_failures: connectFailures,
    connect_ms: connectMillis === undefined ? null : Math.round(connectMillis * 1000) / 1000,
  };
};

/** `now` is in milliseconds since the epoch. */
export const status = (
  pool: Pool.Pool,
  metrics: Recorder,
  sessions: Snapshot,
  {
    build,
    now,
    toEpoch,
  }: { readonly build: Build | undefined; readonly now: number; readonly toEpoch: ToEpoch },
): typeof Status.Type => {
  const { algorithm, healthy_backends, status, total_backends } = health(pool, sessions.draining);
  const { received, sent } = metrics.bytesEnded;
  return {
    status,
    algorithm,
    version: build?.version ?? null,
    transport: build?.transport ?? null,
    now: new Date(now).toISOString(),
    started: new Date(processStarted).toISOString(),
    total_backends,
    healthy_backends,
    open: sessions.open,
    total: metrics.total,
    refused: metrics.refusals,
    received: received + sessions.bytes.received,
    sent: sent + sessions.bytes.sent,
    discovered: instant(toEpoch, metrics.listedAt),
    backends: Pool.backends(pool).map((backend) => backendStatus(backend, metrics, sessions, toEpoch)),
  };
};
