/**
 * A ring of io_uring over memory that it shares with the kernel: an event counter becomes readable when operations have
 * come to their end, and a turn submits and collects until there is nothing left to do, or for a millisecond.
 */
import { MSG_DONTWAIT, MSG_NOSIGNAL } from "../../libc/Library.js";
import type { Destination } from "./Connecting.js";
import type { Engine } from "./Engine.js";
import type { Watch } from "./HostLoop.js";
import { addressSize, type Block, EAGAIN, EBADF, EBUSY, EINTR, errnoName, type Result } from "./Libc.js";
import * as ReceiveBuffers from "./ReceiveBuffers.js";
import { type Completing, noBuffer, noSlot, type Ring } from "./Ring.js";
import type { Source } from "./TurnScheduler.js";
import {
  completionWords,
  cqe,
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUFFER,
  IORING_CQE_F_SOCK_NONEMPTY,
  IORING_FEAT_NODROP,
  IORING_FEAT_SINGLE_MMAP,
  IORING_FEAT_SUBMIT_STABLE,
  IORING_OFF_SQ_RING,
  IORING_OFF_SQES,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_CONNECT,
  IORING_OP_RECV,
  IORING_OP_SEND,
  IORING_RECVSEND_POLL_FIRST,
  IORING_REGISTER_EVENTFD,
  IORING_SETUP_CQSIZE,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SUBMIT_ALL,
  IORING_SETUP_TASKRUN_FLAG,
  IORING_SQ_CQ_OVERFLOW,
  IORING_SQ_TASKRUN,
  IOSQE_BUFFER_SELECT,
  params,
  sqe,
  submissionWords,
  type Uring,
  words,
} from "./Uring.js";

/** How big a ring is. */
export interface RingSize {
  /** Operations that may be queued before they are submitted. */
  readonly entries: number;
  /** Buffers to receive into: a power of two of them. */
  readonly buffers: number;
}

/** For a ring that is the only one of its process. */
export const largeRing: RingSize = { entries: 4096, buffers: 256 };

/** For one of several: a quarter of the memory that is locked, and of the memory for buffers. */
export const smallRing: RingSize = { entries: 1024, buffers: 64 };

/** The completion queue has this many times the entries of the submission queue; beyond that the kernel buffers. */
const completionsPerEntry = 4;

/** Completions taken before the kernel is entered again: what they begin fits in the queue. */
const completionsPerRound = 1024;

/** How many completions are handled between two readings of the clock. */
const completionsPerReading = 64;

/** Bytes of all buffers of a ring. */
export const bufferBytes = ({ buffers }: RingSize): number => buffers * ReceiveBuffers.size;

/** After a failure of the ring itself, in milliseconds. */
const pauseMillis = 10;

/** Rounds at shutdown until everything has come to its end; each ends all that it finds. */
const lastRounds = 1_000;

const setupFlags =
  IORING_SETUP_CQSIZE |
  IORING_SETUP_SUBMIT_ALL |
  IORING_SETUP_TASKRUN_FLAG |
  IORING_SETUP_SINGLE_ISSUER |
  IORING_SETUP_DEFER_TASKRUN;

const features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;

/** In place of a slot: the completion is ignored. */
const nobody = 0xffff_ffff;

/** Why there is no ring, in the words of the system call that refused. */
export class RingError extends Error {
  override readonly name = "RingError";
}

const expect = (what: string, result: Result): Result => {
  if (result < 0) throw new RingError(`${what} failed (${errnoName(result)})`);
  return result;
};

export class KernelRing implements Ring, Source {
  /** The scheduler's. */
  pending = false;
  readonly bufferSize = ReceiveBuffers.size;
  readonly #fd: number;
  readonly #counter: number;
  readonly #watch: Watch;
  readonly #rings: Block;
  readonly #entries: Block;
  /** Both rings, in words, and where in them is what. */
  readonly #ring: Uint32Array;
  readonly #submissionTail: number;
  readonly #submissionMask: number;
  readonly #submissionFlags: number;
  readonly #completionHead: number;
  readonly #completionTail: number;
  readonly #completionMask: number;
  readonly #completionsAt: number;
  readonly #sqes: Uint32Array;
  /** Of each place of the queue, the address that it connects to: the kernel reads it when it is submitted. */
  readonly #addresses: Block;
  readonly #buffers: ReceiveBuffers.ReceiveBuffers;
  readonly #enlisted: Array<Completing | undefined> = [];
  readonly #vacant: Array<number> = [];
  #tail: number;
  /** Queued and not submitted. */
  #queued = 0;
  /** Begun and not completed. */
  #underWay = 0;
  #polling = false;
  #paused = false;
  /** Rounds and completions since the last look at the clock. */
  #handled = 0;
  #closed = false;

