/**
 * What has been counted and measured, in registries of Effect's metrics. Each backend has a registry of its own,
 * which goes when the backend does: no series stays behind.
 *
 * Recording is synchronous and costs some tens of nanoseconds: it happens on the connection path. What can be
 * read off the pool at any time (who is up, how many connections are open) is not recorded here.
 */
import { type MetricHook, MetricRegistry } from "effect";
import type { Meter } from "../net/Meter.js";
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

/** A backend, as metrics name it. */
export interface Subject {
  readonly key: string;
  readonly id: string;
  readonly address: SocketAddress;
}

type Counter = MetricHook.MetricHook.Counter<number>;

/** The counters of one family that differ in one or more labels: those of known values, and others as they come. */
class Counters<Label extends string, Value extends string> {
  readonly #counters = new Map<Value, Counter>();
  constructor(
    readonly registry: MetricRegistry.MetricRegistry,
    readonly family: Family<Label>,
    known: ReadonlyArray<Value>,
    readonly labelsOf: (value: Value) => Readonly<Record<Label, string>>,
  ) {
    for (const value of known) this.#made(value);
  }

  #made(value: Value): Counter {
    const counter = this.registry.getCounter(counterKey(this.family, this.labelsOf(value)));
    this.#counters.set(value, counter);
    return counter;
  }

  increment(value: Value): void {
    (this.#counters.get(value) ?? this.#made(value)).update(1);
  }
}

/** What is recorded of one backend. */
export class BackendMetrics {
  readonly registry = MetricRegistry.make();
  readonly meter: Meter = { received: 0, sent: 0 };
  readonly labels: { readonly backend: string; readonly address: string };
  readonly #opened: Counter;
  readonly #redispatches: Counter;
  readonly #connectSeconds: MetricHook.MetricHook.Histogram;
  readonly #probeSeconds: MetricHook.MetricHook.Histogram;
  readonly #failures: Counters<"backend" | "address" | "reason", ConnectFailureReason>;
  readonly #probes: Counters<"backend" | "address" | "result", "success" | "failure">;
  readonly #transitions: Counters<"backend" | "address" | "to", "up" | "down">;
  #total = 0;
  #peak = 0;
  #failed = 0;

