/**
 * The main thread's side of one data thread, from its start to its end: what is handed over, and what came of it.
 */
import type { ByteCounts } from "../../net/ByteCounts.js";
import type { DataThreadStatus } from "../../net/DataThreadStatus.js";
import type { ForwardCallbacks } from "../Forwarding.js";
import type { Destination, Failure } from "../linux/Connecting.js";
import type { Engine } from "../linux/Engine.js";
import type { EventCounters } from "../linux/EventCounter.js";
import type { Timer, Watch } from "../linux/HostLoop.js";
import { bufferBytes, smallRing } from "../linux/KernelRing.js";
import { errnoName } from "../linux/Libc.js";
import type { Owner, Socket } from "../linux/Socket.js";
import * as TcpInfo from "../linux/TcpInfo.js";
import type { Task } from "../linux/TurnScheduler.js";
import { type RingRemains, ringRemains } from "../linux/Uring.js";
import type { ForwardOptions, RelayEnd } from "../Transport.js";
import { FaultNote } from "./FaultNote.js";
import { Ownership } from "./Ownership.js";
import * as Protocol from "./Protocol.js";
import { Queue } from "./Queue.js";
import { type Found, Responsiveness } from "./Responsiveness.js";
import * as Slots from "./Slots.js";
import { ThreadCounts } from "./ThreadCounts.js";

/** From one sweep to the next, in milliseconds: each brings what is known here of connections that go on up to date. */
const sweepMillis = 500;

/** Slots in one slice of a sweep. */
const slotsPerSlice = 1_024;

/** A connection that was handed over. */
export class HandedOver implements Owner {
  /** What of its bytes is in `counts`. */
  readonly counted: ByteCounts = { received: 0, sent: 0 };
  over = false;
  aborted = false;
  /** Its caller knows that it is connected. */
  #connected = false;
  /** The client's owner has ended it meanwhile. */
  #lost = false;
  /** Called in place of telling what came of it. */
  #onGivenUp: (() => void) | undefined;

  constructor(
    readonly handle: ThreadHandle,
    readonly slot: number,
    readonly client: Socket,
    readonly options: ForwardOptions,
    public counts: ByteCounts,
    readonly callbacks: ForwardCallbacks<Failure>,
  ) {}

  /** Nothing is told from now on; calls back when the data thread has given up. */
  giveUp(onGivenUp: () => void): void {
    if (this.over) {
      onGivenUp();
      return;
    }
    // Whether it was connected belongs to its record, however short that was.
    this.handle.bringUpToDate(this);
    this.#onGivenUp = onGivenUp;
    this.handle.abort(this);
  }

  /** It is watched by the data thread alone. */
  onReady(): void {}

  unacknowledged(): number {
    return this.handle.unacknowledged(this);
  }

  idleMillis(): number {
    return this.handle.idleMillis(this);
  }

  onLost(): void {
    this.#lost = true;
    this.handle.abort(this);
  }

