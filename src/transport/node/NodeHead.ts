/**
 * The reading of a connection's beginning. Node reads as it likes: what it has read behind the beginning is put back.
 */
import { type Deadlines, Expiring } from "../../clock/Deadlines.js";
import type { HeadFailure } from "../HeadError.js";
import type { NodeConnection } from "./NodeConnection.js";

export class NodeHead extends Expiring {
  #bytes: Buffer = Buffer.alloc(0);
  #over = false;

  constructor(
    readonly connection: NodeConnection,
    readonly deadlines: Deadlines,
    readonly most: number,
    readonly lengthOf: (bytes: Uint8Array) => number,
    readonly onRead: (bytes: Uint8Array) => void,
    readonly onFailed: (failure: HeadFailure) => void,
  ) {
    super();
  }

  start(timeoutMillis: number): void {
    const { socket } = this.connection;
    this.deadlines.add(this, timeoutMillis);
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onClose);
    if (socket.destroyed) setImmediate(this.#onClose);
    else socket.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const bytes = this.#bytes.subarray(0, this.most);
    const length = this.lengthOf(bytes);
    if (length < 0 || length > this.most) this.#done(Uint8Array.from(bytes), 0);
    else if (length > 0 && length <= bytes.length)
      this.#done(Uint8Array.from(bytes.subarray(0, length)), length);
    else if (bytes.length === this.most) this.#fail("closed");
  };

  readonly #onEnd = (): void => this.#fail("closed");

  readonly #onClose = (): void => this.#fail("reset");

  readonly expire = (): void => this.#fail("timeout");

  #done(head: Uint8Array, length: number): void {
    if (this.#over) return;
    this.#end(length);
    this.onRead(head);
  }

  #fail(failure: HeadFailure): void {
    if (this.#over) return;
    this.#end(0);
    this.onFailed(failure);
  }

  /** The bytes from there on were not read. */
  #end(length: number): void {
    this.#over = true;
    this.deadlines.remove(this);
    const { connection } = this;
    const { socket } = connection;
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onClose);
    socket.pause();
    connection.headLength += length;
    const rest = this.#bytes.subarray(length);
    if (rest.length > 0 && !socket.destroyed && !socket.readableEnded) socket.unshift(rest);
  }

  /** The client is the caller's as before. */
  cancel(): void {
    if (!this.#over) this.#end(0);
  }
}
