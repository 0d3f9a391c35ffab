/**
 * A queue of 32-bit words between two threads, in shared memory: one of them puts in, the other takes out. Neither waits
 * for the other, and neither takes a lock.
 *
 * Memory order. Each index is written by one side only. The producer writes a word plainly and then the tail by
 * `Atomics.store`; the consumer reads the tail by `Atomics.load` before the word. All operations of Atomics are in one
 * order that both threads agree upon (ECMA-262, "Memory Model"), so whoever sees the new tail sees the word, and all that
 * the producer has written anywhere before it. The head is the same the other way round: the producer that sees a place
 * free knows that it was read.
 *
 * Sleeping. A consumer that finds nothing announces its sleep and then looks once more; a producer first puts in and then
 * looks whether the other sleeps, then or later. Of these two stores and two loads, in that one order, either the consumer's look comes
 * after the tail was written, and it does not sleep, or the producer's comes after the announcement, and it wakes: no
 * word is left with both believing that the other will see to it.
 */

/** Words before the first place: each of the three that are written by different threads in a cache line of its own. */
const head = 0;
const tail = 16;
const sleeping = 32;
const places = 48;

export class Queue {
  readonly #words: Int32Array;
  readonly #mask: number;

  /** Memory for at least so many words. */
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
   * The producer's: puts a word in. The consumer finds it when it looks; one that sleeps has to be woken, by whoever has
   * {@link wakes}. It throws where the queue is full: both sides know beforehand how many words can be under way at a
   * time.
   */
  put(word: number): void {
    const words = this.#words;
    const at = words[tail] as number; // in the array, and written here alone
    // Both indices go on for ever, and round at 2 ** 32: their difference is right all the same.
    if (((at - Atomics.load(words, head)) | 0) > this.#mask)
      throw new Error("a queue between threads is full");
    words[places + (at & this.#mask)] = word;
    Atomics.store(words, tail, (at + 1) | 0);
  }

  /** The producer's: whether the consumer sleeps, and the producer has to wake it now. True once for each sleep. */
  wakes(): boolean {
    const words = this.#words;
    return Atomics.load(words, sleeping) === 1 && Atomics.exchange(words, sleeping, 0) === 1;
  }

  /** The consumer's: takes the words out that are there now, in their order. Each is out before it is handled. */
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

  /** The consumer's: from now on it has to be woken. False where it must not sleep, because there is something. */
  sleep(): boolean {
    const words = this.#words;
    Atomics.store(words, sleeping, 1);
    if (Atomics.load(words, tail) === words[head]) return true;
    Atomics.store(words, sleeping, 0);
    return false;
  }

  /** The consumer's: it need not be woken any more. */
  awake(): void {
    Atomics.store(this.#words, sleeping, 0);
  }
}
