/**
 * Two sockets and the bytes between them.
 *
 * Small traffic is read into the engine's one buffer and written from there; what the other side does not take at
 * once is kept aside, at most one buffer per direction. A direction that turns bulky goes through a pipe, so that
 * its bytes never leave the kernel. Nothing is read while something waits to be written: a slow reader slows its
 * sender.
 */
import type { Meter } from "../../net/Meter.js";
import type { RelayEnd, RelayOutcome } from "../Transport.js";
import { copied, type Engine, readable, type Unfinished } from "./Engine.js";
import { type Block, EAGAIN, EINTR, type Result } from "./Libc.js";
import type { Pipe } from "./Pipes.js";
import type { Owner, Socket } from "./Socket.js";

/** What one direction may move before others have their turn, in bytes. */
const bytesPerTurn = 2 * 1024 * 1024;

/** So many reads of at least half a buffer, one after another, make a direction bulky; so does one of a whole one. */
const bulkyAfter = 4;

/** So many bursts below this many bytes, one after another, make it small again. */
const smallAfter = 4;
const smallBurst = 16 * 1024;

/** One direction. */
class Flow {
  /** Read and not yet written. */
  rest: Block | undefined;
  restAt = 0;
  restEnd = 0;
  pipe: Pipe | undefined;
  /** Its sender has sent FIN, and all before it was read. */
  ended = false;
  /** That FIN was passed on. */
  finished = false;
  bulky = false;
  /** Big reads, or small bursts while bulky, one after another. */
  streak = 0;
  /** Bytes since there was last nothing to read. */
  burst = 0;
  /** Bytes read. */
  count = 0;

  constructor(
    readonly from: Socket,
    readonly to: Socket,
  ) {}
}

const adopt = (flow: Flow, { bulky, count, ended, finished, rest }: Progress): void => {
  flow.bulky = bulky;
  flow.count = count;
  flow.ended = ended;
  flow.finished = finished;
  flow.rest = rest;
  flow.restEnd = rest?.bytes.length ?? 0;
};

/** What one direction has come to, when another kind of relay has moved its bytes so far. */
export interface Progress {
  /** Bytes read. */
  readonly count: number;
  /** Of those, what was not written yet. */
  readonly rest: Block | undefined;
  /** Its sender has sent FIN, and all before it was read. */
  readonly ended: boolean;
  /** That FIN was passed on. */
  readonly finished: boolean;
  readonly bulky: boolean;
}

export class Relay implements Owner, Unfinished {
  readonly #engine: Engine;
  readonly #up: Flow;
  readonly #down: Flow;
  #over = false;
  #breaking = false;
  #queued = false;
  #first: RelayEnd | undefined;

