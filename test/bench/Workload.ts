/** What a peer is put through, and the figures that come of it. */
import { Effect, type Scope } from "effect";
import * as Accounting from "./Accounting.js";
import * as Client from "./Client.js";
import type { DaemonError } from "./Daemon.js";
import * as Load from "./Load.js";
import type { Figures } from "./Metric.js";
import type { WorkloadName } from "./Options.js";
import type { ListedPeer, RunningPeer } from "./Peer.js";
import { quantile } from "./Statistics.js";

export interface Setting {
  /** How long one measurement takes. */
  readonly seconds: number;
  readonly scripts: Load.Scripts;
}

type Failure = DaemonError | Client.ClientError;

interface Common<Peer> {
  readonly name: WorkloadName;
  /** Needs wrk. */
  readonly wrk: boolean;
  readonly warmUp: (peer: Peer, setting: Setting) => Effect.Effect<void, Failure>;
}

/** Peers are measured one after the other. */
export interface OneByOne extends Common<RunningPeer> {
  /** `fresh`: each measurement is of a process of its own. */
  readonly mode: "one-by-one" | "fresh";
  readonly measure: (peer: RunningPeer, setting: Setting) => Effect.Effect<Figures, Failure>;
}

/** Each measurement is of a process of its own that has an Operator. */
export interface Listed extends Common<ListedPeer> {
  readonly mode: "listed";
  readonly measure: (peer: ListedPeer, setting: Setting) => Effect.Effect<Figures, Failure>;
}

/** All peers are measured in one go; their figures come in the order of the peers. */
export interface Together extends Common<RunningPeer> {
  readonly mode: "together";
  readonly measure: (
    peers: ReadonlyArray<RunningPeer>,
    setting: Setting,
  ) => Effect.Effect<ReadonlyArray<Figures>, Failure>;
}

export type Workload = OneByOne | Listed | Together;

/** Seconds of processor time. */
interface Spent {
  readonly all: number;
  readonly shares: Accounting.Shares | undefined;
  /** Collections in a data thread, on average; undefined where there is none. */
  readonly collections: number | undefined;
}

/** What a peer spent on something; undefined where there is no peer. */
const spending = <A, E>(
  { collections, daemon }: RunningPeer,
  work: Effect.Effect<A, E>,
): Effect.Effect<readonly [A, Spent | undefined], E> =>
  Effect.gen(function* () {
    if (daemon === undefined) return [yield* work, undefined] as const;
    const before = Accounting.cpuTimes(daemon.pid);
    const collectedBefore = collections?.count ?? 0;
    const result = yield* work;
    const after = Accounting.cpuTimes(daemon.pid);
    const collected = (collections?.count ?? 0) - collectedBefore;
    const spent: Spent = {
      all: Accounting.cpuSeconds(before, after),
      shares: Accounting.cpuShares(daemon.pid, before, after),
      collections:
        collections === undefined || after.dataThreads.size === 0
          ? undefined
          : collected / after.dataThreads.size,
    };
    return [result, spent] as const;
  });

/** Microseconds of processor time for each request, of all threads and of each kind, as the metrics are called. */
const perRequest = (
  name: "keepalive" | "connection",
  requests: number,
  spent: Spent | undefined,
): Figures => {
  if (spent === undefined) return {};
  const each = (seconds: number) => (seconds * 1e6) / requests;
  const { all, shares } = spent;
  return {
    [`${name}Cpu`]: each(all),
    ...(shares === undefined
      ? {}
      : {
          [`${name}MainCpu`]: each(shares.main),
          [`${name}DataCpu`]: each(shares.data),
          [`${name}OtherCpu`]: each(shares.other),
        }),
  };
};

/** In seconds: just-in-time compilers need some, and get them alike. */
const warmUpSeconds = 3;

const loaded = (
  name: WorkloadName,
  shape: Omit<Load.Shape, "seconds">,
  figures: (outcome: Load.Outcome, spent: Spent | undefined) => Figures,
): OneByOne => ({
  name,
  wrk: true,
  mode: "one-by-one",
  warmUp: ({ port }, { scripts }) => Load.run(port, scripts.plain, { ...shape, seconds: warmUpSeconds }),
  measure: (peer, { scripts, seconds }) =>
    spending(peer, Load.run(peer.port, scripts.plain, { ...shape, seconds })).pipe(
      Effect.map(([outcome, spent]) => figures(outcome, spent)),
    ),
});

