/**
 * A ring of io_uring in a model, on the sockets of the simulated kernel: operations are begun when the ring is turned,
 * in the order in which they were queued, and come to their end when a seed says so.
 */
import type { Destination } from "../../../../src/transport/linux/Connecting.js";
import {
  EAGAIN,
  EBADF,
  ECANCELED,
  EINPROGRESS,
  EINTR,
  ENOBUFS,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  type Result,
} from "../../../../src/transport/linux/Libc.js";
import { type Completing, noBuffer, noSlot, type Ring } from "../../../../src/transport/linux/Ring.js";
import { type Kernel, Violation } from "./Kernel.js";
import type { Random } from "./Random.js";

/** An operation between its beginning and its end. */
interface Operation {
  readonly completing: Completing;
  readonly operation: number;
  readonly fd: number;
  /** Tries it; undefined while it has to wait. */
  readonly attempt: () => { readonly result: Result; readonly buffer: number } | undefined;
  /** It waits before it is tried for the first time. */
  readonly patient: boolean;
}

interface Cancellation {
  readonly completing: Completing;
  readonly operation: number;
}

interface Completion {
  readonly completing: Completing;
  readonly operation: number;
  readonly fd: number;
  readonly result: Result;
  readonly buffer: number;
}

/** Turns at shutdown until all is over. */
const lastTurns = 1_000;

export class SimulatedRing implements Ring {
  readonly bufferSize: number;
  readonly #buffers: ReadonlyArray<Uint8Array>;
  readonly #free: Array<number>;
  readonly #enlisted = new Set<Completing>();
  readonly #queue: Array<Operation | Cancellation> = [];
  readonly #waiting: Array<Operation> = [];
  readonly #completions: Array<Completion> = [];
  #slots = 0;
  #due = false;
  #closed = false;

  constructor(
    readonly kernel: Kernel,
    readonly random: Random,
    readonly fault: (culprit: Completing, fault: unknown) => void,
  ) {
    this.bufferSize = random.pick([random.between(1, 2_000), 4_096, 32_768]);
    this.#buffers = Array.from({ length: random.between(1, 6) }, () => new Uint8Array(this.bufferSize));
    this.#free = [...this.#buffers.keys()];
    kernel.besides = {
      busy: () => this.#busy(),
      turn: () => this.#turn(),
      closing: (fd) => {
        for (const each of this.#underWay()) {
          if (each.fd === fd) throw new Violation(`descriptor ${fd} was closed with an operation under way`);
        }
      },
    };
  }