  constructor({ address, id }: Subject) {
    const labels = { backend: id, address: format(address) };
    this.labels = labels;
    this.#opened = this.registry.getCounter(counterKey(catalog.backendOpened, labels));
    this.#redispatches = this.registry.getCounter(counterKey(catalog.redispatches, labels));
    this.#connectSeconds = this.registry.getHistogram(histogramKey(catalog.connectSeconds, labels));
    this.#probeSeconds = this.registry.getHistogram(histogramKey(catalog.probeSeconds, labels));
    this.#failures = new Counters(
      this.registry,
      catalog.connectFailures,
      values.connectFailures,
      (reason) => ({ ...labels, reason }),
    );
    this.#transitions = new Counters(this.registry, catalog.transitions, values.transitions, (to) => ({
      ...labels,
      to,
    }));
    this.#probes = new Counters(this.registry, catalog.probes, values.probes, (result) => ({
      ...labels,
      result,
    }));
  }

  /** Connections made to it. */
  get total(): number {
    return this.#total;
  }

  /** The most connections that were assigned to it at one time. */
  get peak(): number {
    return this.#peak;
  }

  /** A connection was assigned to it, which now has so many. */
  assigned(connections: number): void {
    if (connections > this.#peak) this.#peak = connections;
  }

  connected(millis: number): void {
    this.#total += 1;
    this.#opened.update(1);
    this.#connectSeconds.update(millis / 1000);
  }

  /** Clients' connections that could not be made to it. */
  get failed(): number {
    return this.#failed;
  }

  /** What connecting to it took on average, in milliseconds; undefined before the first connection. */
  get connectMillis(): number | undefined {
    const { count, sum } = this.#connectSeconds.get();
    return count === 0 ? undefined : (sum / count) * 1000;
  }

  connectFailed(reason: ConnectFailureReason): void {
    this.#failed += 1;
    this.#failures.increment(reason);
  }

  redispatched(): void {
    this.#redispatches.update(1);
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

/** What is recorded of one balancer. */
export class Metrics {
  readonly registry = MetricRegistry.make();
  readonly #backends = new Map<string, BackendMetrics>();
  /** Of backends that are gone. */
  readonly #gone: Meter = { received: 0, sent: 0 };
  #open = 0;
  #total = 0;
  #refusals = 0;
  #listedAt: number | undefined = undefined;
  readonly #opened = this.registry.getCounter(counterKey(catalog.opened, {}));
  readonly #steeringRefused = this.registry.getCounter(counterKey(catalog.steeringRefused, {}));
  readonly #acceptErrors = this.registry.getCounter(counterKey(catalog.acceptErrors, {}));
  readonly #seconds = this.registry.getHistogram(histogramKey(catalog.connectionSeconds, {}));
  readonly #received = this.registry.getHistogram(
    histogramKey(catalog.connectionBytes, { direction: "received" }),
  );
  readonly #sent = this.registry.getHistogram(histogramKey(catalog.connectionBytes, { direction: "sent" }));
  readonly #refused = new Counters(this.registry, catalog.refused, values.refused, (reason) => ({ reason }));
  readonly #polls = new Counters(this.registry, catalog.polls, values.polls, (result) => ({ result }));
  readonly #ended = new Counters(this.registry, catalog.ended, values.ended, (code) => {
    const [by = "", phase = ""] = code.split("/");
    return { by, phase };
  });

  /** A client's connection was accepted. It is open until {@link ended}. */
  opened(): void {
    this.#open += 1;
    this.#total += 1;
    this.#opened.update(1);
  }

  /** Connections open now, those that are still looking for a backend included. */
  get open(): number {
    return this.#open;
  }

  /** Somebody asked to steer with a wrong token, or with none. */
  steeringRefused(): void {
    this.#steeringRefused.update(1);
  }

  acceptFailed(): void {
    this.#acceptErrors.update(1);
  }

  /** Connections accepted from clients since the start. */
  get total(): number {
    return this.#total;
  }

  /** Connections since the start that no backend could take. */
  get refusals(): number {
    return this.#refusals;
  }

  /** A connection was reset because no backend could take it. */
  refused(reason: RefusedReason): void {
    this.#refusals += 1;
    this.#refused.increment(reason);
  }

  /** A connection is over: its termination code (`by/phase`), how long it lasted and what it carried. */
  ended(code: string, millis: number, received: number, sent: number): void {
    this.#open -= 1;
    this.#ended.increment(code);
    this.#seconds.update(millis / 1000);
    this.#received.update(received);
    this.#sent.update(sent);
  }

  /** Discovery was asked at a monotonic time in milliseconds, and this is what came of it: "success", or why not. */
  polled(result: PollResult, at: number): void {
    this.#polls.increment(result);
    if (result === "success") this.#listedAt = at;
  }

  /** When the list of backends was last got, in monotonic milliseconds; undefined before the first time. */
  get listedAt(): number | undefined {
    return this.#listedAt;
  }

  /** A backend is known from now on. */
  track(subject: Subject): void {
    if (!this.#backends.has(subject.key)) this.#backends.set(subject.key, new BackendMetrics(subject));
  }

  /** What is recorded of a backend. What is told of one that is gone is told in vain. */
  backend(subject: Subject): BackendMetrics {
    return this.#backends.get(subject.key) ?? new BackendMetrics(subject);
  }

  /** A backend is gone, and its series with it. */
  forget({ key }: Subject): void {
    const metrics = this.#backends.get(key);
    if (metrics === undefined) return;
    this.#gone.received += metrics.meter.received;
    this.#gone.sent += metrics.meter.sent;
    this.#backends.delete(key);
  }

  get backends(): ReadonlyMap<string, BackendMetrics> {
    return this.#backends;
  }

  /** Bytes relayed since the start, of backends that are gone too. */
  get meter(): Readonly<Meter> {
    let { received, sent } = this.#gone;
    for (const { meter } of this.#backends.values()) {
      received += meter.received;
      sent += meter.sent;
    }
    return { received, sent };
  }
}
