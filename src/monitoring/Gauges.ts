/**
 * What `/metrics` says beside what was recorded: what can be read off the pool and the process at this moment.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { Effect, type Scope } from "effect";
import { since } from "../backend/Backend.js";
import * as Pool from "../backend/Pool.js";
import { processStarted } from "../clock/WallClock.js";
import { catalog } from "../metrics/Catalog.js";
import { fromSnapshot, type Series, series } from "../metrics/Exposition.js";
import type { Recorder } from "../metrics/Recorder.js";
import * as Descriptors from "../net/Descriptors.js";
import type { Snapshot } from "../proxy/Sessions.js";

/** What runs, for the labels of `lb_build_info`. */
export interface Build {
  readonly version: string;
  /** The transport in use. */
  readonly transport: string;
}

/** What only the program around the balancer knows. What is not given is not among the metrics. */
export interface Program {
  readonly build?: Build;
  /** How many log lines were dropped. */
  readonly linesDropped?: () => number;
  /** How many exceptions the transport caught: `faults` of the transport in use. */
  readonly transportFaults?: () => number;
}

/** Of the pool, its backends and the open sessions at a monotonic time. Pure. */
export const ofPool = (
  pool: Pool.Pool,
  metrics: Recorder,
  sessions: Snapshot,
  now: number,
): ReadonlyArray<Series> => {
  const all: Array<Series> = [
    series(catalog.open, sessions.open, {}),
    series(catalog.listed, pool.listed, {}),
    series(catalog.healthy, Pool.healthy(pool), {}),
    series(catalog.draining, sessions.draining ? 1 : 0, {}),
  ];
  if (metrics.listedAt !== undefined) {
    all.push(series(catalog.listSeconds, (now - metrics.listedAt) / 1000, {}));
  }
  for (const backend of Pool.backends(pool)) {
    const { bytesEnded, labels } = metrics.backend(backend);
    const bytesOpen = sessions.bytesOf(backend.key);
    all.push(
      series(catalog.backendUp, backend.eligible ? 1 : 0, labels),
      series(catalog.backendSteered, backend.admin === "enabled" ? 0 : 1, labels),
      series(catalog.backendOpen, backend.connections, labels),
      series(catalog.backendBytes, bytesEnded.received + bytesOpen.received, {
        ...labels,
        direction: "received",
      }),
      series(catalog.backendBytes, bytesEnded.sent + bytesOpen.sent, { ...labels, direction: "sent" }),
    );
    const from = since(backend);
    if (from !== undefined) all.push(series(catalog.stateSeconds, (now - from) / 1000, labels));
  }
  return all;
};

/** How often the delay of the event loop is sampled; a sample includes this wait itself. */
const samplingMillis = 20;

const percentiles = [50, 90, 99, 99.9];

// Where there is no /proc these are not known, and left out.
const ofDescriptors = (): ReadonlyArray<Series> => {
  const { limit, open } = Descriptors.read() ?? {};
  return [
    ...(open === undefined ? [] : [series(catalog.descriptors, open, {})]),
    ...(limit === undefined ? [] : [series(catalog.descriptorLimit, limit, {})]),
  ];
};

/** Of the process. Takes what the histogram of event loop delays has, and begins it anew. */
export const ofProcess = (
  { build, linesDropped, transportFaults }: Program,
  algorithm: string,
  delays: IntervalHistogram,
): ReadonlyArray<Series> => {
  const { system, user } = process.cpuUsage();
  const delay = percentiles.map((percent) =>
    series(catalog.loopDelay, Math.max(0, delays.percentile(percent) / 1e9 - samplingMillis / 1000), {
      percentile: String(percent),
    }),
  );
  delays.reset();
  return [
    ...delay,
    series(catalog.cpu, (user + system) / 1e6, {}),
    series(catalog.memory, process.memoryUsage.rss(), {}),
    ...ofDescriptors(),
    ...(linesDropped === undefined ? [] : [series(catalog.linesDropped, linesDropped(), {})]),
    ...(transportFaults === undefined ? [] : [series(catalog.transportFaults, transportFaults(), {})]),
    series(catalog.started, processStarted / 1000, {}),
    ...(build === undefined
      ? []
      : [series(catalog.build, 1, { ...build, node: process.version, algorithm })]),
  ];
};

/** All series there are, at a monotonic time in milliseconds. */
export const everything = (
  pool: Pool.Pool,
  metrics: Recorder,
  sessions: Snapshot,
  program: Program,
  delays: IntervalHistogram,
  now: number,
): ReadonlyArray<Series> => [
  ...metrics.snapshots.flatMap(fromSnapshot),
  ...ofPool(pool, metrics, sessions, now),
  ...ofProcess(program, pool.algorithm.name, delays),
];

/** Samples the delay of the event loop for as long as the scope is open. */
export const loopDelays: Effect.Effect<IntervalHistogram, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const histogram = monitorEventLoopDelay({ resolution: samplingMillis });
    histogram.enable();
    return histogram;
  }),
  (histogram) => Effect.sync(() => histogram.disable()),
);