  /** Throws a {@link RingError} where the kernel does not allow it, or is too old. */
  constructor(
    readonly uring: Uring,
    readonly engine: Engine,
    { buffers: bufferCount, entries }: RingSize = largeRing,
    /**
     * Has the callback called for as long as the descriptor is readable; by the engine's loop unless said otherwise.
     */
    watch: (fd: number, onReadable: () => void) => Watch = engine.hostLoop.watch,
  ) {
    const { libc } = engine;
    const block = uring.allocatePages(params.size);
    const asked = words(block);
    asked[params.completionEntries >> 2] = completionsPerEntry * entries;
    asked[params.flags >> 2] = setupFlags;
    const param = (at: number): number => asked[at >> 2] ?? 0;
    const opened: Array<() => void> = [];
    try {
      const fd = expect("io_uring_setup", uring.setup(entries, block));
      this.#fd = fd;
      opened.push(() => libc.close(fd));
      if ((param(params.features) & features) !== features) {
        throw new RingError("this kernel's io_uring lacks what is needed");
      }
      const map = (what: string, size: number, offset: number): Block => {
        const mapped = uring.map(fd, size, offset);
        if (mapped === undefined) throw new RingError(`${what} cannot be mapped`);
        opened.push(() => uring.unmap(mapped));
        return mapped;
      };
      const { submission, completion } = params;
      const submissionEntries = param(params.submissionEntries);
      this.#rings = map(
        "the rings of io_uring",
        Math.max(
          param(submission.array) + 4 * submissionEntries,
          param(completion.entriesAt) + 4 * completionWords * param(params.completionEntries),
        ),
        IORING_OFF_SQ_RING,
      );
      this.#entries = map("the queue of io_uring", 4 * submissionWords * submissionEntries, IORING_OFF_SQES);
      this.#ring = words(this.#rings);
      this.#sqes = words(this.#entries);
      this.#addresses = libc.allocate(addressSize * submissionEntries);
      this.#submissionTail = param(submission.tail) >> 2;
      this.#submissionFlags = param(submission.flags) >> 2;
      this.#submissionMask = this.#ring[param(submission.mask) >> 2] ?? 0;
      this.#completionHead = param(completion.head) >> 2;
      this.#completionTail = param(completion.tail) >> 2;
      this.#completionMask = this.#ring[param(completion.mask) >> 2] ?? 0;
      this.#completionsAt = param(completion.entriesAt) >> 2;
      // Each place of the ring stands for the entry of the same number.
      const array = param(submission.array) >> 2;
      for (let i = 0; i < submissionEntries; i++) this.#ring[array + i] = i;
      this.#tail = this.#ring[this.#submissionTail] ?? 0;

      this.#buffers = new ReceiveBuffers.ReceiveBuffers(uring, bufferCount);
      expect("registering buffers with io_uring", this.#buffers.register(fd));

      const counter = expect("eventfd", uring.eventCounter());
      this.#counter = counter;
      opened.push(() => libc.close(counter));
      const descriptor = uring.allocatePages(4);
      words(descriptor)[0] = counter;
      expect(
        "registering an event counter with io_uring",
        uring.register(fd, IORING_REGISTER_EVENTFD, descriptor.address, 1),
      );
      this.#watch = watch(counter, () => {
        uring.clearCounter(counter);
        engine.scheduler.wake(this);
      });
      engine.scheduler.register(this);
    } catch (cause) {
      for (const undo of opened.reverse()) undo();
      throw cause;
    }
  }

  enlist(completing: Completing): Result {
    if (this.#closed) return -EBADF;
    completing.slot = this.#vacant.pop() ?? this.#enlisted.length;
    this.#enlisted[completing.slot] = completing;
    return 0;
  }

  dismiss(completing: Completing): void {
    const { slot } = completing;
    if (slot === noSlot) return;
    this.#enlisted[slot] = undefined;
    this.#vacant.push(slot);
    completing.slot = noSlot;
  }

  connect(completing: Completing, operation: number, fd: number, { address, length }: Destination): void {
    const at = this.#begin(IORING_OP_CONNECT, fd, 0, 0, completing.slot, operation);
    const { address: addresses, bytes } = this.#addresses;
    const own = (at / submissionWords) * addressSize;
    for (let i = 0; i < length; i++) bytes[own + i] = address.bytes[i] ?? 0;
    this.#sqes[at + sqe.address] = (addresses + own) >>> 0;
    this.#sqes[at + sqe.address + 1] = (addresses + own) / 2 ** 32;
    this.#sqes[at + sqe.offset] = length;
  }

  receive(completing: Completing, operation: number, fd: number, now: boolean): void {
    const head = IORING_OP_RECV | (IOSQE_BUFFER_SELECT << 8) | (now ? 0 : IORING_RECVSEND_POLL_FIRST << 16);
    const at = this.#begin(head, fd, 0, 0, completing.slot, operation);
    this.#sqes[at + sqe.bufferGroup] = ReceiveBuffers.group;
  }

  send(completing: Completing, operation: number, fd: number, buffer: number, length: number): void {
    const at = this.#begin(IORING_OP_SEND, fd, 0, length, completing.slot, operation);
    this.#buffers.writeAddress(buffer, this.#sqes, at + sqe.address);
    this.#sqes[at + sqe.operationFlags] = MSG_DONTWAIT | MSG_NOSIGNAL;
  }

  cancel({ slot }: Completing, operation: number): void {
    const at = this.#begin(IORING_OP_ASYNC_CANCEL, -1, 0, 0, nobody, 0);
    // What is cancelled is named by its user data, in the place of an address.
    this.#sqes[at + sqe.address] = slot;
    this.#sqes[at + sqe.address + 1] = operation;
  }

  bytes(buffer: number, length: number): Uint8Array {
    return this.#buffers.bytes(buffer, length);
  }

  recycle(buffer: number): void {
    this.#buffers.recycle(buffer);
  }

  shutdown(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (let i = 0; i < lastRounds && this.#underWay > 0; i++) {
      this.#enter();
      this.#collect();
    }
    this.#watch.close();
    this.engine.libc.close(this.#counter);
    this.engine.libc.close(this.#fd);
    this.uring.unmap(this.#entries);
    this.uring.unmap(this.#rings);
  }

  /** Queues an operation; returns the index of its entry, for the fields that not every operation has. */
  #begin(head: number, fd: number, address: number, length: number, slot: number, operation: number): number {
    if (this.#queued > this.#submissionMask) {
      this.#enter();
      if (this.#queued > this.#submissionMask) throw new RingError("the queue of io_uring is full");
    }
    const at = (this.#tail & this.#submissionMask) * submissionWords;
    this.#tail = (this.#tail + 1) >>> 0;
    this.#queued += 1;
    this.#underWay += 1;
    const entry = this.#sqes;
    for (let i = 0; i < submissionWords; i++) entry[at + i] = 0;
    entry[at + sqe.head] = head;
    entry[at + sqe.fd] = fd;
    entry[at + sqe.address] = address >>> 0;
    entry[at + sqe.address + 1] = address / 2 ** 32;
    entry[at + sqe.length] = length;
    entry[at + sqe.userData] = slot;
    entry[at + sqe.userData + 1] = operation;
    if (!this.#polling) this.engine.scheduler.request(this);
    return at;
  }

  /** Submits what is queued, and has the kernel do what is due. Returns whether the ring works. */
  #enter(): boolean {
    Atomics.store(this.#ring, this.#submissionTail, this.#tail);
    const result = this.uring.enter(this.#fd, this.#queued);
    if (result >= 0) {
      this.#queued -= result;
      return true;
    }
    return result === -EINTR || result === -EAGAIN || result === -EBUSY;
  }

  poll(): boolean {
    if (this.#closed || this.#paused) return false;
    this.#polling = true;
    const more = this.#poll();
    this.#polling = false;
    return more;
  }

  #poll(): boolean {
    while (this.#busy) {
      if (!this.#enter()) {
        this.#pause();
        return false;
      }
      this.#collect();
      this.#handled += 1;
      if (this.#spent()) return this.#busy;
    }
    return false;
  }

  /** Whether the turn's time is over; the clock is looked at after so many rounds and completions. */
  #spent(): boolean {
    if (this.#handled < completionsPerReading) return false;
    this.#handled = 0;
    return this.engine.scheduler.spent();
  }

  /** Operations are to be submitted, the kernel has something to do for some, or some have come to their end. */
  get #busy(): boolean {
    const ring = this.#ring;
    return (
      this.#queued > 0 ||
      (Atomics.load(ring, this.#submissionFlags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !== 0 ||
      Atomics.load(ring, this.#completionTail) !== ring[this.#completionHead]
    );
  }

  /** The ring itself has failed: it is tried again after a while. */
  #pause(): void {
    this.#paused = true;
    this.engine.hostLoop.after(pauseMillis, () => {
      this.#paused = false;
      if (!this.#closed) this.engine.scheduler.request(this);
    });
  }

  /** Hands out what has come to its end. */
  #collect(): void {
    const ring = this.#ring;
    const tail = Atomics.load(ring, this.#completionTail);
    let head = ring[this.#completionHead] ?? 0;
    let count = 0;
    for (; head !== tail && count < completionsPerRound; count++) {
      if (!this.#closed && this.#spent()) break;
      this.#handled += 1;
      const at = this.#completionsAt + (head & this.#completionMask) * completionWords;
      // Inside the ring, by its mask.
      const slot = ring[at + cqe.userData] as number;
      const operation = ring[at + cqe.userData + 1] as number;
      const result = (ring[at + cqe.result] as number) | 0;
      const flags = ring[at + cqe.flags] as number;
      head = (head + 1) >>> 0;
      this.#underWay -= 1;
      if (slot === nobody) continue;
      const buffer = (flags & IORING_CQE_F_BUFFER) === 0 ? noBuffer : flags >>> IORING_CQE_BUFFER_SHIFT;
      const completing = this.#enlisted[slot];
      if (completing === undefined) continue;
      try {
        completing.onCompletion(operation, result, buffer, (flags & IORING_CQE_F_SOCK_NONEMPTY) !== 0);
      } catch (fault) {
        this.engine.faults.caught(completing, fault);
      }
    }
    Atomics.store(ring, this.#completionHead, head);
  }
}
