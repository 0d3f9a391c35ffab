/**
 * Per open connection: bytes received, bytes sent, half-closed flag. A slot of three numbers in typed arrays, which the
 * transport writes while it relays and others read at any time. Nothing is summed up per chunk.
 *
 * There are as many slots as there were connections open at one time at most; slots are reused.
 */
import type { ByteCounts } from "../net/ByteCounts.js";

const slotsPerPage = 1024;
const numbersPerSlot = 3;

export class ByteSlot implements ByteCounts {
  readonly #page: Float64Array;
  readonly #index: number;

  constructor(
    page: Float64Array,
    index: number,
    /** Its index. No other acquired slot has the same. */
    readonly place: number,
  ) {
    this.#page = page;
    this.#index = index;
  }

  /** Bytes read from the client. */
  get received(): number {
    return this.#page[this.#index] ?? 0;
  }

  set received(bytes: number) {
    this.#page[this.#index] = bytes;
  }

  /** Bytes read from the backend. */
  get sent(): number {
    return this.#page[this.#index + 1] ?? 0;
  }

  set sent(bytes: number) {
    this.#page[this.#index + 1] = bytes;
  }

  /** One side has sent FIN. */
  get halfClosed(): boolean {
    return this.#page[this.#index + 2] === 1;
  }

  set halfClosed(is: boolean) {
    this.#page[this.#index + 2] = is ? 1 : 0;
  }
}

export class ByteSlots {
  readonly #free: Array<ByteSlot> = [];
  #made = 0;

  /** A slot whose counts are 0. */
  acquire(): ByteSlot {
    const slot = this.#free.pop() ?? this.#addPage();
    slot.received = 0;
    slot.sent = 0;
    slot.halfClosed = false;
    return slot;
  }

  /** The connection is over; nothing writes to its slot any more. */
  release(slot: ByteSlot): void {
    this.#free.push(slot);
  }

  #addPage(): ByteSlot {
    const page = new Float64Array(numbersPerSlot * slotsPerPage);
    const first = this.#made;
    this.#made += slotsPerPage;
    for (let i = slotsPerPage - 1; i > 0; i--) {
      this.#free.push(new ByteSlot(page, numbersPerSlot * i, first + i));
    }
    return new ByteSlot(page, 0, first);
  }
}
