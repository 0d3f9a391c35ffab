/**
 * Which descriptors are a data thread's: a byte for each number, in shared memory. Descriptors belong to the process,
 * so those of a thread that has died stay open; this tells the main thread which to close.
 *
 * Each byte is written by the owner of the descriptor at that time: the thread for what it opens and closes, the main
 * thread for a client before it hands it over and after it was given back. The thread's system calls do it (see
 * {@link KoffiLibc.make}): there is no moment at which it can end between a call and its byte. Both threads' writes are
 * ordered by the queues, by the end of a thread that has died, and, where a number is used again, by the kernel's lock
 * on its table of descriptors.
 */
export class Ownership {
  readonly #owned: Uint8Array;

  /** Memory for descriptors below this number. */
  static memory(limit: number): SharedArrayBuffer {
    return new SharedArrayBuffer(limit);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#owned = new Uint8Array(memory);
  }

  enter(fd: number): void {
    this.#owned[fd] = 1;
  }

  takeOut(fd: number): void {
    this.#owned[fd] = 0;
  }

  /** Of a thread that has ended: what it has left, each once. */
  takeAll(close: (fd: number) => void): void {
    for (let fd = this.#owned.indexOf(1); fd >= 0; fd = this.#owned.indexOf(1, fd + 1)) {
      this.takeOut(fd);
      close(fd);
    }
  }
}
