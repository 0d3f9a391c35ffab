/**
 * What a choice costs, and what recording a connection's metrics does: `npm run bench:balancing`.
 *
 * Prints, for each algorithm and pool size, the median over several rounds (and the range of the middle half) of
 * one choice with its accounting, one release and one observation, on the pool itself and through the registry; and
 * of all that is recorded of one connection, from its acceptance to its end.
 * With `--assert` it ends with 1 when a target is missed.
 */
import { spawnSync } from "node:child_process";
import { Effect, Logger, LogLevel } from "effect";
import { type Backend, slowStartSteps } from "../../src/backend/Backend.js";
import { BackendRegistry, layer } from "../../src/backend/BackendRegistry.js";
import type { Observation } from "../../src/backend/Health.js";
import * as Pool from "../../src/backend/Pool.js";
import type { Algorithm, Prepared } from "../../src/balancing/Algorithm.js";
import { ipHash } from "../../src/balancing/IpHash.js";
import { leastConnections } from "../../src/balancing/LeastConnections.js";
import * as Members from "../../src/balancing/Members.js";
import { random } from "../../src/balancing/Random.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Recorder } from "../../src/metrics/Recorder.js";

const algorithms: ReadonlyArray<Algorithm> = [roundRobin, leastConnections, ipHash, random];
const sizes = [100, 1_000, 10_000];
const rounds = 25;
const warmUpRounds = 5;
const choices = 20_000;

/** The most that choosing and accounting may cost, in µs, at a number of backends. */
const targets: ReadonlyMap<number, number> = new Map([
  [1_000, 2],
  [10_000, 5],
]);
/** The most that recording a connection may cost, in µs. */
const recordingTarget = 2;
const longestSliceMillis = 2;
const longestBuildMillis = 150;

const thresholds = { rise: 2, fall: 3 };
const up: Observation = { by: "probe", began: 0, failure: undefined };

/** How heavy the n-th backend is. */
type Weights = (n: number) => number;
const alike: Weights = () => 1;
/** As many as there can be, in no order. */
const many: Weights = (n) => 1 + ((n * 167) & 255);

/** What is at work beside the algorithm. */
interface Setting {
  readonly name: string;
  readonly weightOf: Weights;
  /** The backends have limits, at which a part of them arrives. */
  readonly limited: boolean;
  /** Every backend is in a slow start, at any of its first steps, and some are raised among the choices. */
  readonly slowStart: boolean;
}
const settings: ReadonlyArray<Setting> = [
  { name: "alike", weightOf: alike, limited: false, slowStart: false },
  { name: "weights, limits", weightOf: many, limited: true, slowStart: false },
  { name: "and slow starts", weightOf: many, limited: true, slowStart: true },
];
/** A round is taken for a second: of a slow start that takes so many, each backend has nine raises in that time. */
const slowStartSeconds = 30;
/** A table is made anew after so many choices at least: 50 milliseconds. */
const choicesPerTable = choices / 20;

const instances = (size: number, weightOf: Weights = alike) =>
  Array.from({ length: size }, (_, i) => ({
    id: `web-${i}`,
    address: { host: `10.0.${i >> 8}.${i & 255}`, port: 3000 },
    weight: weightOf(i),
  }));

