/**
 * A socket on its way to a backend, with its deadline.
 */
import type { SocketAddress } from "../../net/SocketAddress.js";
import type { Expiring } from "../Deadlines.js";
import { type Engine, readableAndWritable } from "./Engine.js";
import {
  type Block,
  EINPROGRESS,
  EINTR,
  EMFILE,
  ENFILE,
  IPPROTO_TCP,
  type Result,
  TCP_QUICKACK,
} from "./Libc.js";
import { type Owner, Socket } from "./Socket.js";

/** An address as the kernel takes it. */
export interface Destination {
  readonly family: number;
  readonly address: Block;
  readonly length: number;
}

/** Why there is no connection: an errno, or one of the two below. */
export type Failure = number;
/** For no reason that the kernel has a word for. */
export const unexplained: Failure = 0;
/** Its deadline has passed. */
export const timedOut: Failure = -1;

export type Settled = Socket | Failure;

export class Connecting implements Owner, Expiring {
  since = 0;
  deadline = 0;
  extended = 0;
  earlier: Expiring | undefined;
  later: Expiring | undefined;
  #socket: Socket | undefined;
  #settled = false;

  constructor(
    readonly engine: Engine,
    readonly remote: SocketAddress,
    /** Called once; not after {@link cancel}. */
    readonly onSettled: (result: Settled) => void,
  ) {}

  /**
   * `quickAcknowledge` false delays the last packet of the handshake by up to 200 ms. Bytes that are sent by then go
   * along with it, which saves a packet and wakes the backend once; and a reset by then keeps the connection from the
   * program that listens there.
   */
  start(destination: Destination, timeoutMillis: number, quickAcknowledge = true): void {
    const { libc, pipes } = this.engine;
    let fd = libc.socket(destination.family);
    if (fd === -EMFILE || fd === -ENFILE) {
      pipes.close();
      fd = libc.socket(destination.family);
    }
    if (fd < 0) {
      this.fail(fd);
      return;
    }
    const socket = new Socket(this.engine, fd, this.remote, false);
    this.#socket = socket;
    socket.owner = this;
    if (!quickAcknowledge) libc.setOption(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
    const begun = this.begin(socket, destination);
    if (begun < 0) this.fail(begun);
    else this.engine.deadlines.add(this, timeoutMillis);
  }

  /** Begins to connect; below zero when that fails at once. */
  protected begin(socket: Socket, { address, length }: Destination): Result {
    socket.writable = false;
    // Interrupted or not, it goes on by itself (connect(2), EINTR).
    const result = this.engine.libc.connect(socket.fd, address, length);
    if (result < 0 && result !== -EINPROGRESS && result !== -EINTR) return result;
    // Connected or not, an event comes: a socket that is connected has room to write.
    return socket.watch(readableAndWritable);
  }

  onReady(socket: Socket): void {
    if (socket.failed) {
      const error = this.engine.libc.takeError(socket.fd);
      this.fail(error > 0 ? -error : error);
      return;
    }
    if (socket.writable) this.made();
  }

  /** It is connected. */
  protected made(): void {
    const socket = this.#socket;
    if (socket === undefined || this.#settled) return;
    this.engine.deadlines.remove(this);
    socket.owner = undefined;
    this.#settled = true;
    this.onSettled(socket);
  }

  onLost(): void {
    this.#settle(unexplained);
  }

  expire(): void {
    this.#settle(timedOut);
  }

  /** Fails with a negated errno, or with 0 where the kernel gave none. */
  fail(result: Result): void {
    this.#settle(Math.abs(result));
  }

  /** Leaves nothing behind: a connection that was made and not taken over is closed too. */
  cancel(): void {
    this.#settled = true;
    this.#end();
  }

  #settle(failure: Failure): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#end();
    this.onSettled(failure);
  }

  #end(): void {
    this.engine.deadlines.remove(this);
    if (this.#socket !== undefined) this.abandon(this.#socket);
  }

  /** Closes the socket. */
  protected abandon(socket: Socket): void {
    socket.end(true);
  }
}
