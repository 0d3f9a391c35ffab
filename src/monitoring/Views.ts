/**
 * Views of the pool, the recorded metrics and the open sessions, as the monitoring API returns them. Pure, except for
 * the uptime of the process.
 */
import { type Backend, since, slowStartSteps, wholeWeight } from "../backend/Backend.js";
import * as Pool from "../backend/Pool.js";
import { processStarted, type ToEpoch } from "../clock/WallClock.js";
import type { Program } from "../metrics/ProcessGauges.js";
import type { Bytes, Recorder } from "../metrics/Recorder.js";
import type { DataThreadStatus } from "../net/DataThreadStatus.js";
import { format } from "../net/SocketAddress.js";
import type { ListenerPhase, OpenSession, SampledSession, Snapshot } from "../proxy/Sessions.js";
import type { Status as StateFileStatus } from "../state/StateFile.js";
import type {
  BackendStatus,
  BackendView,
  Connection,
  DataThread,
  NotReady,
  NotServing,
  SampledConnection,
  Serving,
  StateFile as StateFileView,
  Status,
} from "./Api.js";

/** Whether new connections should go elsewhere, for good. */
const isEnding = (phase: ListenerPhase | undefined): phase is "stopping" | "draining" =>
  phase === "stopping" || phase === "draining";

export const health = (
  pool: Pool.Pool,
  phase: ListenerPhase | undefined,
): typeof Serving.Encoded | Omit<typeof NotServing.Encoded, "_tag"> => {
  const healthy = Pool.healthy(pool);
  const fields = {
    type: "L4",
    algorithm: pool.algorithm.name,
    total_backends: pool.listed,
    healthy_backends: healthy,
  } as const;
  if (isEnding(phase)) return { status: phase, ...fields };
  if (healthy === 0) return { status: "unhealthy", ...fields };
  return { status: healthy === pool.listed ? "healthy" : "degraded", ...fields };
};

const instant = (toEpoch: ToEpoch, monotonicMillis: number | undefined): string | null =>
  monotonicMillis === undefined ? null : new Date(toEpoch(monotonicMillis)).toISOString();

export const backendView = (
  pool: Pool.Pool,
  backend: Backend,
  toEpoch: ToEpoch,
): typeof BackendView.Type => ({
  id: backend.id,
  address: format(backend.address),
  healthy: backend.eligible,
  connections: Pool.connections(pool, backend),
  last_check: instant(toEpoch, Pool.lastCheck(pool, backend)),
});

const whyNotReady = {
  starting: "the first list of backends is waited for",
  stopping: "the balancer will stop in a moment: new connections are still taken, and should go elsewhere",
  draining: "the balancer is stopping: open connections may end, and no new ones are taken",
} as const;

/** Why new connections should not be sent here; undefined when they should. */
export const notReady = (
  pool: Pool.Pool,
  phase: ListenerPhase | undefined,
): Omit<typeof NotReady.Encoded, "_tag"> | undefined => {
  const status = isEnding(phase) ? phase : pool.phase === "serving" ? undefined : pool.phase;
  if (status === undefined) return undefined;
  return { status, why: (status === "starting" ? pool.notListed : undefined) ?? whyNotReady[status] };
};

/** Where everything that is shown comes from, at one moment. */
export interface Sources {
  readonly pool: Pool.Pool;
  readonly metrics: Recorder;
  readonly sessions: Snapshot;
  /** How many clients wait for a place at a backend. */
  readonly queued: number;
}

/**
 * The bytes of a backend, by its key: of connections that have ended, and of those that are open. Those of backends
 * with open connections are read at once, so that a connection which ends meanwhile is counted once, though what is
 * made of them takes longer.
 */
export const bytesOfBackends = ({
  metrics,
  sessions,
}: Pick<Sources, "metrics" | "sessions">): ((key: string) => Bytes) => {
  const none: Bytes = { received: 0, sent: 0 };
  const ended = (key: string): Bytes => metrics.backends.get(key)?.bytesEnded ?? none;
  const bytes = new Map<string, Bytes>();
  for (const [key, open] of sessions.byBackend) {
    const { received, sent } = ended(key);
    bytes.set(key, { received: received + open.received, sent: sent + open.sent });
  }
  return (key) => bytes.get(key) ?? ended(key);
};

