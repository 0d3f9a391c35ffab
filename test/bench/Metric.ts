/** What is measured, and what was promised of it. */
import type { WorkloadName } from "./Options.js";

export interface Metric {
  readonly workload: WorkloadName;
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
  /** More of it is better. */
  readonly more?: boolean;
}

const of = (workload: WorkloadName, title: string, unit: string, digits: number, more = false): Metric => ({
  workload,
  title,
  unit,
  digits,
  more,
});

export const metrics = {
  keepaliveCpu: of("keepalive", "CPU per keep-alive request", "µs", 2),
  keepaliveMainCpu: of("keepalive", "the same, main thread", "µs", 2),
  keepaliveDataCpu: of("keepalive", "the same, data threads", "µs", 2),
  keepaliveOtherCpu: of("keepalive", "the same, threads of the runtime", "µs", 2),
  keepaliveCollections: of("keepalive", "collections in a data thread", "/min", 1),
  keepaliveRate: of("keepalive", "keep-alive requests", "/s", 0, true),
  keepaliveP50: of("keepalive", "latency at 64 connections, p50", "ms", 3),
  keepaliveP99: of("keepalive", "latency at 64 connections, p99", "ms", 3),
  keepaliveP999: of("keepalive", "latency at 64 connections, p99.9", "ms", 3),
  connectionCpu: of("connections", "CPU per connection", "µs", 2),
  connectionMainCpu: of("connections", "the same, main thread", "µs", 2),
  connectionDataCpu: of("connections", "the same, data threads", "µs", 2),
  connectionOtherCpu: of("connections", "the same, threads of the runtime", "µs", 2),
  connectionRate: of("connections", "connections", "/s", 0, true),
  bulkCpu: of("bulk", "CPU per GB", "s", 4),
  bulkRate: of("bulk", "bulk throughput", "GB/s", 2, true),
  mixedP50: of("mixed", "ping beside 8 bulk downloads, p50", "ms", 3),
  mixedP99: of("mixed", "ping beside 8 bulk downloads, p99", "ms", 3),
  mixedCpu: of("mixed", "CPU per GB beside pings", "s", 4),
  mixedRate: of("mixed", "bulk throughput beside pings", "GB/s", 2, true),
  undisturbedP50: of("disturbed", "kept connections, undisturbed, p50", "ms", 3),
  undisturbedP99: of("disturbed", "kept connections, undisturbed, p99", "ms", 3),
  undisturbedMax: of("disturbed", "kept connections, undisturbed, slowest", "ms", 3),
  scraped1000P50: of("disturbed", "while 1,000 backends are scraped, p50", "ms", 3),
  scraped1000P99: of("disturbed", "while 1,000 backends are scraped, p99", "ms", 3),
  scraped1000Max: of("disturbed", "while 1,000 backends are scraped, slowest", "ms", 3),
  scraped1000Ratio: of("disturbed", "the same, p99 to undisturbed", "times", 2),
  scraped3000P50: of("disturbed", "while 3,000 backends are scraped, p50", "ms", 3),
  scraped3000P99: of("disturbed", "while 3,000 backends are scraped, p99", "ms", 3),
  scraped3000Max: of("disturbed", "while 3,000 backends are scraped, slowest", "ms", 3),
  scraped3000Ratio: of("disturbed", "the same, p99 to undisturbed", "times", 2),
  listed10000P50: of("disturbed", "while 10,000 instances are listed, p50", "ms", 3),
  listed10000P99: of("disturbed", "while 10,000 instances are listed, p99", "ms", 3),
  listed10000Max: of("disturbed", "while 10,000 instances are listed, slowest", "ms", 3),
  listed10000Ratio: of("disturbed", "the same, p99 to undisturbed", "times", 2),
  listed100000P50: of("disturbed", "while 100,000 instances are listed, p50", "ms", 3),
  listed100000P99: of("disturbed", "while 100,000 instances are listed, p99", "ms", 3),
  listed100000Max: of("disturbed", "while 100,000 instances are listed, slowest", "ms", 3),
  listed100000Ratio: of("disturbed", "the same, p99 to undisturbed", "times", 2),
  latencyP50: of("latency", "latency at 500 requests/s, p50", "ms", 3),
  latencyP99: of("latency", "latency at 500 requests/s, p99", "ms", 3),
  latencyP999: of("latency", "latency at 500 requests/s, p99.9", "ms", 3),
  idleMemory: of("idle", "memory per idle connection", "KiB", 2),
  firstByteP50: of("first-byte", "connect to first byte, p50", "ms", 3),
  firstByteP99: of("first-byte", "connect to first byte, p99", "ms", 3),
  startTime: of("start", "start to the first answer through it", "ms", 0),
  startCpu: of("start", "processor time until then", "ms", 0),
  restingMemory: of("start", "resident memory after 15 s without work", "MB", 1),
} as const satisfies Readonly<Record<string, Metric>>;

export type MetricName = keyof typeof metrics;

/** The names in the order in which they are reported. */
// Object.keys knows no keys; the object has no others.
export const metricNames = Object.keys(metrics) as ReadonlyArray<MetricName>;

/** The figures of one measurement. */
export type Figures = Readonly<Partial<Record<MetricName, number>>>;

/** What a figure may be, as a ratio to HAProxy's or as it is: so much at most or, where more is better, at least. */
export interface Target {
  readonly peer: string;
  readonly metric: MetricName;
  readonly bound: number;
  readonly ratio: boolean;
}

const figure = (peer: string, metric: MetricName, bound: number): Target => ({
  peer,
  metric,
  bound,
  ratio: false,
});

const ratio = (peer: string, metric: MetricName, bound: number): Target => ({
  peer,
  metric,
  bound,
  ratio: true,
});

export const targets: ReadonlyArray<Target> = [
  ratio("linux", "keepaliveCpu", 1.05),
  ratio("linux", "bulkCpu", 0.65),
  ratio("linux", "connectionCpu", 1.2),
  ratio("linux", "latencyP99", 1.2),
  ratio("linux", "mixedP50", 1),
  ratio("linux", "mixedCpu", 0.35),
  ratio("linux", "mixedRate", 1),
  ratio("io_uring", "mixedP50", 1),
  ratio("io_uring", "mixedCpu", 0.35),
  ratio("io_uring", "mixedRate", 1),
  figure("linux", "scraped1000Max", 50),
  figure("linux", "scraped3000Max", 50),
  figure("linux", "listed10000Max", 50),
  figure("linux", "listed100000Max", 50),
  figure("linux", "idleMemory", 8),
  figure("linux", "startTime", 350),
  figure("linux", "restingMemory", 100),
  ratio("node", "keepaliveCpu", 1.5),
  ratio("node", "connectionCpu", 2.5),
];
