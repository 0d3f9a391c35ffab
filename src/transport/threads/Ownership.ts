/**
 * Which descriptors are a data thread's: a byte for each number, in shared memory. Descriptors belong to the process, so
 * those of a thread that has died stay open; this tells the main thread which to close.
 *
 * Each byte is written by whoever owns the descriptor at that time: the thread for what it opens and closes, the main
 * thread for a client before it hands it over and after it was given back. A descriptor is entered as soon as its number
 * is known, and taken out before it is closed, since from then on others may get the number. Both threads' writes are
 * ordered by the queues, by the end of a thread that has died, and, where a number is used again, by the kernel's lock on
 * its table of descriptors.
 */
import type { Block, Service as LibcService, Result } from "../linux/Libc.js";

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

  /** The system calls, by which the thread enters what it opens, and takes out what it closes. */
  over(libc: LibcService): LibcService {
    const entered = (fd: Result): Result => {
      if (fd >= 0) this.enter(fd);
      return fd;
    };
    const pipe = (ends: Block): Result => {
      const result = libc.pipe(ends);
      if (result < 0) return result;
      const [output = -1, input = -1] = new Int32Array(ends.bytes.buffer, ends.bytes.byteOffset, 2);
      this.enter(output);
      this.enter(input);
      return result;
    };
    return {
      ...libc,
      socket: (family) => entered(libc.socket(family)),
      epollCreate: () => entered(libc.epollCreate()),
      pipe,
      close: (fd) => {
        this.takeOut(fd);
        return libc.close(fd);
      },
    };
  }

  /** Of a thread that has ended: what it has left, each once. */
  takeAll(close: (fd: number) => void): void {
    for (let fd = this.#owned.indexOf(1); fd >= 0; fd = this.#owned.indexOf(1, fd + 1)) {
      this.takeOut(fd);
      close(fd);
    }
  }
}