const clients = Array.from({ length: choices }, (_, i) => ({
  host: `203.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
}));

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

interface Spread {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

const spreadOf = (values: ReadonlyArray<number>): Spread => {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
  return { low: at(0.25), median: at(0.5), high: at(0.75) };
};

const show = ({ low, median, high }: Spread): string =>
  `${median.toFixed(2)} (${low.toFixed(2)}..${high.toFixed(2)})`.padEnd(20);

/** Microseconds each, of as many as were done since a time. */
const each = (since: number, count: number): number => ((performance.now() - since) * 1000) / count;

const serving = (
  algorithm: Algorithm,
  size: number,
  weightOf: Weights = alike,
  { limit, slowStart = false }: { readonly limit?: number | undefined; readonly slowStart?: boolean } = {},
): Pool.Pool => {
  let pool = Pool.make(algorithm, thresholds, limit, slowStart);
  // Those of the first list are in no slow start.
  if (slowStart) [pool] = Pool.discovered(pool, []);
  [pool] = Pool.discovered(pool, instances(size, weightOf));
  for (const backend of Pool.backends(pool)) {
    for (let n = 0; n < thresholds.rise; n++) [pool] = Pool.observed(pool, backend, up, 0);
    for (let n = 0; slowStart && n < backend.slot % 8; n++) [pool] = Pool.raised(pool, [backend]);
  }
  return pool;
};

/** The n-th backend gets the next tenth of its weight. */
const raise = (pool: Pool.Pool, n: number): Pool.Pool => {
  const backend = Members.get(pool.members, n % pool.listed);
  if (backend?.slowStart === undefined) throw new Error("there is nobody to raise");
  return Pool.raised(pool, [backend])[0];
};

/** Builds the algorithm's table, and the times in milliseconds of the slices that took. */
const prepare = (pool: Pool.Pool): readonly [Prepared<unknown>, ReadonlyArray<number>] | undefined => {
  const slices = pool.algorithm.prepare?.(pool.members, pool.state);
  if (slices === undefined) return undefined;
  const times: Array<number> = [];
  for (;;) {
    const start = performance.now();
    const slice = slices.next();
    times.push(performance.now() - start);
    if (slice.done === true) return [slice.value, times];
  }
};

interface Costs {
  readonly assign: Spread;
  readonly release: Spread;
  readonly observe: Spread;
}

const poolCosts = (algorithm: Algorithm, size: number, { limited, slowStart, weightOf }: Setting): Costs => {
  const limit = limited ? Math.ceil((1.5 * choices) / size) : undefined;
  const withTable = (pool: Pool.Pool): Pool.Pool => {
    const prepared = prepare(pool);
    return prepared === undefined ? pool : Pool.prepared(pool, prepared[0]);
  };
  const idle = withTable(serving(algorithm, size, weightOf, { limit, slowStart }));
  let pool = idle;
  const raises = slowStart ? Math.round(((slowStartSteps - 1) * size) / slowStartSeconds) : 0;
  const assign: Array<number> = [];
  const release: Array<number> = [];
  const observe: Array<number> = [];
  for (let round = -warmUpRounds; round < rounds; round++) {
    const open: Array<Backend> = [];
    if (slowStart) pool = idle;
    let start = performance.now();
    let apart = 0;
    let raised = 0;
    for (const client of clients) {
      // Raising and tables are no part of a choice. What follows from them is: the next choice finds other weights.
      const isDue = raised < (raises * open.length) / choices;
      if (slowStart && (isDue || open.length % choicesPerTable === 0)) {
        const since = performance.now();
        if (open.length % choicesPerTable === 0) pool = withTable(pool);
        for (; raised < (raises * open.length) / choices; raised++) pool = raise(pool, raised);
        apart += performance.now() - since;
      }
      const [after, assignment] = Pool.assigned(pool, client, []);
      pool = after;
      if (assignment !== undefined) open.push(assignment.backend);
    }
    const assigning = each(start + apart, choices);
    if (open.length !== choices) throw new Error("a client got no backend");
    start = performance.now();
    for (const backend of open) [pool] = Pool.observed(pool, backend, up, round);
    const observing = each(start, choices);
    start = performance.now();
    for (const backend of open) pool = Pool.released(pool, backend);
    const releasing = each(start, choices);
    if (pool.connections !== 0) throw new Error("a connection was not released");
    if (round < 0) continue;
    assign.push(assigning);
    release.push(releasing);
    observe.push(observing);
  }
  return { assign: spreadOf(assign), release: spreadOf(release), observe: spreadOf(observe) };
};

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));

/** One assignment and its release as Effects, in µs for the pair. */
const registryCosts = (algorithm: Algorithm, size: number, weightOf: Weights): Promise<Spread> =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    yield* registry.discovered(instances(size, weightOf));
    for (const backend of Pool.backends(yield* registry.pool)) yield* registry.observed(backend, up);
    // Until no table is being built any more, nor one is going to be.
    let last = algorithm.initial;
    for (let quiet = 0; algorithm.prepare !== undefined && quiet < 200; quiet++) {
      yield* Effect.sleep("1 millis");
      const now = (yield* registry.pool).state;
      if (now !== last) quiet = 0;
      last = now;
    }
    const pairs: Array<number> = [];
    for (let round = -warmUpRounds; round < rounds; round++) {
      const start = performance.now();
      for (const client of clients) {
        const assignment = yield* registry.assign(client, []);
        if (assignment !== undefined) yield* registry.release(assignment.backend);
      }
      if (round >= 0) pairs.push(each(start, choices));
      yield* turn;
    }
    return spreadOf(pairs);
  }).pipe(
    Effect.provide(layer({ algorithm, ...thresholds })),
    Logger.withMinimumLogLevel(LogLevel.None),
    Effect.runPromise,
  );

/** The whole of a table's build and the longest of its slices, each slice by its median over the rounds. */
const buildCosts = (
  size: number,
  weightOf?: Weights,
): { readonly whole: Spread; readonly longest: number; readonly slices: number } => {
  const pool = serving(ipHash, size, weightOf);
  const wholes: Array<number> = [];
  const slices: Array<Array<number>> = [];
  for (let round = -2; round < 9; round++) {
    const times = prepare(pool)?.[1] ?? [];
    if (round < 0) continue;
    wholes.push(times.reduce((sum, time) => sum + time, 0));
    times.forEach((time, i) => {
      slices[i] = [...(slices[i] ?? []), time];
    });
  }
  return {
    whole: spreadOf(wholes),
    longest: Math.max(...slices.map((times) => spreadOf(times).median)),
    slices: slices.length,
  };
};

const ends = ["client/relaying", "backend/relaying", "client-reset/relaying", "backend-reset/relaying"];

/** All that is recorded of a connection that one backend of so many served, as the proxy records it. */
const recordingCosts = (size: number): Spread => {
  const metrics = new Recorder();
  const backends = Pool.backends(serving(roundRobin, size));
  for (const backend of backends) metrics.track(backend);
  const recording: Array<number> = [];
  for (let round = -warmUpRounds; round < rounds; round++) {
    const start = performance.now();
    for (let i = 0; i < choices; i++) {
      const backend = backends[i % size];
      const end = ends[i % ends.length];
      if (backend === undefined || end === undefined) throw new Error("there is nobody to record");
      metrics.opened();
      const counted = metrics.backend(backend);
      counted.assigned(1 + (i & 63));
      metrics.backend(backend).connected(0.1 * (1 + (i & 255)));
      counted.carried(1 << (i & 15), 1 << (i & 23));
      metrics.ended(end, i & 4_095, 1 << (i & 15), 1 << (i & 23));
    }
    if (round >= 0) recording.push(each(start, choices));
  }
  return spreadOf(recording);
};

let missed = 0;
const verdict = (what: string, value: number, limit: number, unit: string): void => {
  const met = value < limit;
  if (!met) missed += 1;
  print(`${met ? "met   " : "MISSED"} ${what}: ${value.toFixed(2)} ${unit}, target below ${limit} ${unit}`);
};

const say = (verdicts: ReadonlyArray<() => void>): void => {
  for (const each of verdicts) each();
  if (missed > 0 && process.argv.includes("--assert")) process.exitCode = 1;
};

const choosing = async (algorithm: Algorithm): Promise<void> => {
  const verdicts: Array<() => void> = [];
  for (const size of sizes) {
    for (const setting of settings) {
      const { name, weightOf } = setting;
      const { assign, observe, release } = poolCosts(algorithm, size, setting);
      const both = await registryCosts(algorithm, size, weightOf);
      print(
        [algorithm.name, size, name].map((cell) => String(cell).padEnd(18)).join("") +
          [assign, release, observe, both].map(show).join(""),
      );
      const target = targets.get(size);
      if (target !== undefined) {
        const what = `${algorithm.name}, ${size} backends, ${name}, choose+account`;
        verdicts.push(() => verdict(what, assign.median, target, "µs"));
      }
    }
  }
  say(verdicts);
};

const others = (): void => {
  const verdicts: Array<() => void> = [];
  print("");
  print("recording a connection's metrics, µs");
  for (const size of sizes) {
    const recording = recordingCosts(size);
    print(`${String(size).padEnd(8)}${show(recording)}`);
    verdicts.push(() =>
      verdict(`${size} backends, recording a connection`, recording.median, recordingTarget, "µs"),
    );
  }
  print("");
  print("ip-hash's table, ms");
  for (const size of [1, 10, ...sizes]) {
    const weighted = buildCosts(size, many);
    print(
      `${String(size).padEnd(8)}many weights: whole ${show(weighted.whole)}longest ${weighted.longest.toFixed(2)}`,
    );
    const { longest, slices, whole } = buildCosts(size);
    print(`${String(size).padEnd(8)}whole ${show(whole)}longest of ${slices} slices ${longest.toFixed(2)}`);
    verdicts.push(() => {
      verdict(`table of ${size}, whole`, whole.median, longestBuildMillis, "ms");
      verdict(`table of ${size}, longest slice`, longest, longestSliceMillis, "ms");
    });
  }
  print("");
  say(verdicts);
};

// Each algorithm in a process of its own, as a load balancer has one: beside others, shared code is compiled for all.
const own = algorithms.find(({ name }) => process.argv.includes(name));
if (own !== undefined) await choosing(own);
else {
  print(`Node ${process.version}; median µs of one (middle half), ${rounds} rounds of ${choices}`);
  print(
    ["algorithm", "backends", "at work"].map((head) => head.padEnd(18)).join("") +
      ["choose+account", "release", "observe", "registry: both"].map((head) => head.padEnd(20)).join(""),
  );
  const [, file = "", ...args] = process.argv;
  for (const { name } of algorithms) {
    const { status } = spawnSync(process.execPath, [file, name, ...args], { stdio: "inherit" });
    if (status !== 0) process.exitCode = 1;
  }
  others();
}
