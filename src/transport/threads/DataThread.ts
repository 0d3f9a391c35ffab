/**
 * A data thread: it is handed clients, connects, relays, and reports. It decides nothing, and waits for nothing but the
 * kernel: no timer of Node's, promise, message port or console is used while it runs.
 *
 * Its connections run on the same engine, connects and relays as those of the main thread.
 */
import type { ByteCounts } from "../../net/ByteCounts.js";
import { forward, type RelayOutcome } from "../Forwarding.js";
import { Connecting, type Failure } from "../linux/Connecting.js";
import { Engine, type Watched } from "../linux/Engine.js";
import type { EventCounters } from "../linux/EventCounter.js";
import type { Watch } from "../linux/HostLoop.js";
import { KernelRing, smallRing } from "../linux/KernelRing.js";
import { addressSize, type Block, EPOLLIN, errnoName, type Service as LibcService } from "../linux/Libc.js";
import { sendPreface } from "../linux/Preface.js";
import { Relay } from "../linux/Relay.js";
import { RingConnecting } from "../linux/RingConnecting.js";
import { RingRelay } from "../linux/RingRelay.js";
import { Socket } from "../linux/Socket.js";
import type { Uring } from "../linux/Uring.js";

import { BlockingLoop } from "./BlockingLoop.js";
import { FaultNote } from "./FaultNote.js";
import * as Protocol from "./Protocol.js";
import { Queue } from "./Queue.js";
import * as Slots from "./Slots.js";
import { ThreadCounts } from "./ThreadCounts.js";

/** In place of peers' addresses, which only the main thread needs. */
const unnamed = { host: "", port: 0 };

export class DataThread {
  readonly #libc: LibcService;
  readonly #counters: EventCounters;
  readonly #memory: Protocol.Memory;
  readonly #loop: BlockingLoop;
  readonly #engine: Engine;
  readonly #ring: KernelRing | undefined;
  readonly #slots: Slots.Slots;
  readonly #orders: Queue;
  readonly #reports: Queue;
  readonly #faults: FaultNote;
  readonly #counts: ThreadCounts;
  /** For the address that is being connected to. Nothing is in it between two calls. */
  readonly #address: Block;
  /** By slot: how to give up what runs there. */
  readonly #running: Array<(() => void) | undefined> = [];
  /** By slot, for as long as the thread lives. */
  readonly #byteCounts: Array<ByteCounts | undefined> = [];
  #stopped = false;
  /** When the first report was put that the main thread was not woken for and has not taken yet; undefined for none. */
  #unannouncedSince: number | undefined;

