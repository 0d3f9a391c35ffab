/**
 * Two sockets and the bytes between them.
 *
 * Small traffic is relayed at once: read into the engine's one buffer and written from there. What the other side does
 * not accept at once is kept, at most one buffer for each direction. A bulky direction is spliced through a pipe, so
 * that its bytes never leave the kernel, and in slices, so that other relays have their turn. Nothing is read while
 * bytes wait to be written: a slow reader slows its sender.
 */
import type { ByteCounts } from "../../net/ByteCounts.js";
import type { RelayEnd, RelayOutcome } from "../Transport.js";
import { Direction, type DirectionState } from "./Direction.js";
import { copied, type Engine, readable } from "./Engine.js";
import { EAGAIN, EINTR, type Result } from "./Libc.js";
import type { Owner, Socket } from "./Socket.js";
import type { Task } from "./TurnScheduler.js";

/**
 * What one direction may read before other relays have their turn, in bytes. It may be exceeded by one pipe's bytes.
 */
const sliceBytes = 256 * 1024;

export class Relay implements Owner, Task {
  readonly #engine: Engine;
  readonly #up: Direction;
  readonly #down: Direction;
  #over = false;
  #breaking = false;
  #queued = false;
  #first: RelayEnd | undefined;

  constructor(
    readonly client: Socket,
    readonly backend: Socket,
    readonly counts: ByteCounts,
    /** Told once, when both descriptors are closed; not after {@link abort}. */
    readonly onEnd: (outcome: RelayOutcome) => void,
  ) {
    this.#engine = client.engine;
    this.#up = new Direction(client, backend);
    this.#down = new Direction(backend, client);
  }

