/**
 * Relays between two sockets by io_uring operations: for small traffic that both sides accept as it arrives. Everything
 * else (bulk, a slow reader, a side that was reset while it was written to) is handed over to {@link Relay}.
 *
 * Each direction does one thing at a time: it receives, and then sends what it received. So nothing overtakes, and a
 * buffer of the ring is in use only from the end of a receive to the end of a send, which never waits.
 */
import type { ByteCounts } from "../../net/ByteCounts.js";
import type { RelayEnd, RelayOutcome } from "../Transport.js";
import type { DirectionState } from "./Direction.js";
import { type Block, EAGAIN, ECANCELED, EINTR, ENOBUFS, EPOLLET, type Result } from "./Libc.js";
import { Relay } from "./Relay.js";
import { type Completing, noBuffer, noSlot, type Ring } from "./Ring.js";
import type { Owner, Socket } from "./Socket.js";

/** A direction is bulky after this many full buffers received in succession. */
const bulkyAfter = 2;

/** Kinds of operations. The number is for the client's direction; the next one for the backend's. */
const receiving = 0;
const sending = 2;

class Direction implements DirectionState {
  /** What is being sent. */
  buffer = noBuffer;
  length = 0;
  /** Its sender may have more. */
  more = false;
  rest: Block | undefined;
  ended = false;
  finished = false;
  bulky = false;
  /** Whole buffers received, one after another. */
  streak = 0;

  constructor(
    /** What is added to the number of an operation. */
    readonly index: 0 | 1,
    readonly from: Socket,
    readonly to: Socket,
  ) {}
}

export class RingRelay implements Owner, Completing {
  slot = noSlot;
  readonly #up: Direction;
  readonly #down: Direction;
  /** A bit for each operation that is under way. */
  #underWay = 0;
  #state: "running" | "handing-over" | "ending" | "over" = "running";
  #first: RelayEnd | undefined;
  /** How it ends; undefined when that is not to be reported. */
  #end: RelayEnd | undefined;
  /** The side that a send failed to, which it is handed over with. */
  #refusing: Socket | undefined;
  #successor: Relay | undefined;

  constructor(
    readonly ring: Ring,
    readonly client: Socket,
    readonly backend: Socket,
    private counts: ByteCounts,
    /** Called once, when both descriptors are closed; not after {@link abort}. */
    readonly onEnd: (outcome: RelayOutcome) => void,
  ) {
    this.#up = new Direction(0, client, backend);
    this.#down = new Direction(1, backend, client);
  }

  start(): void {
    const { client, backend, ring } = this;
    client.owner = this;
    backend.owner = this;
    if (backend.closed && !client.closed) {
      this.#leave("backend-reset");
      return;
    }
    if (client.closed || ring.enlist(this) < 0) {
      this.#leave("client-reset");
      return;
    }
    client.engine.track(client);
    backend.engine.track(backend);
    // A client has mostly sent its request by now.
    this.#receive(this.#up, true);
    this.#receive(this.#down, false);
  }

  onCompletion(operation: number, result: Result, buffer: number, more: boolean): void {
    this.#underWay &= ~(1 << operation);
    const direction = (operation & 1) === 0 ? this.#up : this.#down;
    switch (operation & ~1) {
      case receiving:
        this.#received(direction, result, buffer, more);
        break;
      case sending:
        this.#sent(direction, result);
        break;
    }
    this.#settle();
  }

  onReady(socket: Socket): void {
    if (socket.failed) this.#broken(socket);
  }

  onLost(socket: Socket, _reset: boolean): void {
    this.#broken(socket);
  }

  onFault(): void {
    this.#leave("client-reset");
  }

  unacknowledged(): number {
    return this.client.unacknowledged() + this.backend.unacknowledged();
  }

  idleMillis(): number {
    return Math.min(this.client.idleMillis(), this.backend.idleMillis());
  }

  /** Resets both sides. */
  abort(): void {
    if (this.#successor !== undefined) {
      this.#successor.abort();
      return;
    }
    this.#leave(undefined);
    // It may have been about to end by itself.
    this.#end = undefined;
    // A receive that is under way still ends, and the counts are the caller's again.
    this.counts = { received: 0, sent: 0 };
  }

