/**
 * What is recorded while things happen. The series of a backend go when it does: none stays behind.
 *
 * Recording is synchronous and costs some tens of nanoseconds: it happens on the connection path. A backend's recorder
 * takes about a microsecond to make, so that a list of thousands holds up no connection. Whatever can be read off the
 * pool or the open sessions at any time (which backends are up, how many connections are open) is not recorded here.
 */
import { format, type SocketAddress } from "../net/SocketAddress.js";
import {
  type ConnectFailureReason,
  catalog,
  type PollResult,
  type RefusedReason,
  values,
} from "./Catalog.js";
import * as LabelValue from "./LabelValue.js";
import { Counter, CounterFamily, Counters, type Forward, Histogram, type Series } from "./Series.js";

const failures = new CounterFamily(catalog.connectFailures, values.connectFailures, (reason) => ({ reason }));
const transitions = new CounterFamily(catalog.transitions, values.transitions, (to) => ({ to }));
const probes = new CounterFamily(catalog.probes, values.probes, (result) => ({ result }));
const refused = new CounterFamily(catalog.refused, values.refused, (reason) => ({ reason }));
const polls = new CounterFamily(catalog.polls, values.polls, (result) => ({ result }));
const ended = new CounterFamily<string>(catalog.ended, values.ended, (code) => {
  const [by = "", phase = ""] = code.split("/");
  return { by, phase };
});

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
 * What is recorded of one backend.
 *
 * @since 0.2.0
 * @category models
 */
export class BackendRecorder {
  readonly labels: { readonly backend: string; readonly address: string };
  readonly #opened: Counter;
  readonly #redispatches: Counter;
  readonly #connectSeconds: Histogram;
  readonly #probeSeconds: Histogram;
  readonly #failures: Counters<ConnectFailureReason>;
  readonly #probes: Counters<"success" | "failure">;
  readonly #transitions: Counters<"up" | "down">;
  #peak = 0;
  #received = 0;
  #sent = 0;

  constructor({ address, id }: Subject, forward?: Forward) {
    const labels = { backend: LabelValue.make(id), address: LabelValue.make(format(address)) };
    this.labels = labels;
    this.#opened = new Counter(catalog.backendOpened, labels, forward);
    this.#redispatches = new Counter(catalog.redispatches, labels, forward);
    this.#connectSeconds = new Histogram(catalog.connectSeconds, labels, forward);
    this.#probeSeconds = new Histogram(catalog.probeSeconds, labels, forward);
    this.#failures = new Counters(failures, labels, forward);
    this.#transitions = new Counters(transitions, labels, forward);
    this.#probes = new Counters(probes, labels, forward);
  }

  /** All that is recorded of it, at this moment. */
  get series(): ReadonlyArray<Series> {
    return [
      this.#opened.series,
      this.#redispatches.series,
      this.#connectSeconds.series,
      this.#probeSeconds.series,
      ...this.#failures.series,
      ...this.#transitions.series,
      ...this.#probes.series,
    ];
  }

  /** Connections made to it. */
  get total(): number {
    return this.#opened.value;
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
    const { count, sum } = this.#connectSeconds;
    return count === 0 ? undefined : (sum / count) * 1000;
  }

  /** Bytes of the connections to it that have ended. */
  get bytesEnded(): Bytes {
    return { received: this.#received, sent: this.#sent };
  }

  /** A connection was assigned to it; `connections` is how many it has now. */
  assigned(connections: number): void {
    if (connections > this.#peak) this.#peak = connections;
  }

  connected(millis: number): void {
    this.#opened.add(1);
    this.#connectSeconds.observe(millis / 1000);
  }

  connectFailed(reason: ConnectFailureReason): void {
    this.#failures.increment(reason);
  }

  redispatched(): void {
    this.#redispatches.add(1);
  }

  /** A connection to it has ended; the arguments are the bytes it carried. */
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
    if (succeeded) this.#probeSeconds.observe(millis / 1000);
  }
}

/**
 * What is recorded of one balancer.
 *
 * @since 0.2.0
 * @category models
 */
export class Recorder {
  readonly #forward: Forward | undefined;
  readonly #backends = new Map<string, BackendRecorder>();
  /** Bytes of all connections that have ended. */
  #received = 0;
  #sent = 0;
  #listedAt: number | undefined = undefined;
  readonly #opened: Counter;
  readonly #queued: Counter;
  readonly #queueSeconds: Histogram;
  readonly #acceptErrors: Counter;
  readonly #steeringRefused: Counter;
  readonly #seconds: Histogram;
  readonly #receivedBytes: Histogram;
  readonly #sentBytes: Histogram;
  readonly #refused: Counters<RefusedReason>;
  readonly #polls: Counters<PollResult>;
  readonly #ended: Counters<string>;

