/**
 * The bytes of one direction: those of a pattern that all share, from a place of their own. So a byte that is lost,
 * doubled or out of place is seen, and none has to be made.
 */
const size = 1 << 20;

const pattern = (() => {
  const bytes = new Uint8Array(2 * size);
  let state = 0x9e3779b9;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  bytes.copyWithin(size, 0, size);
  return Buffer.from(bytes.buffer);
})();

export class Stream {
  readonly #from: number;

  constructor(place: number) {
    this.#from = place % size;
  }

  /** The bytes from an offset on; at most a mebibyte. */
  bytes(offset: number, length: number): Uint8Array {
    const from = (this.#from + offset) % size;
    return pattern.subarray(from, from + length);
  }

  /** Whether these are the bytes from an offset on. */
  matches(offset: number, bytes: Uint8Array): boolean {
    return (
      pattern.compare(
        bytes,
        0,
        bytes.length,
        (this.#from + offset) % size,
        ((this.#from + offset) % size) + bytes.length,
      ) === 0
    );
  }
}