  #receive(direction: Direction, now: boolean): void {
    const operation = receiving + direction.index;
    this.ring.receive(this, operation, direction.from.fd, now);
    this.#underWay |= 1 << operation;
  }

  #received(direction: Direction, result: Result, buffer: number, more: boolean): void {
    if (result > 0) {
      direction.from.received += result;
      if (direction === this.#up) this.counts.received += result;
      else this.counts.sent += result;
      if (result < this.ring.bufferSize) direction.streak = 0;
      else if (++direction.streak >= bulkyAfter) direction.bulky = true;
      direction.buffer = buffer;
      direction.length = result;
      if (this.#state !== "running") {
        this.#keep(direction, 0);
        return;
      }
      direction.more = more;
      const operation = sending + direction.index;
      direction.to.beforeWrite();
      this.ring.send(this, operation, direction.to.fd, buffer, result);
      this.#underWay |= 1 << operation;
      return;
    }
    if (buffer !== noBuffer) this.ring.recycle(buffer);
    if (result === 0) {
      direction.ended = true;
      this.counts.halfClosed = true;
      this.#first ??= direction === this.#up ? "client-closed" : "backend-closed";
      if (this.#state === "running") this.#finish(direction);
    } else if (result === -ENOBUFS || result === -EAGAIN || result === -EINTR) {
      if (this.#state === "running") this.#receive(direction, true);
    } else if (result !== -ECANCELED || this.#state === "running") {
      this.#broken(direction.from);
    }
  }

  #sent(direction: Direction, result: Result): void {
    if (this.#state === "running" && result === direction.length && !direction.bulky) {
      this.#recycle(direction);
      this.#receive(direction, direction.more);
      return;
    }
    this.#keep(direction, Math.max(0, result));
    if (result < 0 && result !== -EAGAIN && result !== -EINTR) this.#refusing ??= direction.to;
    if (this.#state === "running") this.#handOver();
  }

  /** All was delivered that came before FIN: now FIN itself. */
  #finish(direction: Direction): void {
    direction.finished = true;
    if (this.#up.finished && this.#down.finished) {
      // Closing sends the second one.
      this.#leave(this.#first);
      return;
    }
    if (direction.to.engine.libc.shutdown(direction.to.fd) < 0) {
      this.#broken(direction.to);
      return;
    }
    // Nothing more is received from this side, but a reset has to be noticed. Use epoll: io_uring polls always include
    // RDHUP, which stays set after FIN and would fire at once.
    if (direction.from.watch(EPOLLET) < 0) this.#broken(direction.from);
  }

  #recycle(direction: Direction): void {
    this.ring.recycle(direction.buffer);
    direction.buffer = noBuffer;
  }

  /** Keeps what was received from `from` on, and not sent, for the successor. */
  #keep(direction: Direction, from: number): void {
    if (this.#state !== "ending" && from < direction.length) {
      const bytes = this.ring.bytes(direction.buffer, direction.length);
      const rest = this.client.engine.libc.allocate(direction.length - from);
      rest.bytes.set(bytes.subarray(from));
      direction.rest = rest;
    }
    this.#recycle(direction);
  }

  #broken(socket: Socket): void {
    this.#leave(socket === this.client ? "client-reset" : "backend-reset");
  }

  /** To the successor, once nothing is under way. */
  #handOver(): void {
    this.#state = "handing-over";
    this.#cancel();
  }

  /** Ends both connections, once nothing is under way. */
  #leave(end: RelayEnd | undefined): void {
    if (this.#state === "ending" || this.#state === "over") return;
    this.#state = "ending";
    this.#end = end;
    this.#cancel();
    this.#settle();
  }

  /** Sends end by themselves. */
  #cancel(): void {
    for (const operation of [receiving, receiving + 1]) {
      if ((this.#underWay & (1 << operation)) !== 0) this.ring.cancel(this, operation);
    }
  }

  /** Does what it was to do once nothing is under way. */
  #settle(): void {
    const { client, backend } = this;
    const state = this.#state;
    if (this.#underWay !== 0 || state === "running" || state === "over") return;
    this.#state = "over";
    // Still there after a fault alone.
    for (const direction of [this.#up, this.#down])
      if (direction.buffer !== noBuffer) this.#recycle(direction);
    this.ring.dismiss(this);
    if (state === "handing-over") {
      this.#successor = new Relay(client, backend, this.counts, this.onEnd);
      this.#successor.takeOver(this.#up, this.#down, this.#first, this.#refusing);
      return;
    }
    const reset = !(this.#up.finished && this.#down.finished);
    client.end(reset);
    backend.end(reset);
    const end = this.#end;
    if (end !== undefined) this.onEnd({ end, received: client.received, sent: backend.received });
  }
}