  enlist(completing: Completing): Result {
    if (this.#closed) return -EBADF;
    if (this.#enlisted.has(completing)) throw new Violation("enlisted twice");
    this.#enlisted.add(completing);
    this.#slots += 1;
    completing.slot = this.#slots;
    return 0;
  }

  dismiss(completing: Completing): void {
    if (completing.slot === noSlot) return;
    completing.slot = noSlot;
    this.#enlisted.delete(completing);
    for (const each of this.#underWay()) {
      if (each.completing === completing) throw new Violation("dismissed with an operation under way");
    }
  }

  connect(completing: Completing, operation: number, fd: number, { address, length }: Destination): void {
    let begun = false;
    const own = this.kernel.libc.allocate(length);
    own.bytes.set(address.bytes.subarray(0, length));
    const attempt = () => {
      if (!begun) {
        begun = true;
        const result = this.kernel.libc.connect(fd, own, length);
        if (result === 0) return { result, buffer: noBuffer };
        if (result !== -EINPROGRESS && result !== -EINTR) return { result, buffer: noBuffer };
      }
      if ((this.kernel.poll(fd) & (EPOLLOUT | EPOLLERR)) === 0) return undefined;
      return { result: -this.kernel.libc.takeError(fd), buffer: noBuffer };
    };
    this.#begin({ completing, operation, fd, attempt, patient: false });
  }

  receive(completing: Completing, operation: number, fd: number, now: boolean): void {
    const attempt = () => {
      const [buffer] = this.#free;
      if (buffer === undefined) return { result: -ENOBUFS, buffer: noBuffer };
      const bytes = this.#bufferOf(buffer);
      const result = this.kernel.libc.read(fd, { bytes, address: 0 }, 0, this.bufferSize);
      if (result === -EAGAIN) return undefined;
      // Some kernels hand out a buffer with nothing in it.
      if (result <= 0 && this.random.oneIn(2)) return { result, buffer: noBuffer };
      this.#free.shift();
      return { result, buffer };
    };
    this.#begin({ completing, operation, fd, attempt, patient: !now });
  }

  send(completing: Completing, operation: number, fd: number, buffer: number, length: number): void {
    const attempt = () => ({
      result: this.kernel.libc.write(fd, { bytes: this.bytes(buffer, length), address: 0 }, 0, length),
      buffer: noBuffer,
    });
    this.#begin({ completing, operation, fd, attempt, patient: false });
  }

  cancel(completing: Completing, operation: number): void {
    this.#queue.push({ completing, operation });
    this.#wake();
  }

  bytes(buffer: number, length: number): Uint8Array {
    if (this.#free.includes(buffer)) throw new Violation(`buffer ${buffer} was used after it was given back`);
    return this.#bufferOf(buffer).subarray(0, length);
  }

  recycle(buffer: number): void {
    this.bytes(buffer, 0).fill(0xee);
    this.#bufferOf(buffer).fill(0xee);
    this.#free.push(buffer);
  }

  shutdown(): void {
    this.#closed = true;
    for (let i = 0; i < lastTurns && this.#underWay().length > 0; i++) this.#turn();
  }

  /** Nothing is left behind. */
  get clean(): boolean {
    return (
      this.#underWay().length === 0 && this.#enlisted.size === 0 && this.#free.length === this.#buffers.length
    );
  }

  #bufferOf(buffer: number): Uint8Array {
    const found = this.#buffers[buffer];
    if (found === undefined) throw new Violation(`there is no buffer ${buffer}`);
    return found;
  }

  #underWay(): ReadonlyArray<{
    readonly completing: Completing;
    readonly operation: number;
    readonly fd: number;
  }> {
    return [
      ...this.#queue.flatMap((each) => ("fd" in each ? [each] : [])),
      ...this.#waiting,
      ...this.#completions,
    ];
  }

  #begin(operation: Operation): void {
    if (operation.completing.slot === noSlot) throw new Violation("an operation of one that is not enlisted");
    for (const each of this.#underWay()) {
      if (each.completing === operation.completing && each.operation === operation.operation) {
        throw new Violation(`operation ${operation.operation} was begun twice`);
      }
    }
    this.#queue.push(operation);
    this.#wake();
  }

  #wake(): void {
    if (this.#due || this.#closed) return;
    this.#due = true;
    this.kernel.hostLoop.soon(() => {
      this.#due = false;
      this.#turn();
    });
  }

  #ready({ fd }: Operation): boolean {
    return (this.kernel.poll(fd) & (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP)) !== 0;
  }

  #busy(): boolean {
    return this.#completions.length > 0 || this.#waiting.some((operation) => this.#ready(operation));
  }

  #turn(): void {
    for (let round = this.random.between(1, 3); round > 0; round--) {
      for (const each of this.#queue.splice(0)) {
        if ("fd" in each) {
          if (each.patient) this.#waiting.push(each);
          else this.#try(each);
        } else this.#cancelled(each);
      }
      for (const each of this.#waiting.splice(0)) {
        if (this.#ready(each) && !this.random.oneIn(4)) this.#try(each);
        else this.#waiting.push(each);
      }
      for (let count = this.random.between(0, this.#completions.length); count > 0; count--) this.#complete();
    }
  }

  #try(operation: Operation): void {
    const end = operation.attempt();
    if (end === undefined) this.#waiting.push(operation);
    else this.#completions.push({ ...operation, ...end });
  }

  #cancelled({ completing, operation }: Cancellation): void {
    const at = this.#waiting.findIndex(
      (each) => each.completing === completing && each.operation === operation,
    );
    // One that has come to its end meanwhile is not found.
    const [found] = at < 0 ? [] : this.#waiting.splice(at, 1);
    if (found !== undefined) {
      this.#completions.push({ ...found, result: -ECANCELED, buffer: noBuffer });
    }
  }

  #complete(): void {
    const completion = this.#completions.shift();
    if (completion === undefined) return;
    const { buffer, completing, operation, result } = completion;
    try {
      completing.onCompletion(operation, result, buffer, this.random.oneIn(2));
    } catch (fault) {
      this.fault(completing, fault);
    }
  }
}