const keepalive = loaded(
  "keepalive",
  { path: "/small", connections: 64, closing: false },
  ({ p50, p99, p999, requests, seconds }, spent) => ({
    ...perRequest("keepalive", requests, spent),
    ...(spent?.collections === undefined ? {} : { keepaliveCollections: (60 * spent.collections) / seconds }),
    keepaliveRate: requests / seconds,
    keepaliveP50: p50,
    keepaliveP99: p99,
    keepaliveP999: p999,
  }),
);

const connections = loaded(
  "connections",
  { path: "/small", connections: 64, closing: true },
  ({ requests, seconds }, spent) => ({
    ...perRequest("connection", requests, spent),
    connectionRate: requests / seconds,
  }),
);

const bulk = loaded(
  "bulk",
  { path: "/big", connections: 4, closing: false },
  ({ bytes, seconds }, spent) => ({
    ...(spent === undefined ? {} : { bulkCpu: spent.all / (bytes / 1e9) }),
    bulkRate: bytes / 1e9 / seconds,
  }),
);

const besideBulk = { path: "/big", connections: 8, closing: false };

/** Seconds of bulk before the first ping and after the last: wrk opens its connections, and closes them. */
const margin = 0.5;

/** A ping takes a pause of some milliseconds: so few of them are no load. */
const pauseMillis = 3;

const mixed: OneByOne = {
  name: "mixed",
  wrk: true,
  mode: "one-by-one",
  warmUp: ({ port }, { scripts }) =>
    Effect.all(
      [
        Load.run(port, scripts.plain, { ...besideBulk, seconds: warmUpSeconds }),
        Client.pings(port, { pauseMillis, seconds: warmUpSeconds - margin }),
      ],
      { concurrency: "unbounded", discard: true },
    ),
  measure: (peer, { scripts, seconds }) =>
    spending(
      peer,
      Effect.all(
        [
          Load.run(peer.port, scripts.plain, { ...besideBulk, seconds: seconds + 2 * margin }),
          Effect.delay(Client.pings(peer.port, { pauseMillis, seconds }), margin * 1000),
        ],
        { concurrency: "unbounded" },
      ),
    ).pipe(
      Effect.map(([[{ bytes, seconds }, latencies], spent]) => ({
        mixedP50: quantile(latencies, 0.5),
        mixedP99: quantile(latencies, 0.99),
        ...(spent === undefined ? {} : { mixedCpu: spent.all / (bytes / 1e9) }),
        mixedRate: bytes / 1e9 / seconds,
      })),
    ),
};

/** 400 requests a second: no load. */
const beat = { connections: 16, intervalMillis: 40 };

/** The slowest counts: what holds up one request in a thousand is found by it alone. */
const slowest = (latencies: ReadonlyArray<number>): number =>
  latencies.reduce((most, latency) => Math.max(most, latency), 0);

const scrapers = 4;

const disturbed: Listed = {
  name: "disturbed",
  wrk: true,
  mode: "listed",
  warmUp: ({ listed, monitoringPort, port }, { scripts }) =>
    Effect.gen(function* () {
      yield* Load.run(port, scripts.plain, {
        path: "/small",
        connections: beat.connections,
        closing: false,
        seconds: warmUpSeconds,
      });
      yield* listed(100);
      yield* Load.run(monitoringPort, scripts.scrapes, {
        path: "/",
        connections: scrapers,
        closing: false,
        seconds: warmUpSeconds,
      });
    }),
  measure: ({ listed, monitoringPort, port }, { scripts, seconds }) =>
    Effect.gen(function* () {
      const pause = Effect.sleep(seconds * 1000);
      const during = <A, E>(work: Effect.Effect<A, E>) =>
        Effect.map(Client.during(port, beat, work), ([, latencies]) => ({
          p50: quantile(latencies, 0.5),
          p99: quantile(latencies, 0.99),
          max: slowest(latencies),
        }));
      const scraped = (backends: number) =>
        Effect.zipRight(
          listed(backends),
          during(
            Load.run(monitoringPort, scripts.scrapes, {
              path: "/",
              connections: scrapers,
              closing: false,
              seconds,
            }),
          ),
        );
      // From before the list comes until after it has gone.
      const longList = (instances: number, running: number) =>
        during(listed(instances, running).pipe(Effect.zipRight(pause), Effect.zipRight(listed(1))));

      yield* listed(1);
      const undisturbed = yield* during(pause);
      const scraped1000 = yield* scraped(1_000);
      const scraped3000 = yield* scraped(3_000);
      yield* listed(1);
      const listed10000 = yield* longList(10_000, 10_000);
      const listed100000 = yield* longList(100_000, 10_000);
      return {
        undisturbedP50: undisturbed.p50,
        undisturbedP99: undisturbed.p99,
        undisturbedMax: undisturbed.max,
        scraped1000P50: scraped1000.p50,
        scraped1000P99: scraped1000.p99,
        scraped1000Max: scraped1000.max,
        scraped1000Ratio: scraped1000.p99 / undisturbed.p99,
        scraped3000P50: scraped3000.p50,
        scraped3000P99: scraped3000.p99,
        scraped3000Max: scraped3000.max,
        scraped3000Ratio: scraped3000.p99 / undisturbed.p99,
        listed10000P50: listed10000.p50,
        listed10000P99: listed10000.p99,
        listed10000Max: listed10000.max,
        listed10000Ratio: listed10000.p99 / undisturbed.p99,
        listed100000P50: listed100000.p50,
        listed100000P99: listed100000.p99,
        listed100000Max: listed100000.max,
        listed100000Ratio: listed100000.p99 / undisturbed.p99,
      };
    }),
};

