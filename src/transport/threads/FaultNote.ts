/**
 * What a data thread has to say of exceptions that it caught: how many there were, and the text of one of them. One is
 * under way at a time; those that come before it was read are counted.
 */

const textBytes = 4_096;

/** In 32-bit words; the text follows. */
const count = 0;
const unread = 1;
const length = 2;
const textAt = 12;

export class FaultNote {
  readonly #words: Int32Array;
  readonly #text: Uint8Array;

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(textAt + textBytes);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, textAt / 4);
    this.#text = new Uint8Array(memory, textAt);
  }

  /** How many there were. */
  get count(): number {
    return Atomics.load(this.#words, count);
  }

  /** The data thread's: true where the main thread has to be told. */
  write(fault: unknown): boolean {
    Atomics.add(this.#words, count, 1);
    if (Atomics.load(this.#words, unread) === 1) return false;
    const text = fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
    const bytes = new TextEncoder().encode(text).subarray(0, textBytes);
    this.#text.set(bytes);
    this.#words[length] = bytes.length;
    Atomics.store(this.#words, unread, 1);
    return true;
  }

  /** The main thread's, when it was told. */
  read(): string {
    const text = new TextDecoder().decode(this.#text.slice(0, this.#words[length]));
    Atomics.store(this.#words, unread, 0);
    return text;
  }
}