  start(): void {
    const { client, backend } = this;
    client.owner = this;
    backend.owner = this;
    if (client.closed) {
      this.#end("client-reset", true);
      return;
    }
    if (backend.closed) {
      this.#end("backend-reset", true);
      return;
    }
    if (client.failed) {
      this.#broken(client);
      return;
    }
    if (backend.failed) {
      this.#broken(backend);
      return;
    }
    // A client has mostly sent its request by now: reading at once spares an event.
    if (!client.watched) client.readable = true;
    this.#advance(this.#up);
    if (!this.#over && client.watch(readable) < 0) this.#end("client-reset", true);
    if (!this.#over && backend.watch(readable) < 0) this.#end("backend-reset", true);
    if (!this.#over && backend.readable) this.#advance(this.#down);
  }

  /**
   * {@link start}, for a relay in progress. `first` is the side that sent FIN first, if one has; `broken` is a side to
   * which a write failed. Ignore an EOF read from it: after a failed write, EOF can hide a reset.
   */
  takeOver(
    up: DirectionState,
    down: DirectionState,
    first: RelayEnd | undefined,
    broken: Socket | undefined,
  ): void {
    this.#up.adopt(up);
    this.#down.adopt(down);
    this.#first = first;
    if (broken !== undefined) {
      this.client.owner = this;
      this.backend.owner = this;
      this.#broken(broken);
      return;
    }
    // What is held back for the client is not waited for by an event.
    this.backend.readable = true;
    this.start();
  }

  onReady(socket: Socket): void {
    if (this.#over) return;
    if (socket.failed) {
      this.#broken(socket);
      return;
    }
    const isClient = socket === this.client;
    const outgoing = isClient ? this.#down : this.#up;
    // Write first: that makes room for what is read then.
    if (socket.writable && outgoing.waits) this.#advance(outgoing);
    if (socket.readable && !this.#over) this.#advance(isClient ? this.#up : this.#down);
  }

  proceed(): void {
    this.#queued = false;
    if (!this.#over) this.#pump(this.#up);
    if (!this.#over) this.#pump(this.#down);
  }

  onLost(socket: Socket, _reset: boolean): void {
    this.#end(socket === this.client ? "client-reset" : "backend-reset", true);
  }

  onFault(): void {
    this.#end("client-reset", true);
  }

  unacknowledged(): number {
    return this.client.unacknowledged() + this.backend.unacknowledged();
  }

  idleMillis(): number {
    return Math.min(this.client.idleMillis(), this.backend.idleMillis());
  }

  /** Resets both sides. */
  abort(): void {
    this.#tearDown(true);
  }

  /** Small traffic at once, bulk when its turn comes. */
  #advance(direction: Direction): void {
    if (direction.bulky) this.#later();
    else this.#pump(direction);
  }

  /** Moves what can be moved, until either side has enough or a slice is done. */
  #pump(direction: Direction): void {
    const { libc, pipes } = this.#engine;
    const { from, to } = direction;
    let limit = from.received + sliceBytes;
    for (;;) {
      if (direction.rest !== undefined) {
        if (!to.writable) return;
        to.beforeWrite();
        const written = libc.write(
          to.fd,
          direction.rest,
          direction.restAt,
          direction.restEnd - direction.restAt,
        );
        if (written < 0) {
          if (written === -EINTR) continue;
          this.#refused(to, written);
          return;
        }
        direction.restAt += written;
        // Keep writing until EAGAIN: edge-triggered epoll reports room only after EAGAIN.
        if (direction.restAt < direction.restEnd) continue;
        direction.rest = undefined;
      } else if (direction.pipe !== undefined && direction.pipe.filled > 0) {
        if (!to.writable) return;
        const { pipe } = direction;
        to.beforeWrite();
        const written = libc.splice(pipe.output, to.fd, pipe.filled);
        if (written > 0) {
          pipe.filled -= written;
          pipe.waitingSince = undefined;
        } else if (written !== -EINTR) {
          pipes.wait(pipe);
          this.#refused(to, written);
          return;
        }
        continue;
      }
      if (direction.ended) {
        // After a write failed with a reset, read returns 0, but that is not a FIN.
        if (!this.#breaking) this.#finish(direction);
        return;
      }
      if (!from.readable) {
        direction.quiet();
        return;
      }
      if (from.received >= limit) {
        this.#later();
        return;
      }
      if (direction.bulky) direction.pipe ??= pipes.acquire(direction);
      const { pipe } = direction;
      // The pipe is empty, so that EAGAIN can only mean the socket.
      const spliced = pipe === undefined ? 0 : libc.splice(from.fd, pipe.input, direction.most(pipe));
      // On urgent data, splice returns EAGAIN, or 0 if FIN follows. A plain read skips it and shows which.
      const copying = spliced === 0 || (spliced === -EAGAIN && from.greedy);
      const received = copying ? libc.read(from.fd, this.#engine.buffer, 0, copied) : spliced;
      if (received > 0) {
        from.received += received;
        direction.burst += received;
        if (direction === this.#up) this.counts.received += received;
        else this.counts.sent += received;
        if (pipe !== undefined && !copying) {
          pipe.filled = received;
        } else {
          // Less than was asked for is all there was, and what comes next brings an event of its own.
          const short = received < copied;
          const last = short && from.ending;
          if (last || (short && !from.greedy)) from.readable = false;
          if (last) this.#ended(direction);
          if (direction.weigh(received)) limit = from.received;
          this.#pass(direction, received, last);
          if (this.#over) return;
        }
      } else if (received === 0) {
        from.readable = false;
        this.#ended(direction);
      } else if (received === -EAGAIN) {
        from.readable = false;
      } else if (received !== -EINTR) {
        this.#broken(from);
        return;
      }
    }
  }

  /** Its sender has sent FIN, and all before it was read. */
  #ended(direction: Direction): void {
    direction.ended = true;
    this.counts.halfClosed = true;
    this.#first ??= direction === this.#up ? "client-closed" : "backend-closed";
  }

  /** Writes what was just read into the buffer, and keeps aside what is not taken. After the last comes FIN at once. */
  #pass(direction: Direction, length: number, last: boolean): void {
    const { libc, buffer } = this.#engine;
    direction.to.beforeWrite();
    const written = libc.write(direction.to.fd, buffer, 0, length, last && !this.#breaking);
    if (written === length) return;
    if (written < 0 && written !== -EAGAIN && written !== -EINTR) {
      this.#broken(direction.to);
      return;
    }
    const from = Math.max(written, 0);
    const rest = libc.allocate(length - from);
    rest.bytes.set(buffer.bytes.subarray(from, length));
    direction.hold(rest, length - from);
  }

  /** A write to this side failed. */
  #refused(socket: Socket, result: Result): void {
    if (result === -EAGAIN) this.#blocked(socket);
    else this.#broken(socket);
  }

  #blocked(socket: Socket): void {
    if (socket.blocked() < 0) this.#broken(socket);
  }

  #later(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.#engine.scheduler.later(this);
  }

  /** All was delivered that came before FIN: now FIN itself. */
  #finish(direction: Direction): void {
    if (direction.finished) return;
    direction.finished = true;
    direction.letGo();
    if (this.#up.finished && this.#down.finished) {
      // Closing sends the second one.
      this.#end(this.#first ?? "client-closed", false);
      return;
    }
    if (this.#engine.libc.shutdown(direction.to.fd) < 0) this.#broken(direction.to);
  }

  /** This side's connection is dead. What it had sent is still there to be read: pass on what is taken at once. */
  #broken(socket: Socket): void {
    if (this.#over) return;
    const isClient = socket === this.client;
    if (!this.#breaking) {
      this.#breaking = true;
      const direction = isClient ? this.#up : this.#down;
      socket.readable = true;
      socket.greedy = true;
      if (!direction.ended) this.#pump(direction);
    }
    this.#end(isClient ? "client-reset" : "backend-reset", true);
  }

  #end(end: RelayEnd, reset: boolean): void {
    if (this.#over) return;
    this.#tearDown(reset);
    this.onEnd({ end, received: this.client.received, sent: this.backend.received });
  }

  #tearDown(reset: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.client.end(reset);
    this.backend.end(reset);
    this.#up.letGo();
    this.#down.letGo();
    this.#up.rest = undefined;
    this.#down.rest = undefined;
  }
}
