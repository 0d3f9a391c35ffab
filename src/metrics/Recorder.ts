/**
 * What is recorded while things happen, in registries of Effect's metrics. Each backend has a registry of its own,
 * which goes when the backend does: no series stays behind.
 *
 * Recording is synchronous and costs some tens of nanoseconds: it happens on the connection path. Whatever can be read
 * off the pool or the open sessions at any time (who is up, how many connections are open) is not recorded here.
 */
import { Metric, type MetricHook, type MetricKey, type MetricPair, MetricRegistry } from "effect";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import {
  type ConnectFailureReason,
  catalog,
  counterKey,
  type Family,
  histogramKey,
  type PollResult,
  type RefusedReason,
  values,
} from "./Catalog.js";
import * as LabelValue from "./LabelValue.js";

/**
 * A backend, as metrics name it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Subject {
  readonly key: string;
  readonly id: string;
  readonly address: SocketAddress;
}

/**
 * Bytes that went both ways.
 *
 * @since 0.2.0
 * @category models
 */
export interface Bytes {
  /** From clients. */
  readonly received: number;
  /** To clients. */
  readonly sent: number;
}

/**
 * A counter that can be added to.
 *
 * @since 0.2.0
 * @category models
 */
export type Counter = MetricHook.MetricHook.Counter<number>;
/**
 * A histogram that can be added to.
 *
 * @since 0.2.0
 * @category models
 */
export type Histogram = MetricHook.MetricHook.Histogram;

/**
 * Where the series of one balancer, or of one backend, are kept.
 *
 * @since 0.2.0
 * @category models
 */
export interface Registry {
  readonly counter: (key: MetricKey.MetricKey.Counter<number>) => Counter;
  readonly histogram: (key: MetricKey.MetricKey.Histogram) => Histogram;
  readonly snapshot: () => ReadonlyArray<MetricPair.MetricPair.Untyped>;
}

/**
 * Makes the registry of a balancer, and one for each of its backends.
 *
 * @since 0.2.0
 * @category models
 */
export type MakeRegistry = () => Registry;

/** A registry of its own: its series go when it does. */
export const ownRegistry: MakeRegistry = () => {
  const registry = MetricRegistry.make();
  return {
    counter: (key) => registry.getCounter(key),
    histogram: (key) => registry.getHistogram(key),
    snapshot: () => registry.snapshot(),
  };
};

/**
 * The same, and each update also goes to the one global registry of Effect's metrics, which exporters of a program read.
 * That registry forgets nothing: the series of a backend that is gone stay there until the process ends.
 */
export const globalRegistry: MakeRegistry = () => {
  const own = ownRegistry();
  return {
    counter: (key) => {
      const hook = own.counter(key);
      const shared = Metric.fromMetricKey(key);
      return {
        ...hook,
        update: (amount) => {
          hook.update(amount);
          shared.unsafeUpdate(amount, []);
        },
      };
    },
    histogram: (key) => {
      const hook = own.histogram(key);
      const shared = Metric.fromMetricKey(key);
      return {
        ...hook,
        update: (value) => {
          hook.update(value);
          shared.unsafeUpdate(value, []);
        },
      };
    },
    snapshot: own.snapshot,
  };
};

const countOf = (counter: Counter): number => Number(counter.get().count);

/** The counters of one family that differ in one or more labels: those of known values, and others as they come. */
class Counters<Label extends string, Value extends string> {
  readonly #counters = new Map<Value, Counter>();
  constructor(
    readonly registry: Registry,
    readonly family: Family<Label>,
    known: ReadonlyArray<Value>,
    readonly labelsOf: (value: Value) => Readonly<Record<Label, string>>,
  ) {
    for (const value of known) this.#make(value);
  }

