/**
 * Buffers that a ring of io_uring receives into. They belong to the kernel, which takes one when there are bytes for
 * it, until a completion names one; then to the handler of that, until it is recycled.
 *
 * https://man7.org/linux/man-pages/man3/io_uring_setup_buf_ring.3.html
 */
import type { Block, Result } from "./Libc.js";
import {
  buffer as bufferEntry,
  bufferRegistration,
  bufferTail,
  bufferWords,
  IORING_REGISTER_PBUF_RING,
  type Uring,
  words,
} from "./Uring.js";

/** The size of one, in bytes. */
export const size = 32 * 1024;

/** The only group of buffers there is. */
export const group = 0;

export class ReceiveBuffers {
  readonly #uring: Uring;
  readonly #count: number;
  readonly #buffers: Block;
  /** The address of each, in two words, the lower first. As a number it would be made anew for each operation. */
  readonly #addresses: Uint32Array;
  /** The queue in which the kernel finds those that are its own. */
  readonly #queue: Block;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  #tail = 0;

  /** All are the kernel's once they are registered. `count` is a power of two. */
  constructor(uring: Uring, count: number) {
    this.#uring = uring;
    this.#count = count;
    this.#buffers = uring.allocateBuffers(count * size);
    this.#addresses = new Uint32Array(2 * count);
    for (let i = 0; i < count; i++) {
      const address = this.#buffers.address + i * size;
      this.#addresses[2 * i] = address >>> 0;
      this.#addresses[2 * i + 1] = address / 2 ** 32;
    }
    this.#queue = uring.allocatePages(4 * bufferWords * count);
    this.#words = words(this.#queue);
    this.#halves = new Uint16Array(this.#words.buffer, this.#words.byteOffset, 2 * this.#words.length);
  }

  /** With the ring of that descriptor, once; below zero where the kernel refuses. */
  register(ring: number): Result {
    const registration = this.#uring.allocatePages(bufferRegistration.size);
    const registered = words(registration);
    registered[bufferRegistration.address >> 2] = this.#queue.address >>> 0;
    registered[(bufferRegistration.address >> 2) + 1] = this.#queue.address / 2 ** 32;
    registered[bufferRegistration.entries >> 2] = this.#count;
    registered[bufferRegistration.group >> 2] = group;
    const result = this.#uring.register(ring, IORING_REGISTER_PBUF_RING, registration.address, 1);
    if (result >= 0) for (let i = 0; i < this.#count; i++) this.recycle(i);
    return result;
  }

  /** Writes the address of one into words of the kernel's. */
  writeAddress(buffer: number, to: Uint32Array, at: number): void {
    // Inside the array: the kernel names no others.
    to[at] = this.#addresses[2 * buffer] as number;
    to[at + 1] = this.#addresses[2 * buffer + 1] as number;
  }

  /** Its first bytes, for as long as it is not given back. */
  bytes(buffer: number, length: number): Uint8Array {
    const from = buffer * size;
    return this.#buffers.bytes.subarray(from, from + length);
  }

  /** Gives it back to the kernel. */
  recycle(buffer: number): void {
    const at = (this.#tail & (this.#count - 1)) * bufferWords;
    this.writeAddress(buffer, this.#words, at + bufferEntry.address);
    this.#words[at + bufferEntry.length] = size;
    // Half a word: beside the first entry's is the tail.
    this.#halves[2 * (at + bufferEntry.id)] = buffer;
    this.#tail = (this.#tail + 1) & 0xffff;
    Atomics.store(this.#halves, bufferTail, this.#tail);
  }
}
