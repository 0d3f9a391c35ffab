/**
 * Collects the series of `/metrics` and of the OpenTelemetry export: gauges computed from the pool and the open
 * sessions, and the recorded metrics.
 */
import type { IntervalHistogram } from "node:perf_hooks";
import { type Backend, since } from "../backend/Backend.js";
import * as Pool from "../backend/Pool.js";
import { catalog } from "../metrics/Catalog.js";
import * as ProcessGauges from "../metrics/ProcessGauges.js";
import type { BackendRecorder, Bytes } from "../metrics/Recorder.js";
import * as Series from "../metrics/Series.js";
import { bytesOfBackends, type Sources } from "./Views.js";

/** Of the balancer, at a monotonic time in milliseconds. Pure. */
export const ofBalancer = (
  { metrics, pool, queued, sessions }: Sources,
  now: number,
): ReadonlyArray<Series.Series> => [
  Series.make(catalog.open, sessions.open, {}),
  Series.make(catalog.queueLength, queued, {}),
  Series.make(catalog.listed, pool.listed, {}),
  Series.make(catalog.healthy, Pool.healthy(pool), {}),
  Series.make(catalog.draining, sessions.phase === "draining" ? 1 : 0, {}),
  ...(metrics.listedAt === undefined
    ? []
    : [Series.make(catalog.listSeconds, (now - metrics.listedAt) / 1000, {})]),
];

/** Of one backend, at a monotonic time in milliseconds. Pure. */
export const ofBackend = (
  pool: Pool.Pool,
  backend: Backend,
  { labels }: BackendRecorder,
  { received, sent }: Bytes,
  now: number,
): ReadonlyArray<Series.Series> => {
  const from = since(backend);
  return [
    Series.make(catalog.backendUp, backend.eligible ? 1 : 0, labels),
    Series.make(catalog.backendSteered, backend.admin === "enabled" ? 0 : 1, labels),
    Series.make(catalog.backendOpen, Pool.connections(pool, backend), labels),
    Series.make(catalog.backendBytes, received, { ...labels, direction: "received" }),
    Series.make(catalog.backendBytes, sent, { ...labels, direction: "sent" }),
    ...(from === undefined ? [] : [Series.make(catalog.stateSeconds, (now - from) / 1000, labels)]),
  ];
};

/**
 * All series there are, at a monotonic time in milliseconds. Those of a backend are computed when they are asked for:
 * for a thousand of them that takes longer than connections may wait.
 */
export function* everything(
  sources: Sources,
  program: ProcessGauges.Program,
  delays: IntervalHistogram,
  now: number,
): Generator<Series.Series, void> {
  const { metrics, pool } = sources;
  const bytes = bytesOfBackends(sources);
  yield* metrics.series;
  yield* ofBalancer(sources, now);
  yield* ProcessGauges.make(program, pool.algorithm.name, delays);
  for (const backend of Pool.iterate(pool)) {
    const recorder = metrics.backends.get(backend.key);
    // It is gone since the pool was read, and its counts with it.
    if (recorder === undefined) continue;
    yield* ofBackend(pool, backend, recorder, bytes(backend.key), now);
  }
  for (const backend of metrics.backends.values()) yield* backend.series;
}