// A turn is a second: the first of its requests finds a process whose memory has gone cold, and must not be one in a
// hundred.
const pace = { rate: 500, connections: 16, inTurn: 500 };

const latency: Together = {
  name: "latency",
  wrk: false,
  mode: "together",
  // Ten times the rate: after so many requests there is nothing left to compile.
  warmUp: ({ port }) =>
    Effect.asVoid(Client.steady([port], { ...pace, rate: 10 * pace.rate, seconds: warmUpSeconds })),
  measure: (peers, { seconds }) =>
    Effect.map(
      Client.steady(
        peers.map(({ port }) => port),
        { ...pace, seconds },
      ),
      (all) =>
        all.map((latencies) => ({
          latencyP50: quantile(latencies, 0.5),
          latencyP99: quantile(latencies, 0.99),
          latencyP999: quantile(latencies, 0.999),
        })),
    ),
};

const idleConnections = 2000;
const settling = "500 millis";

const resident = (pid: number) =>
  Effect.delay(
    Effect.sync(() => Accounting.resident(pid)),
    settling,
  );

const opened = <A>(port: number, count: number, then: Effect.Effect<A, never, Scope.Scope>) =>
  Effect.scoped(Effect.zipRight(Client.openMany(port, count), then));

const idle: OneByOne = {
  name: "idle",
  wrk: false,
  // What a process once had it seldom gives back: a second measurement would find no difference.
  mode: "fresh",
  warmUp: ({ port }) => opened(port, 200, Effect.void),
  measure: ({ daemon, port }) =>
    daemon === undefined
      ? Effect.succeed({})
      : Effect.gen(function* () {
          const before = yield* resident(daemon.pid);
          const after = yield* opened(port, idleConnections, resident(daemon.pid));
          return { idleMemory: (after - before) / idleConnections / 1024 };
        }),
};

/** What a process needed only to start it gives back some seconds later. */
const rest = "15 seconds";

const start: OneByOne = {
  name: "start",
  wrk: false,
  mode: "fresh",
  warmUp: () => Effect.void,
  measure: ({ daemon, startup }) =>
    daemon === undefined || startup === undefined
      ? Effect.succeed({})
      : Effect.sync(() => Accounting.resident(daemon.pid)).pipe(
          Effect.delay(rest),
          Effect.map((bytes) => ({
            startTime: startup.elapsed,
            startCpu: startup.cpu,
            restingMemory: bytes / 1e6,
          })),
        ),
};

const firstByte: OneByOne = {
  name: "first-byte",
  wrk: false,
  mode: "one-by-one",
  warmUp: ({ port }) => Effect.asVoid(Effect.replicateEffect(Client.firstByte(port), 200)),
  measure: ({ port }, { seconds }) =>
    Effect.gen(function* () {
      const times: Array<number> = [];
      const end = performance.now() + seconds * 1000;
      while (performance.now() < end) times.push(yield* Client.firstByte(port));
      return { firstByteP50: quantile(times, 0.5), firstByteP99: quantile(times, 0.99) };
    }),
};

export const workloads: ReadonlyArray<Workload> = [
  keepalive,
  connections,
  bulk,
  mixed,
  disturbed,
  latency,
  idle,
  firstByte,
  start,
];