export const backendStatus = (
  pool: Pool.Pool,
  backend: Backend,
  metrics: Recorder,
  { received, sent }: Bytes,
  toEpoch: ToEpoch,
): typeof BackendStatus.Type => {
  const { connectFailures, connectMillis, peak, total } = metrics.backend(backend);
  return {
    id: backend.id,
    address: format(backend.address),
    healthy: backend.health.up,
    admin: backend.admin,
    steered_by: backend.admin === "enabled" ? null : (backend.steered?.by ?? null),
    since: instant(toEpoch, since(backend)),
    why: backend.health.why?.message ?? null,
    last_check: instant(toEpoch, Pool.lastCheck(pool, backend)),
    role: backend.role,
    weight: wholeWeight(backend),
    slow_start: backend.slowStart === undefined ? null : backend.slowStart / slowStartSteps,
    listed_weight: backend.listedWeight,
    weighed_by: backend.chosenWeight?.by ?? null,
    weighed_since: instant(toEpoch, backend.chosenWeight?.at),
    max_connections: backend.limit === Infinity ? null : backend.limit,
    open: Pool.connections(pool, backend),
    peak,
    total,
    received,
    sent,
    connect_failures: connectFailures,
    connect_ms: connectMillis === undefined ? null : Math.round(connectMillis * 1000) / 1000,
  };
};

/** The status of each backend that is listed, computed when it is asked for. */
export function* backendStatuses(
  sources: Sources,
  toEpoch: ToEpoch,
): Generator<typeof BackendStatus.Type, void> {
  const bytes = bytesOfBackends(sources);
  for (const backend of Pool.iterate(sources.pool)) {
    yield backendStatus(sources.pool, backend, sources.metrics, bytes(backend.key), toEpoch);
  }
}

/** An open connection. */
export const connection = (
  { ageMillis, backend, client, id, phase, received, sent }: OpenSession,
  now: number,
): typeof Connection.Type => ({
  id,
  client: format(client),
  backend: backend === undefined ? null : { id: backend.id, address: format(backend.address) },
  phase,
  accepted: new Date(now - ageMillis).toISOString(),
  age_seconds: rounded(ageMillis / 1_000),
  received,
  sent,
});

/** One that was looked at twice. `now` is in milliseconds since the epoch. */
export const sampledConnection = (session: SampledSession, now: number): typeof SampledConnection.Type => ({
  ...connection(session, now),
  received_per_second: Math.round(session.receivedPerSecond),
  sent_per_second: Math.round(session.sentPerSecond),
  idle_seconds: session.idleMillis === undefined ? null : rounded(session.idleMillis / 1_000),
});

/** To the millisecond. */
const rounded = (seconds: number): number => Math.round(seconds * 1000) / 1000;

/** Seconds since the process started, by monotonic time. */
export const uptimeSeconds = (): number => rounded(process.uptime());

const dataThread = ({
  cpuSeconds,
  silences: _,
  silentSeconds,
  ...thread
}: DataThreadStatus): typeof DataThread.Type => ({
  ...thread,
  cpu_seconds: cpuSeconds === undefined ? null : rounded(cpuSeconds),
  silent_seconds: rounded(silentSeconds),
});

const stateFileView = (
  state: StateFileStatus | undefined,
  listedAt: number | undefined,
  toEpoch: ToEpoch,
): typeof StateFileView.Type | null =>
  state === undefined
    ? null
    : {
        file: state.file,
        loaded: state.loaded === undefined ? null : new Date(state.loaded.written).toISOString(),
        serving: (state.loaded?.backends ?? 0) > 0 && listedAt === undefined,
        written: instant(toEpoch, state.written),
        error: state.error ?? null,
      };

/** What only the program knows. */
export interface AboutProgram extends Program {
  readonly stateFile?: (() => StateFileStatus | undefined) | undefined;
}

/** The status without its backends. `now` is in milliseconds since the epoch, `lastRefused` is monotonic. */
export const totals = (
  { metrics, pool, queued, sessions }: Sources,
  {
    lastRefused,
    now,
    program: { build, dataThreads, stateFile },
    toEpoch,
  }: {
    readonly program: AboutProgram;
    readonly lastRefused: number | undefined;
    readonly now: number;
    readonly toEpoch: ToEpoch;
  },
): Omit<typeof Status.Type, "backends"> => {
  const { algorithm, healthy_backends, status, total_backends } = health(pool, sessions.phase);
  const { received, sent } = metrics.bytesEnded;
  return {
    status,
    algorithm,
    version: build?.version ?? null,
    transport: build?.transport ?? null,
    now: new Date(now).toISOString(),
    started: new Date(processStarted).toISOString(),
    uptime_seconds: uptimeSeconds(),
    total_backends,
    healthy_backends,
    open: sessions.open,
    total: metrics.total,
    queued,
    queued_total: metrics.queuedTotal,
    refused: metrics.refusals,
    refusals: Object.fromEntries(metrics.refusalsByReason),
    last_refused: instant(toEpoch, lastRefused),
    received: received + sessions.bytes.received,
    sent: sent + sessions.bytes.sent,
    discovered: instant(toEpoch, metrics.listedAt),
    data_threads: (dataThreads?.() ?? []).map(dataThread),
    state_file: stateFileView(stateFile?.(), metrics.listedAt, toEpoch),
  };
};
