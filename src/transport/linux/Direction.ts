/**
 * One direction of a relay over epoll: what was read from its sender and is held back until its receiver takes it, and
 * whether it carries bulk, which goes through a pipe.
 */
import { copied } from "./Engine.js";
import { type Block, EINTR } from "./Libc.js";
import type { Holder, Pipe } from "./Pipes.js";
import type { Socket } from "./Socket.js";

/**
 * A direction is bulky after this many reads in succession of at least half a buffer, or after one of a full buffer.
 */
const bulkyAfter = 4;

/** It is small again after `smallAfter` bursts in succession below `smallBurst` bytes. */
const smallAfter = 4;
const smallBurst = 16 * 1024;

/** What one direction has come to: enough for another relay to go on with it. */
export interface DirectionState {
  /** Read and not yet written. */
  readonly rest: Block | undefined;
  /** Its sender has sent FIN, and all before it was read. */
  readonly ended: boolean;
  /** That FIN was passed on. */
  readonly finished: boolean;
  readonly bulky: boolean;
}

export class Direction implements DirectionState, Holder {
  rest: Block | undefined;
  /** Which part of `rest` was not written yet. */
  restAt = 0;
  restEnd = 0;
  pipe: Pipe | undefined;
  ended = false;
  finished = false;
  bulky = false;
  /** Bytes since there was last nothing to read. */
  burst = 0;
  /** Big reads, or small bursts while bulky, one after another. */
  #streak = 0;

  constructor(
    readonly from: Socket,
    readonly to: Socket,
  ) {}

  /** Goes on with what another relay has begun. */
  adopt({ bulky, ended, finished, rest }: DirectionState): void {
    this.bulky = bulky;
    this.ended = ended;
    this.finished = finished;
    this.rest = rest;
    this.restEnd = rest?.bytes.length ?? 0;
  }

  /** Whether something of it was read and not written: then its receiver was full. */
  get waits(): boolean {
    return this.rest !== undefined || (this.pipe !== undefined && this.pipe.filled > 0);
  }

  /** Keeps the first `length` bytes for later. Nothing is kept yet. */
  hold(rest: Block, length: number): void {
    this.rest = rest;
    this.restAt = 0;
    this.restEnd = length;
  }

  giveBack(): boolean {
    const { from, pipe } = this;
    // What was read into the pipe is hardly ever more than this: see `most`.
    if (pipe === undefined || pipe.filled > copied) return false;
    const { libc } = from.engine;
    const rest = libc.allocate(pipe.filled);
    let length = 0;
    while (pipe.filled > 0) {
      const read = libc.readPipe(pipe.output, rest, length, pipe.filled);
      if (read === -EINTR) continue;
      if (read <= 0) break;
      length += read;
      pipe.filled -= read;
    }
    if (length > 0) this.hold(rest, length);
    if (pipe.filled > 0) return false;
    this.letGo();
    return true;
  }

  /**
   * How much to read into the pipe at once. Limit it to the receiver's free buffer (at least 64 KiB), so that a stalled
   * reader pins little pipe data.
   */
  most(pipe: Pipe): number {
    if (pipe.size <= copied) return pipe.size;
    const room = this.to.engine.libc.sendRoom(this.to.fd);
    return Math.min(pipe.size, Math.max(copied, room));
  }

  /** Counts one read of `received` bytes. Returns whether it made the direction bulky. */
  weigh(received: number): boolean {
    if (this.bulky) return false;
    if (received === copied) this.#streak = bulkyAfter;
    else if (received >= copied / 2) this.#streak += 1;
    else this.#streak = 0;
    if (this.#streak < bulkyAfter) return false;
    this.bulky = true;
    this.#streak = 0;
    return true;
  }

  /** There is nothing to read now, and nothing is held back. */
  quiet(): void {
    if (this.bulky && this.burst > 0) {
      this.#streak = this.burst < smallBurst ? this.#streak + 1 : 0;
      if (this.#streak === smallAfter) {
        this.bulky = false;
        this.#streak = 0;
      }
    }
    this.burst = 0;
    this.letGo();
  }

  /** Returns its pipe to the pool. */
  letGo(): void {
    const { pipe } = this;
    if (pipe === undefined) return;
    this.pipe = undefined;
    this.from.engine.pipes.release(pipe);
  }
}