  /** `forward` is where each update goes besides, if anywhere. */
  constructor(forward?: Forward) {
    this.#forward = forward;
    this.#opened = new Counter(catalog.opened, {}, forward);
    this.#queued = new Counter(catalog.queued, {}, forward);
    this.#queueSeconds = new Histogram(catalog.queueSeconds, {}, forward);
    this.#acceptErrors = new Counter(catalog.acceptErrors, {}, forward);
    this.#steeringRefused = new Counter(catalog.steeringRefused, {}, forward);
    this.#seconds = new Histogram(catalog.connectionSeconds, {}, forward);
    this.#receivedBytes = new Histogram(catalog.connectionBytes, { direction: "received" }, forward);
    this.#sentBytes = new Histogram(catalog.connectionBytes, { direction: "sent" }, forward);
    this.#refused = new Counters(refused, {}, forward);
    this.#polls = new Counters(polls, {}, forward);
    this.#ended = new Counters(ended, {}, forward);
  }

  /** Connections accepted from clients since the start. */
  get total(): number {
    return this.#opened.value;
  }

  /** Connections since the start that waited for a place at a backend. */
  get queuedTotal(): number {
    return this.#queued.value;
  }

  /** Connections that could not be accepted. */
  get acceptErrors(): number {
    return this.#acceptErrors.value;
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

  /** All that is recorded of the balancer itself, at this moment. */
  get series(): ReadonlyArray<Series> {
    return [
      this.#opened.series,
      this.#queued.series,
      this.#queueSeconds.series,
      this.#acceptErrors.series,
      this.#steeringRefused.series,
      this.#seconds.series,
      this.#receivedBytes.series,
      this.#sentBytes.series,
      ...this.#refused.series,
      ...this.#polls.series,
      ...this.#ended.series,
    ];
  }

  /** A client's connection was accepted. */
  opened(): void {
    this.#opened.add(1);
  }

  /** A connection begins to wait for a place at a backend. */
  queued(): void {
    this.#queued.add(1);
  }

  /** It waits no longer, with a place or without. */
  waited(millis: number): void {
    this.#queueSeconds.observe(millis / 1000);
  }

  acceptFailed(): void {
    this.#acceptErrors.add(1);
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
    this.#seconds.observe(millis / 1000);
    this.#receivedBytes.observe(received);
    this.#sentBytes.observe(sent);
  }

  /** Discovery was asked at a monotonic time, with this result: "success", or why not. */
  polled(result: PollResult, at: number): void {
    this.#polls.increment(result);
    if (result === "success") this.#listedAt = at;
  }

  /** A steering request without the right token was refused. */
  steeringRefused(): void {
    this.#steeringRefused.add(1);
  }

  /** A backend is known from now on. */
  track(subject: Subject): void {
    if (!this.#backends.has(subject.key)) {
      this.#backends.set(subject.key, new BackendRecorder(subject, this.#forward));
    }
  }

  /** What is recorded of a backend. What is recorded of one that is gone is lost. */
  backend(subject: Subject): BackendRecorder {
    return this.#backends.get(subject.key) ?? new BackendRecorder(subject);
  }

  /** A backend is gone, and its series with it. */
  forget({ key }: Subject): void {
    this.#backends.delete(key);
  }
}