  connected(millis: number): void {
    if (this.#connected || this.#onGivenUp !== undefined) return;
    this.#connected = true;
    try {
      this.options.connected?.(millis);
    } catch (defect) {
      this.giveUp(() => this.callbacks.threw(defect));
    }
  }

  ended(end: RelayEnd): void {
    this.over = true;
    this.client.gone();
    if (this.#onGivenUp !== undefined) this.#onGivenUp();
    else this.callbacks.ended({ end, received: this.counted.received, sent: this.counted.sent });
  }

  /** The client is its caller's again. */
  failed(failure: Failure): void {
    this.over = true;
    this.client.owner = undefined;
    if (this.#lost) this.client.end(true);
    if (this.#onGivenUp !== undefined) this.#onGivenUp();
    // As a relay that begins with a client that is gone.
    else if (this.#lost) this.callbacks.ended({ end: "client-reset", received: 0, sent: 0 });
    else this.callbacks.failed(failure);
  }
}

export interface ThreadHandleOptions {
  /** What the thread is called. */
  readonly name: string;
  /** Connections that it can have at a time. */
  readonly slots: number;
  /** Descriptors of the process have numbers below this one. */
  readonly descriptors: number;
  readonly pipeBudget: number;
  /** For one that has a ring: unmaps what is left of it when the thread has died. */
  readonly clearRing?: ((remains: RingRemains) => void) | undefined;
  readonly onReady: () => void;
  /** The data thread has caught an exception: its stack, in text. */
  readonly onFault: (text: string) => void;
}

export class ThreadHandle {
  /** What the data thread is given. */
  readonly memory: Protocol.Memory;
  readonly #engine: Engine;
  readonly #counters: EventCounters;
  readonly #options: ThreadHandleOptions;
  readonly #slots: Slots.Slots;
  readonly #ownership: Ownership;
  readonly #orders: Queue;
  readonly #reports: Queue;
  readonly #faults: FaultNote;
  readonly #counts: ThreadCounts;
  readonly #watch: Watch;
  readonly #stopLooking: () => void;
  readonly #responsiveness = new Responsiveness();
  /** By slot. */
  readonly #handed: Array<HandedOver | undefined> = [];
  readonly #free: Array<number> = [];
  /**
   * By slot: its {@link Slots.Slots.progress} at the last sweep, so that nothing else is touched of one that stands
   * still.
   */
  readonly #progress: Float64Array;
  readonly #sweep: Task = { proceed: () => this.#goSweep(), onFault: () => this.#sweepLater() };
  #sweepTimer: Timer | undefined;
  /** A sweep is under way, or its timer is set. */
  #sweeps = false;
  /** The next slot of this sweep. */
  #next = 0;
  #closed = false;
  /** Connections that it has now. */
  size = 0;

  /** Throws where the kernel or the loop refuses. */
  constructor(engine: Engine, counters: EventCounters, options: ThreadHandleOptions) {
    this.#engine = engine;
    this.#counters = counters;
    this.#options = options;
    const ordersCounter = counters.eventCounter();
    const reportsCounter = counters.eventCounter();
    const refuse = (why: string): never => {
      for (const fd of [ordersCounter, reportsCounter]) if (fd >= 0) engine.libc.close(fd);
      throw new Error(why);
    };
    if (ordersCounter < 0 || reportsCounter < 0)
      refuse(`eventfd failed (${errnoName(Math.min(ordersCounter, reportsCounter))})`);
    this.memory = {
      name: options.name,
      slots: Slots.Slots.memory(options.slots),
      owned: Ownership.memory(options.descriptors),
      orders: Queue.memory(Protocol.ordersOf(options.slots)),
      reports: Queue.memory(Protocol.reportsOf(options.slots)),
      faults: FaultNote.memory(),
      counts: ThreadCounts.memory(),
      ordersCounter,
      reportsCounter,
      pipeBudget: options.pipeBudget,
      resetsOnCrash: engine.resetsOnCrash,
      sourceHosts: engine.sourceHosts,
      ring: options.clearRing === undefined ? undefined : ringRemains(bufferBytes(smallRing)),
    };
    this.#slots = new Slots.Slots(this.memory.slots);
    this.#progress = new Float64Array(options.slots);
    this.#ownership = new Ownership(this.memory.owned);
    this.#orders = new Queue(this.memory.orders);
    this.#reports = new Queue(this.memory.reports);
    this.#faults = new FaultNote(this.memory.faults);
    this.#counts = new ThreadCounts(this.memory.counts);
    this.#reports.sleep();
    try {
      this.#watch = engine.hostLoop.watch(reportsCounter, () => this.#read());
    } catch (cause) {
      throw refuse(cause instanceof Error ? cause.message : String(cause));
    }
    this.#stopLooking = engine.scheduler.beforeInput(() => this.#reports.take(this.#hear));
  }

  /** Exceptions that the data thread has caught. */
  get faults(): number {
    return this.#faults.count;
  }

  get state(): DataThreadStatus {
    return {
      name: this.#options.name,
      connections: this.size,
      cpuSeconds: this.#counts.cpuSeconds,
      phase: this.#counts.phase,
      responsive: this.#responsiveness.responsive,
      silentSeconds: this.#responsiveness.silentMillis / 1_000,
      silences: this.#responsiveness.silences,
      turns: this.#counts.turns,
      waits: this.#counts.waits,
      orders: this.#orders.length,
      reports: this.#reports.length,
    };
  }

  /** Whether it takes its turns: to be looked at again and again. `now` is monotonic time in milliseconds. */
  look(now: number): Found | undefined {
    return this.#responsiveness.look(this.#counts.turns, now);
  }

  /** What is known of one that does not take its turns, or did not until now. */
  get silence() {
    const { lastSilence, responsive, silentMillis } = this.#responsiveness;
    return {
      thread: this.#options.name,
      seconds: Math.round((responsive ? lastSilence : silentMillis) / 1_000),
      ...(responsive ? {} : { phase: this.#counts.phase, descriptor: this.#counts.descriptor }),
    };
  }

  /** Whether it has a place for one connection more, and takes its turns. */
  get hasPlace(): boolean {
    return !this.#closed && this.#responsiveness.responsive && this.size < this.#options.slots;
  }

  /** Where there {@link hasPlace}. From now on the client is the data thread's. */
  handOver(
    client: Socket,
    to: Destination,
    options: ForwardOptions,
    counts: ByteCounts,
    callbacks: ForwardCallbacks<Failure>,
  ): HandedOver {
    const slot = this.#free.pop() ?? this.#handed.length;
    const handed = new HandedOver(this, slot, client, options, counts, callbacks);
    this.#handed[slot] = handed;
    this.size += 1;
    client.owner = handed;
    this.#ownership.enter(client.fd);
    this.#slots.begin(
      slot,
      client.fd,
      Math.ceil(options.timeoutMillis),
      to.address.bytes,
      to.length,
      options.preface,
    );
    this.#order(slot, Protocol.begin);
    this.#progress[slot] = 0;
    if (!this.#sweeps) this.#sweepLater();
    return handed;
  }

  abort(handed: HandedOver): void {
    if (handed.over || handed.aborted) return;
    handed.aborted = true;
    this.#order(handed.slot, Protocol.abort);
  }

  /** Orders the data thread to end. */
  stop(): void {
    if (!this.#closed) this.#order(0, Protocol.stop);
  }

  /** The data thread has ended, by order or not: whatever it has left is closed, and what it had is lost. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sweepTimer?.cancel();
    this.#watch.close();
    this.#stopLooking();
    const { libc } = this.#engine;
    this.#reports.take(this.#hear);
    this.#ownership.takeAll((fd) => {
      // Fails for what is not a socket. Without it a young backend connection would end with FIN, so that a partial
      // request could be taken for a complete one.
      libc.resetOnClose(fd, true);
      libc.close(fd);
    });
    if (this.memory.ring !== undefined) this.#options.clearRing?.(this.memory.ring);
    libc.close(this.memory.ordersCounter);
    libc.close(this.memory.reportsCounter);
    for (const handed of this.#handed) {
      if (handed === undefined) continue;
      this.bringUpToDate(handed);
      this.#vacate(handed);
      handed.ended("thread-lost");
    }
  }

  #order(slot: number, kind: number): void {
    this.#orders.put(Protocol.word(slot, kind));
    if (this.#orders.wakes()) this.#counters.raiseCounter(this.memory.ordersCounter);
  }

  #read(): void {
    this.#counters.clearCounter(this.memory.reportsCounter);
    this.#reports.awake();
    do this.#reports.take(this.#hear);
    while (!this.#closed && !this.#reports.sleep());
  }

  readonly #hear = (report: number): void => {
    try {
      this.#follow(Protocol.slotOf(report), Protocol.kindOf(report));
    } catch (fault) {
      this.#engine.faults.record(fault);
    }
  };

  #follow(slot: number, kind: number): void {
    if (kind === Protocol.ofThread) {
      if (slot === Protocol.ready) this.#options.onReady();
      else this.#options.onFault(this.#faults.read());
      return;
    }
    const handed = this.#handed[slot];
    if (handed === undefined) return;
    this.bringUpToDate(handed);
    this.#vacate(handed);
    const result = this.#slots.result(slot);
    if (kind === Protocol.ended) {
      handed.ended(Protocol.ends[result] ?? "client-reset");
      return;
    }
    this.#ownership.takeOut(handed.client.fd);
    handed.failed(result);
  }

  #vacate({ slot }: HandedOver): void {
    this.#handed[slot] = undefined;
    this.#free.push(slot);
    this.size -= 1;
  }

  /** What its slot has to say: that it is connected, and its bytes. */
  bringUpToDate(handed: HandedOver): void {
    const { counted, counts, slot } = handed;
    const millis = this.#slots.connectMillis(slot);
    if (millis !== undefined) handed.connected(millis);
    this.#slots.bringUpToDate(slot, counted, counts);
  }

  /**
   * Bytes that neither side has acknowledged. Both descriptors are the data thread's: one that it has closed meanwhile
   * may be another connection's by now, which is asked then. Nothing is done to it, and the report is on its way.
   */
  unacknowledged({ client, slot }: HandedOver): number {
    const backend = this.#slots.backend(slot);
    const { libc } = this.#engine;
    return client.unacknowledged() + (backend === undefined ? 0 : Math.max(0, libc.unacknowledged(backend)));
  }

  /** Milliseconds since data last came from either side; of descriptors that were closed the same holds as above. */
  idleMillis({ client, slot }: HandedOver): number {
    const backend = this.#slots.backend(slot);
    const ofClient = client.idleMillis();
    const ofBackend =
      backend === undefined ? undefined : TcpInfo.read(this.#engine, backend)?.sinceDataMillis;
    return Math.min(ofClient, ofBackend ?? ofClient);
  }

  #sweepLater(): void {
    this.#sweeps = !this.#closed && this.size > 0;
    if (this.#sweeps) this.#sweepTimer = this.#engine.hostLoop.after(sweepMillis, this.#startSweep);
  }

  readonly #startSweep = (): void => {
    this.#next = 0;
    this.#engine.scheduler.later(this.#sweep);
  };

  #goSweep(): void {
    if (this.#closed) return;
    const end = Math.min(this.#next + slotsPerSlice, this.#handed.length);
    while (this.#next < end) {
      const slot = this.#next++;
      const progress = this.#slots.progress(slot);
      if (progress === this.#progress[slot]) continue;
      this.#progress[slot] = progress;
      const handed = this.#handed[slot];
      if (handed !== undefined) this.bringUpToDate(handed);
    }
    if (end < this.#handed.length) this.#engine.scheduler.later(this.#sweep);
    else this.#sweepLater();
  }
}
