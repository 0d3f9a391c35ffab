/**
 * Metrics of the process and of the program around the balancer: what can be read at any moment.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { Effect, type Scope } from "effect";
import { processStarted } from "../clock/WallClock.js";
import type { DataThreadStatus } from "../net/DataThreadStatus.js";
import * as Descriptors from "../net/Descriptors.js";
import { catalog } from "./Catalog.js";
import * as Series from "./Series.js";

/**
 * What runs, for the labels of `lb_build_info`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Build {
  readonly version: string;
  /** The transport in use. */
  readonly transport: string;
}

/**
 * What only the program around the balancer knows. What is not given is not among the metrics.
 *
 * @since 0.2.0
 * @category models
 */
export interface Program {
  readonly build?: Build;
  /** How many log lines were dropped. */
  readonly linesDropped?: () => number;
  /** How many exceptions the transport caught: `faults` of the transport in use. */
  readonly transportFaults?: () => number;
  /** Its data threads: `dataThreads` of the transport in use. */
  readonly dataThreads?: (() => ReadonlyArray<DataThreadStatus>) | undefined;
}

/** How often the delay of the event loop is sampled; a sample includes this wait itself. */
const samplingMillis = 20;

const percentiles = [50, 90, 99, 99.9];

// Where there is no /proc these are not known, and left out.
const ofDescriptors = (): ReadonlyArray<Series.Series> => {
  const { limit, open } = Descriptors.read() ?? {};
  return [
    ...(open === undefined ? [] : [Series.make(catalog.descriptors, open, {})]),
    ...(limit === undefined ? [] : [Series.make(catalog.descriptorLimit, limit, {})]),
  ];
};

const ofDataThread = (one: DataThreadStatus): ReadonlyArray<Series.Series> => {
  const thread = { thread: one.name };
  return [
    Series.make(catalog.threadOpen, one.connections, thread),
    ...(one.cpuSeconds === undefined ? [] : [Series.make(catalog.threadCpu, one.cpuSeconds, thread)]),
    Series.make(catalog.threadTurns, one.turns, thread),
    Series.make(catalog.threadWaits, one.waits, thread),
    Series.make(catalog.threadSilent, one.silentSeconds, thread),
    Series.make(catalog.threadSilences, one.silences, thread),
    Series.make(catalog.threadQueued, one.orders, { ...thread, queue: "orders" }),
    Series.make(catalog.threadQueued, one.reports, { ...thread, queue: "reports" }),
  ];
};

const ofDataThreads = (all: ReadonlyArray<DataThreadStatus>): ReadonlyArray<Series.Series> => [
  Series.make(catalog.threads, all.length, {}),
  ...all.flatMap(ofDataThread),
];

/** Takes what the histogram of event loop delays has, and begins it anew. */
export const make = (
  { build, dataThreads, linesDropped, transportFaults }: Program,
  algorithm: string,
  delays: IntervalHistogram,
): ReadonlyArray<Series.Series> => {
  const { system, user } = process.cpuUsage();
  const delay = percentiles.map((percent) =>
    Series.make(catalog.loopDelay, Math.max(0, delays.percentile(percent) / 1e9 - samplingMillis / 1000), {
      percentile: String(percent),
    }),
  );
  delays.reset();
  return [
    ...delay,
    Series.make(catalog.cpu, (user + system) / 1e6, {}),
    Series.make(catalog.memory, process.memoryUsage.rss(), {}),
    ...ofDescriptors(),
    ...(linesDropped === undefined ? [] : [Series.make(catalog.linesDropped, linesDropped(), {})]),
    ...(transportFaults === undefined ? [] : [Series.make(catalog.transportFaults, transportFaults(), {})]),
    ...ofDataThreads(dataThreads?.() ?? []),
    Series.make(catalog.started, processStarted / 1000, {}),
    ...(build === undefined
      ? []
      : [Series.make(catalog.build, 1, { ...build, node: process.version, algorithm })]),
  ];
};

/** Samples the delay of the event loop for as long as the scope is open. */
export const loopDelays: Effect.Effect<IntervalHistogram, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const histogram = monitorEventLoopDelay({ resolution: samplingMillis });
    histogram.enable();
    return histogram;
  }),
  (histogram) => Effect.sync(() => histogram.disable()),
);
