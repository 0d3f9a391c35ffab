/**
 * A queue of 32-bit words between two threads, in shared memory: one of them puts in, the other takes out. Neither
 * waits for the other, and neither takes a lock.
 *
 * Memory order. Each index is written by one side only. The producer writes a word plainly and then the tail by
 * `Atomics.store`; the consumer reads the tail by `Atomics.load` before the word. All operations of Atomics are in one
 * order that both threads agree upon (ECMA-262, "Memory Model"), so a consumer that sees the new tail sees the word,
 * and all that the producer wrote before it, anywhere. The same holds for the head: a producer that sees a free place
 * knows that its word was read.
 *
 * Sleeping. Consumer: set `sleeping`, then recheck the tail. Producer: store the tail, then check `sleeping`.
 * Sequential consistency means that at least one of them sees the other's store, so no wake-up is lost.
 */

/**
 * Indices of the control words, each in a cache line of its own, as different threads write them; and of the first
 * place.
 */
const head = 0;
const tail = 16;
const sleeping = 32;
const places = 48;

export class Queue {
  readonly #words: Int32Array;
  readonly #mask: number;

  /** Memory for at least `capacity` words. */
  static memory(capacity: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (places + 2 ** Math.ceil(Math.log2(Math.max(1, capacity)))));
  }

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#mask = this.#words.length - places - 1;
  }

  /** How many words are in it. Exact for neither side while the other is at work. */
  get length(): number {
    return (Atomics.load(this.#words, tail) - Atomics.load(this.#words, head)) | 0;
  }

  /**
   * For the producer: puts a word in. The consumer finds it when it next looks. A sleeping one has to be woken if
   * {@link wakes} returns true. Throws if the queue is full: its capacity is the number of words that can be in flight.
   */
  put(word: number): void {
    const words = this.#words;
    const at = words[tail] as number; // in the array, and written here alone
    // Both indices wrap around at 2 ** 32; their difference stays right.
    if (((at - Atomics.load(words, head)) | 0) > this.#mask)
      throw new Error("a queue between threads is full");
    words[places + (at & this.#mask)] = word;
    Atomics.store(words, tail, (at + 1) | 0);
  }

  /** For the producer: whether the consumer sleeps and has to be woken now. True once for each sleep. */
  wakes(): boolean {
    const words = this.#words;
    return Atomics.load(words, sleeping) === 1 && Atomics.exchange(words, sleeping, 0) === 1;
  }

  /** For the consumer: takes out the words that are there now, in order. Each is removed before it is handled. */
  take(handle: (word: number) => void): void {
    const words = this.#words;
    const end = Atomics.load(words, tail);
    for (let at = words[head] as number; at !== end; ) {
      const word = words[places + (at & this.#mask)] as number; // inside the array, by the mask
      at = (at + 1) | 0;
      Atomics.store(words, head, at);
      handle(word);
    }
  }

  /** For the consumer: from now on it has to be woken. False if it must not sleep, because there are words. */
  sleep(): boolean {
    const words = this.#words;
    Atomics.store(words, sleeping, 1);
    if (Atomics.load(words, tail) === words[head]) return true;
    Atomics.store(words, sleeping, 0);
    return false;
  }

  /** For the consumer: it need not be woken any more. */
  awake(): void {
    Atomics.store(this.#words, sleeping, 0);
  }
}
