/**
 * The pipes that bytes go through from socket to socket inside the kernel.
 *
 * A direction has a pipe only while it moves bytes, and for as long as its reader leaves some of them in it; so a few
 * serve many. The bigger a pipe, the fewer calls per byte: 1 MiB takes three quarters of the CPU that 64 KiB takes. But
 * the kernel lets an unprivileged user have 64 MiB of them in all (fs.pipe-user-pages-soft), so the first ones are big,
 * later ones smaller, and when half of that is in use there are none: then one is taken from the relay that has
 * waited longest for its reader; if there is none, bytes are copied.
 */
import type { Block, Service } from "./Libc.js";

/** The most that all pipes of a process may hold, in bytes. */
export const pipeBytes = 32 * 1024 * 1024;

/** Sizes to try, in bytes; one pipe is given at most an eighth of what is left. */
const sizes = [1024 * 1024, 256 * 1024, 64 * 1024] as const;

/** Empty pipes kept open. */
const spares = 8;

/** A relay that waited this long for its reader gives its pipe back when another needs one, in milliseconds. */
const longWait = 1_000;

/** After a refusal, how many requests go without asking the kernel again. */
const patience = 256;

/** The user of a pipe. */
export interface Holder {
  /** Others need its pipe: it copies what is in there and releases it. False where that is too much to keep. */
  readonly giveBack: () => boolean;
}

export class Pipe {
  /** How many bytes are in it. */
  filled = 0;
  holder: Holder | undefined;
  /** Since when its reader has taken nothing; undefined while it does. */
  waitingSince: number | undefined;
  constructor(
    /** The descriptor that is read from. */
    readonly output: number,
    /** The descriptor that is written to. */
    readonly input: number,
    readonly size: number,
  ) {}
}

export class Pipes {
  readonly #libc: Service;
  readonly #now: () => number;
  readonly #ends: Block;
  readonly #held = new Set<Pipe>();
  readonly #free: Array<Pipe> = [];
  #inUse = 0;
  /** Requests to go before the kernel is asked again. */
  #refusals = 0;

  constructor(
    libc: Service,
    /** Monotonic time in milliseconds. */
    now: () => number,
    /** The most that these may hold, in bytes. */
    readonly budget = pipeBytes,
  ) {
    this.#libc = libc;
    this.#now = now;
    this.#ends = libc.allocate(8);
  }

  /** An empty pipe, or undefined when there is none to be had now. */
  acquire(holder: Holder): Pipe | undefined {
    const pipe = this.#free.pop() ?? this.#another();
    if (pipe === undefined) return undefined;
    pipe.holder = holder;
    this.#held.add(pipe);
    return pipe;
  }

  /** Its reader takes nothing. */
  wait(pipe: Pipe): void {
    pipe.waitingSince ??= this.#now();
  }

  /** Takes a pipe back. One that still holds bytes is closed: they must not reach another connection. */
  release(pipe: Pipe): void {
    this.#held.delete(pipe);
    pipe.holder = undefined;
    pipe.waitingSince = undefined;
    if (pipe.filled === 0 && this.#free.length < spares) this.#free.push(pipe);
    else this.#close(pipe);
  }

  /** Closes the pipes that are kept open for the next ones. */
  close(): void {
    for (const pipe of this.#free.splice(0)) this.#close(pipe);
  }

  #another(): Pipe | undefined {
    if (this.#refusals > 0) {
      this.#refusals -= 1;
      return undefined;
    }
    const pipe = this.#open() ?? (this.#takeBack() ? (this.#free.pop() ?? this.#open()) : undefined);
    if (pipe === undefined) this.#refusals = patience;
    return pipe;
  }

  /** Takes a pipe from the relay that has waited longest for its reader, if one has waited for {@link longWait}. */
  #takeBack(): boolean {
    const before = this.#now() - longWait;
    const waiting: Array<Pipe> = [];
    for (const pipe of this.#held) {
      if (pipe.waitingSince !== undefined && pipe.waitingSince <= before) waiting.push(pipe);
    }
    waiting.sort((one, other) => (one.waitingSince ?? 0) - (other.waitingSince ?? 0));
    return waiting.some(({ holder }) => holder?.giveBack() === true);
  }

  #open(): Pipe | undefined {
    const most = (this.budget - this.#inUse) / 8;
    const smallest = sizes[sizes.length - 1] ?? 0;
    if (most < smallest || this.#libc.pipe(this.#ends) < 0) return undefined;
    const ends = new DataView(this.#ends.bytes.buffer, this.#ends.bytes.byteOffset, 8);
    // `int`s of the machine; every machine that this runs on is little-endian.
    const output = ends.getInt32(0, true);
    const input = ends.getInt32(4, true);
    for (const size of sizes) {
      if (size > most) continue;
      const capacity = this.#libc.setPipeSize(input, size);
      if (capacity >= smallest) {
        this.#inUse += capacity;
        return new Pipe(output, input, capacity);
      }
    }
    // Beyond its limit a user is given pipes of a page or two, which are worse than none.
    this.#libc.close(output);
    this.#libc.close(input);
    return undefined;
  }

  #close(pipe: Pipe): void {
    this.#inUse -= pipe.size;
    this.#libc.close(pipe.output);
    this.#libc.close(pipe.input);
  }
}