  constructor(
    readonly client: Socket,
    readonly backend: Socket,
    readonly meter: Meter,
    /** Told once, when both descriptors are closed; not after {@link abort}. */
    readonly onEnd: (outcome: RelayOutcome) => void,
  ) {
    this.#engine = client.engine;
    this.#up = new Flow(client, backend);
    this.#down = new Flow(backend, client);
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
    this.#pump(this.#up);
    if (!this.#over && client.watch(readable) < 0) this.#end("client-reset", true);
    if (!this.#over && backend.watch(readable) < 0) this.#end("backend-reset", true);
    if (!this.#over && backend.readable) this.#pump(this.#down);
  }

  /**
   * {@link start}, in the midst of it. `first` is the side that sent FIN first, if one has; `broken` is one that could
   * not be written to: what reads were told of its end since is not to be believed.
   */
  takeOver(up: Progress, down: Progress, first: RelayEnd | undefined, broken: Socket | undefined): void {
    adopt(this.#up, up);
    adopt(this.#down, down);
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
    // Room first: it lets go of what is held back.
    if (socket.writable) this.#pump(isClient ? this.#down : this.#up);
    if (socket.readable && !this.#over) this.#pump(isClient ? this.#up : this.#down);
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

  /** Resets both sides. */
  abort(): void {
    this.#tearDown(true);
  }

  /** Moves what can be moved one way, until either side has enough or the turn is over. */
  #pump(flow: Flow): void {
    const { libc, pipes } = this.#engine;
    const { from, to } = flow;
    const limit = flow.count + bytesPerTurn;
    for (;;) {
      if (flow.rest !== undefined) {
        if (!to.writable) return;
        const written = libc.write(to.fd, flow.rest, flow.restAt, flow.restEnd - flow.restAt);
        if (written < 0) {
          if (written === -EINTR) continue;
          this.#refused(to, written);
          return;
        }
        flow.restAt += written;
        // It is not taken for full before it says EAGAIN: an event comes only to one that was told that.
        if (flow.restAt < flow.restEnd) continue;
        flow.rest = undefined;
      } else if (flow.pipe !== undefined && flow.pipe.filled > 0) {
        if (!to.writable) return;
        const { pipe } = flow;
        const written = libc.splice(pipe.output, to.fd, pipe.filled);
        if (written > 0) pipe.filled -= written;
        else if (written !== -EINTR) {
          this.#refused(to, written);
          return;
        }
        continue;
      }
      if (flow.ended) {
        // After a write was told of a reset a read is told of an end, which is none.
        if (!this.#breaking) this.#finish(flow);
        return;
      }
      if (!from.readable) {
        this.#quiet(flow);
        return;
      }
      if (flow.count >= limit) {
        this.#goOn();
        return;
      }
      if (flow.bulky) flow.pipe ??= pipes.acquire();
      const { pipe } = flow;
      // The pipe is empty, so that EAGAIN can only mean the socket.
      const spliced = pipe === undefined ? 0 : libc.splice(from.fd, pipe.input, pipe.size);
      // Urgent data stops splice as if there were nothing, and with FIN behind it as if that were all: a read tells,
      // and gets past it.
      const copying = spliced === 0 || (spliced === -EAGAIN && from.greedy);
      const received = copying ? libc.read(from.fd, this.#engine.buffer, 0, copied) : spliced;
      if (received > 0) {
        flow.count += received;
        flow.burst += received;
        if (flow === this.#up) this.meter.received += received;
        else this.meter.sent += received;
        if (pipe !== undefined && !copying) {
          pipe.filled = received;
        } else {
          // Less than was asked for is all there was, and what comes next brings an event of its own.
          if (received < copied && !from.greedy) from.readable = false;
          this.#weigh(flow, received);
          this.#pass(flow, received);
          if (this.#over) return;
        }
      } else if (received === 0) {
        flow.ended = true;
        from.readable = false;
        this.#first ??= flow === this.#up ? "client-closed" : "backend-closed";
      } else if (received === -EAGAIN) {
        from.readable = false;
      } else if (received !== -EINTR) {
        this.#broken(from);
        return;
      }
    }
  }

  /** Writes what was just read into the buffer, and keeps aside what is not taken. */
  #pass(flow: Flow, length: number): void {
    const { libc, buffer } = this.#engine;
    const written = libc.write(flow.to.fd, buffer, 0, length);
    if (written === length) return;
    if (written < 0 && written !== -EAGAIN && written !== -EINTR) {
      this.#broken(flow.to);
      return;
    }
    const from = Math.max(written, 0);
    const rest = libc.allocate(length - from);
    rest.bytes.set(buffer.bytes.subarray(from, length));
    flow.rest = rest;
    flow.restAt = 0;
    flow.restEnd = length - from;
  }

  #weigh(flow: Flow, received: number): void {
    if (flow.bulky) return;
    if (received === copied) flow.streak = bulkyAfter;
    else if (received >= copied / 2) flow.streak += 1;
    else flow.streak = 0;
    if (flow.streak < bulkyAfter) return;
    flow.bulky = true;
    flow.streak = 0;
  }

  /** Nothing to read now, and nothing held back. */
  #quiet(flow: Flow): void {
    if (flow.bulky && flow.burst > 0) {
      flow.streak = flow.burst < smallBurst ? flow.streak + 1 : 0;
      if (flow.streak === smallAfter) {
        flow.bulky = false;
        flow.streak = 0;
      }
    }
    flow.burst = 0;
    this.#letGo(flow);
  }

  #letGo(flow: Flow): void {
    const { pipe } = flow;
    if (pipe === undefined) return;
    flow.pipe = undefined;
    this.#engine.pipes.release(pipe);
  }

  /** A write to this side failed. */
  #refused(socket: Socket, result: Result): void {
    if (result === -EAGAIN) this.#blocked(socket);
    else this.#broken(socket);
  }

  #blocked(socket: Socket): void {
    if (socket.blocked() < 0) this.#broken(socket);
  }

  #goOn(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.#engine.later(this);
  }

  /** All was delivered that came before FIN: now FIN itself. */
  #finish(flow: Flow): void {
    if (flow.finished) return;
    flow.finished = true;
    this.#letGo(flow);
    if (this.#up.finished && this.#down.finished) {
      // Closing sends the second one.
      this.#end(this.#first ?? "client-closed", false);
      return;
    }
    if (this.#engine.libc.shutdown(flow.to.fd) < 0) this.#broken(flow.to);
  }

  /** This side's connection is dead. What it had sent is still there to be read: pass on what is taken at once. */
  #broken(socket: Socket): void {
    if (this.#over) return;
    const isClient = socket === this.client;
    if (!this.#breaking) {
      this.#breaking = true;
      const flow = isClient ? this.#up : this.#down;
      socket.readable = true;
      socket.greedy = true;
      if (!flow.ended) this.#pump(flow);
    }
    this.#end(isClient ? "client-reset" : "backend-reset", true);
  }

  #end(end: RelayEnd, reset: boolean): void {
    if (this.#over) return;
    this.#tearDown(reset);
    this.onEnd({ end, received: this.#up.count, sent: this.#down.count });
  }

  #tearDown(reset: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.client.end(reset);
    this.backend.end(reset);
    this.#letGo(this.#up);
    this.#letGo(this.#down);
    this.#up.rest = undefined;
    this.#down.rest = undefined;
  }
}
