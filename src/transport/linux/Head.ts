/**
 * The reading of a connection's beginning, and of not a byte behind it: it is looked at where the kernel keeps it until
 * it is whole, and then taken.
 */
import { Expiring } from "../../clock/Deadlines.js";
import type { HeadFailure } from "../HeadError.js";
import { readable } from "./Engine.js";
import { EAGAIN, EINTR } from "./Libc.js";
import type { Owner, Socket } from "./Socket.js";

export class Head extends Expiring implements Owner {
  #over = false;

  constructor(
    readonly socket: Socket,
    readonly most: number,
    readonly lengthOf: (bytes: Uint8Array) => number,
    /** One of these is called, once, and none after {@link cancel}. The client is the caller's then. */
    readonly onRead: (bytes: Uint8Array) => void,
    readonly onFailed: (failure: HeadFailure) => void,
  ) {
    super();
  }

  start(timeoutMillis: number): void {
    const { socket } = this;
    if (socket.closed) {
      this.#over = true;
      this.onFailed("reset");
      return;
    }
    socket.owner = this;
    // What has arrived before brings an event too.
    if (socket.watch(readable) < 0) this.#fail("reset");
    else socket.engine.headDeadlines.add(this, timeoutMillis);
  }

  onReady(socket: Socket): void {
    if (this.#over) return;
    if (socket.failed) {
      this.#fail("reset");
      return;
    }
    const { buffer, libc } = socket.engine;
    let there = libc.peek(socket.fd, buffer, this.most);
    while (there === -EINTR) there = libc.peek(socket.fd, buffer, this.most);
    if (there < 0) {
      if (there !== -EAGAIN) this.#fail("reset");
      return;
    }
    const bytes = buffer.bytes.subarray(0, there);
    const length = there === 0 ? 0 : this.lengthOf(bytes);
    if (length < 0 || length > this.most) this.#done(bytes.slice());
    else if (length > 0 && length <= there) this.#take(length);
    // Its end is in the queue behind what has come: nothing more will.
    else if (there === 0 || there === this.most || socket.greedy) this.#fail("closed");
  }

  #take(length: number): void {
    const { engine, fd } = this.socket;
    const head = new Uint8Array(length);
    let taken = 0;
    while (taken < length) {
      const result = engine.libc.read(fd, engine.buffer, 0, length - taken);
      if (result === -EINTR) continue;
      if (result <= 0) {
        this.#fail("reset");
        return;
      }
      head.set(engine.buffer.bytes.subarray(0, result), taken);
      taken += result;
    }
    this.#done(head);
  }

  #done(bytes: Uint8Array): void {
    this.#end();
    this.onRead(bytes);
  }

  #fail(failure: HeadFailure): void {
    if (this.#over) return;
    this.#end();
    this.onFailed(failure);
  }

  #end(): void {
    this.#over = true;
    const { socket } = this;
    socket.engine.headDeadlines.remove(this);
    socket.owner = undefined;
    // Its next owner, perhaps another thread, watches it anew.
    if (!socket.closed) socket.unwatch();
  }

  expire(): void {
    this.#fail("timeout");
  }

  onLost(socket: Socket, reset: boolean): void {
    const over = this.#over;
    this.#over = true;
    socket.engine.headDeadlines.remove(this);
    socket.end(reset);
    if (!over) this.onFailed("reset");
  }

  /** The client is the caller's as before. */
  cancel(): void {
    if (!this.#over) this.#end();
  }
}