  #make(value: Value): Counter {
    const counter = this.registry.counter(counterKey(this.family, this.labelsOf(value)));
    this.#counters.set(value, counter);
    return counter;
  }

  increment(value: Value): void {
    (this.#counters.get(value) ?? this.#make(value)).update(1);
  }

  get total(): number {
    let total = 0;
    for (const counter of this.#counters.values()) total += countOf(counter);
    return total;
  }

  get byValue(): ReadonlyMap<Value, number> {
    return new Map([...this.#counters].map(([value, counter]) => [value, countOf(counter)]));
  }
}

/**
 * What is recorded of one backend.
 *
 * @since 0.2.0
 * @category models
 */
export class BackendRecorder {
  readonly registry: Registry;
  readonly labels: { readonly backend: string; readonly address: string };
  readonly #opened: Counter;
  readonly #redispatches: Counter;
  readonly #connectSeconds: Histogram;
  readonly #probeSeconds: Histogram;
  readonly #failures: Counters<"backend" | "address" | "reason", ConnectFailureReason>;
  readonly #probes: Counters<"backend" | "address" | "result", "success" | "failure">;
  readonly #transitions: Counters<"backend" | "address" | "to", "up" | "down">;
  #peak = 0;
  #received = 0;
  #sent = 0;

  constructor({ address, id }: Subject, registry: Registry) {
    const labels = { backend: LabelValue.make(id), address: LabelValue.make(format(address)) };
    this.registry = registry;
    this.labels = labels;
    this.#opened = registry.counter(counterKey(catalog.backendOpened, labels));
    this.#redispatches = registry.counter(counterKey(catalog.redispatches, labels));
    this.#connectSeconds = registry.histogram(histogramKey(catalog.connectSeconds, labels));
    this.#probeSeconds = registry.histogram(histogramKey(catalog.probeSeconds, labels));
    this.#failures = new Counters(registry, catalog.connectFailures, values.connectFailures, (reason) => ({
      ...labels,
      reason,
    }));
    this.#transitions = new Counters(registry, catalog.transitions, values.transitions, (to) => ({
      ...labels,
      to,
    }));
    this.#probes = new Counters(registry, catalog.probes, values.probes, (result) => ({ ...labels, result }));
  }

  /** Connections made to it. */
  get total(): number {
    return countOf(this.#opened);
  }

  /** The most connections that were assigned to it at one time. */
  get peak(): number {
    return this.#peak;
  }

  /** Clients' connections that could not be made to it. */
  get connectFailures(): number {
    return this.#failures.total;
  }

  /** What connecting to it took on average, in milliseconds; undefined before the first connection. */
  get connectMillis(): number | undefined {
    const { count, sum } = this.#connectSeconds.get();
    return count === 0 ? undefined : (sum / count) * 1000;
  }

  /** Bytes of the connections to it that have ended. */
  get bytesEnded(): Bytes {
    return { received: this.#received, sent: this.#sent };
  }

  /** A connection was assigned to it, which now has so many. */
  assigned(connections: number): void {
    if (connections > this.#peak) this.#peak = connections;
  }

  connected(millis: number): void {
    this.#opened.update(1);
    this.#connectSeconds.update(millis / 1000);
  }

  connectFailed(reason: ConnectFailureReason): void {
    this.#failures.increment(reason);
  }

  redispatched(): void {
    this.#redispatches.update(1);
  }

  /** A connection to it has ended, and carried so much. */
  carried(received: number, sent: number): void {
    this.#received += received;
    this.#sent += sent;
  }

  /** It went up or down. */
  transitioned(up: boolean): void {
    this.#transitions.increment(up ? "up" : "down");
  }

  probed(succeeded: boolean, millis: number): void {
    this.#probes.increment(succeeded ? "success" : "failure");
    if (succeeded) this.#probeSeconds.update(millis / 1000);
  }
}

/**
 * What is recorded of one balancer.
 *
 * @since 0.2.0
 * @category models
 */
export class Recorder {
  readonly #makeRegistry: MakeRegistry;
  readonly registry: Registry;
  readonly #backends = new Map<string, BackendRecorder>();
  /** Bytes of all connections that have ended. */
  #received = 0;
  #sent = 0;
  #listedAt: number | undefined = undefined;
  readonly #opened: Counter;
  readonly #acceptErrors: Counter;
  readonly #steeringRefused: Counter;
  readonly #seconds: Histogram;
  readonly #receivedBytes: Histogram;
  readonly #sentBytes: Histogram;
  readonly #refused: Counters<string, RefusedReason>;
  readonly #polls: Counters<string, PollResult>;
  readonly #ended: Counters<string, string>;

  constructor(makeRegistry: MakeRegistry = ownRegistry) {
    const registry = makeRegistry();
    this.#makeRegistry = makeRegistry;
    this.registry = registry;
    this.#opened = registry.counter(counterKey(catalog.opened, {}));
    this.#acceptErrors = registry.counter(counterKey(catalog.acceptErrors, {}));
    this.#steeringRefused = registry.counter(counterKey(catalog.steeringRefused, {}));
    this.#seconds = registry.histogram(histogramKey(catalog.connectionSeconds, {}));
    this.#receivedBytes = registry.histogram(
      histogramKey(catalog.connectionBytes, { direction: "received" }),
    );
    this.#sentBytes = registry.histogram(histogramKey(catalog.connectionBytes, { direction: "sent" }));
    this.#refused = new Counters(registry, catalog.refused, values.refused, (reason) => ({ reason }));
    this.#polls = new Counters(registry, catalog.polls, values.polls, (result) => ({
      result,
    }));
    this.#ended = new Counters(registry, catalog.ended, values.ended, (code) => {
      const [by = "", phase = ""] = code.split("/");
      return { by, phase };
    });
  }

  /** Connections accepted from clients since the start. */
  get total(): number {
    return countOf(this.#opened);
  }

  /** Connections that could not be accepted. */
  get acceptErrors(): number {
    return countOf(this.#acceptErrors);
  }

  /** Connections since the start that no backend could take. */
  get refusals(): number {
    return this.#refused.total;
  }

  /** The same by reason. */
  get refusalsByReason(): ReadonlyMap<RefusedReason, number> {
    return this.#refused.byValue;
  }

  /** When the list of backends was last got, in monotonic milliseconds; undefined before the first time. */
  get listedAt(): number | undefined {
    return this.#listedAt;
  }

  /** Of the backends that are known. */
  get backends(): ReadonlyMap<string, BackendRecorder> {
    return this.#backends;
  }

  /** Bytes of the connections that have ended, those to backends that are gone included. */
  get bytesEnded(): Bytes {
    return { received: this.#received, sent: this.#sent };
  }

  /** What the registries hold at this moment, of the balancer and of each backend. */
  get snapshots(): ReadonlyArray<ReadonlyArray<MetricPair.MetricPair.Untyped>> {
    return [this, ...this.#backends.values()].map(({ registry }) => registry.snapshot());
  }

  /** A client's connection was accepted. */
  opened(): void {
    this.#opened.update(1);
  }

  acceptFailed(): void {
    this.#acceptErrors.update(1);
  }

  /** A connection was reset because no backend could take it. */
  refused(reason: RefusedReason): void {
    this.#refused.increment(reason);
  }

  /** A connection is over: its termination code (`by/phase`), how long it lasted and what it carried. */
  ended(code: string, millis: number, received: number, sent: number): void {
    this.#received += received;
    this.#sent += sent;
    this.#ended.increment(code);
    this.#seconds.update(millis / 1000);
    this.#receivedBytes.update(received);
    this.#sentBytes.update(sent);
  }

  /** Discovery was asked at a monotonic time, with this result: "success", or why not. */
  polled(result: PollResult, at: number): void {
    this.#polls.increment(result);
    if (result === "success") this.#listedAt = at;
  }

  /** Somebody asked for steering without the right token. */
  steeringRefused(): void {
    this.#steeringRefused.update(1);
  }

  /** A backend is known from now on. */
  track(subject: Subject): void {
    if (!this.#backends.has(subject.key)) {
      this.#backends.set(subject.key, new BackendRecorder(subject, this.#makeRegistry()));
    }
  }

  /** What is recorded of a backend. What is recorded of one that is gone is lost. */
  backend(subject: Subject): BackendRecorder {
    return this.#backends.get(subject.key) ?? new BackendRecorder(subject, ownRegistry());
  }

  /** A backend is gone, and its series with it. */
  forget({ key }: Subject): void {
    this.#backends.delete(key);
  }
}