  /**
   * Throws where the kernel refuses. `libc` writes down in {@link Protocol.Memory.owned} what it opens. `now` is
   * monotonic time in milliseconds.
   */
  constructor(
    libc: LibcService,
    counters: EventCounters,
    uring: Uring | undefined,
    memory: Protocol.Memory,
    now: () => number,
  ) {
    this.#counters = counters;
    this.#memory = memory;
    this.#slots = new Slots.Slots(memory.slots);
    this.#orders = new Queue(memory.orders);
    this.#reports = new Queue(memory.reports);
    this.#faults = new FaultNote(memory.faults);
    const counts = new ThreadCounts(memory.counts);
    this.#counts = counts;
    this.#loop = new BlockingLoop(now, (phase) => counts.enters(phase));
    this.#libc = {
      ...libc,
      epollWait: (epoll, events, most, timeoutMillis) => {
        counts.enters("waiting");
        const count = libc.epollWait(epoll, events, most, timeoutMillis);
        counts.enters("relaying");
        return count;
      },
    };
    this.#address = this.#libc.allocate(addressSize);
    this.#engine = new Engine(
      this.#libc,
      this.#loop.hostLoop,
      Number.POSITIVE_INFINITY,
      (fault) => {
        if (this.#faults.write(fault)) this.#announce(Protocol.fault, Protocol.ofThread);
      },
      memory.pipeBudget,
      memory.resetsOnCrash,
      memory.sourceHosts,
    );
    this.#engine.handling = counts.descriptors;
    this.#watch(memory.ordersCounter, () => {
      counters.clearCounter(memory.ordersCounter);
    });
    this.#ring =
      uring === undefined
        ? undefined
        : new KernelRing(uring, this.#engine, smallRing, (fd, onReadable) => this.#watch(fd, onReadable));
  }

  /** Has the callback called for as long as the descriptor is readable, until the engine ends. */
  #watch(fd: number, onReadable: () => void): Watch {
    const counter: Watched = {
      fd,
      incarnation: 0,
      onEvents: onReadable,
      onRound: () => {},
      onFault: () => {},
    };
    const watched = this.#engine.add(counter, EPOLLIN);
    if (watched < 0) throw new Error(`epoll_ctl failed (${errnoName(watched)})`);
    return { close: () => {} };
  }

  /** Until it is ordered to stop. */
  run(): void {
    this.begin();
    while (this.proceed(this.prepare())) {}
    this.end();
  }

  /** Reports that it is ready. What comes before it waits, and what comes after, is apart for a simulation. */
  begin(): void {
    this.#announce(Protocol.ready, Protocol.ofThread);
  }

  /**
   * Follows its orders, and does what is due. Returns how many milliseconds it may wait then: an order that is put from
   * here on raises the counter, and so ends the wait.
   */
  prepare(): number {
    this.#counts.enters("orders");
    this.#orders.take(this.#follow);
    const millis = Math.min(this.#loop.turn(), this.#untilAnnounced());
    return this.#stopped || !this.#orders.sleep() ? 0 : millis;
  }

  /** Waits for at most `millis` milliseconds, and handles what has arrived. False if it was ordered to stop. */
  proceed(millis: number): boolean {
    this.#engine.wait(millis);
    this.#orders.awake();
    this.#counts.turned(millis > 0);
    return !this.#stopped;
  }

  /** All that it has is reset. */
  end(): void {
    for (const giveUp of this.#running) giveUp?.();
    // What the ring carries ends before it does.
    this.#engine.shutdown();
    this.#ring?.shutdown();
  }

  readonly #follow = (order: number): void => {
    const slot = Protocol.slotOf(order);
    switch (Protocol.kindOf(order)) {
      case Protocol.begin:
        this.#begin(slot);
        break;
      case Protocol.abort:
        this.#running[slot]?.();
        break;
      case Protocol.stop:
        this.#stopped = true;
        break;
    }
  };

  #begin(slot: number): void {
    const engine = this.#engine;
    const ring = this.#ring;
    const client = new Socket(engine, this.#slots.client(slot), unnamed, true);
    let counts = this.#byteCounts[slot];
    if (counts === undefined) {
      counts = this.#slots.counts(slot);
      this.#byteCounts[slot] = counts;
    }
    const counted = counts;
    const began = this.#loop.now();
    let relaying = false;
    let over = false;
    const ended = ({ end }: RelayOutcome): void => {
      over = true;
      this.#finish(slot, Protocol.ended, Protocol.ends.indexOf(end));
    };
    const failed = (result: number): void => {
      over = true;
      client.gone();
      this.#finish(slot, Protocol.failed, result);
    };
    const giveUp = forward<Socket, Socket, Failure>(
      (made, refused) => {
        const onSettled = (settled: Socket | Failure): void => {
          if (!(settled instanceof Socket)) {
            refused(settled);
            return;
          }
          const preface = this.#slots.preface(slot);
          const sent = preface === undefined ? 0 : sendPreface(settled, preface);
          if (sent === 0) made(settled);
          else {
            settled.end(true);
            refused(Math.abs(sent));
          }
        };
        const attempt =
          ring === undefined
            ? new Connecting(engine, unnamed, onSettled)
            : new RingConnecting(engine, ring, unnamed, onSettled);
        const length = this.#slots.address(slot, this.#address.bytes);
        const family = this.#address.bytes[0] ?? 0;
        const timeoutMillis = this.#slots.timeoutMillis(slot);
        attempt.start({ family, address: this.#address, length }, timeoutMillis, !client.hasSent());
        return () => attempt.cancel();
      },
      (from, to, onEnd) => {
        relaying = true;
        this.#slots.connected(slot, this.#loop.now() - began, to.fd);
        const relay =
          ring === undefined
            ? new Relay(from, to, counted, onEnd)
            : new RingRelay(ring, from, to, counted, onEnd);
        relay.start();
        return () => relay.abort();
      },
      client,
      undefined,
      {
        ended,
        failed,
        threw: (defect) => engine.faults.caught(client, defect),
      },
    );
    // It may have failed at once.
    if (over) return;
    this.#running[slot] = () => {
      giveUp();
      if (relaying) ended({ end: "client-reset", received: 0, sent: 0 });
      else failed(Slots.givenUp);
    };
  }

  /** The slot is the main thread's again. */
  #finish(slot: number, kind: number, result: number): void {
    this.#running[slot] = undefined;
    this.#slots.setResult(slot, result);
    if (kind === Protocol.ended) this.#report(slot, kind);
    // Its client waits for another backend.
    else this.#announce(slot, kind);
  }

  /**
   * For the main thread to take when it looks: it is woken for it only later, see {@link Protocol.reportDelayMillis}.
   */
  #report(slot: number, kind: number): void {
    this.#reports.put(Protocol.word(slot, kind));
    this.#unannouncedSince ??= this.#loop.now();
  }

  /** A report for which the main thread is woken at once. */
  #announce(slot: number, kind: number): void {
    this.#reports.put(Protocol.word(slot, kind));
    this.#wakeMain();
  }

  #wakeMain(): void {
    this.#unannouncedSince = undefined;
    if (this.#reports.wakes()) this.#counters.raiseCounter(this.#memory.reportsCounter);
  }

  /** Wakes the main thread where reports have waited long enough. Returns in how many milliseconds that will be. */
  #untilAnnounced(): number {
    if (this.#unannouncedSince === undefined) return Number.POSITIVE_INFINITY;
    const left = this.#unannouncedSince + Protocol.reportDelayMillis - this.#loop.now();
    if (this.#reports.length === 0) this.#unannouncedSince = undefined;
    else if (left > 0) return Math.ceil(left);
    else this.#wakeMain();
    return Number.POSITIVE_INFINITY;
  }
}
