/**
 * A socket on its way to a backend, with its deadline.
 */

import { Expiring } from "../../clock/Deadlines.js";
import type { SocketAddress } from "../../net/SocketAddress.js";
import type { SourceTurns } from "../SourceTurns.js";
import { type Engine, readableAndWritable } from "./Engine.js";
import {
  AF_INET6,
  type Block,
  EADDRNOTAVAIL,
  EINPROGRESS,
  EINTR,
  EMFILE,
  ENFILE,
  IPPROTO_TCP,
  type Result,
  TCP_QUICKACK,
} from "./Libc.js";
import { type Owner, Socket } from "./Socket.js";
import { bind, type Source } from "./Sources.js";

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

interface OtherSources {
  readonly turns: SourceTurns<Source>;
  /** Of the one that is tried. */
  place: number;
  /** How many have not been tried. */
  left: number;
  readonly quickAcknowledge: boolean;
  readonly target: Omit<Destination, "address"> & { readonly bytes: Uint8Array };
}

export class Connecting extends Expiring implements Owner {
  #socket: Socket | undefined;
  #settled = false;
  /** What is needed to try another of the engine's source addresses; undefined where there is no other. */
  #sources: OtherSources | undefined;

  constructor(
    readonly engine: Engine,
    readonly remote: SocketAddress,
    /** Called once; not after {@link cancel}. */
    readonly onSettled: (result: Settled) => void,
  ) {
    super();
  }

  /**
   * `quickAcknowledge` false delays the last packet of the handshake by up to 200 ms. Bytes that are sent by then go
   * along with it, which saves a packet and wakes the backend once; and a reset by then keeps the connection from the
   * program that listens there.
   */
  start(destination: Destination, timeoutMillis: number, quickAcknowledge = true): void {
    const { sources } = this.engine;
    if (sources === undefined) {
      const begun = this.#open(destination, quickAcknowledge, undefined);
      if (begun < 0) this.fail(begun);
      else this.engine.connectDeadlines.add(this, timeoutMillis);
      return;
    }
    this.engine.connectDeadlines.add(this, timeoutMillis);
    const turns = destination.family === AF_INET6 ? sources.inet6 : sources.inet;
    const place = turns?.take() ?? 0;
    if (turns !== undefined && turns.count > 1) {
      // The caller's is another's when this has returned.
      const { bytes } = destination.address;
      this.#sources = {
        ...{ turns, place, quickAcknowledge, left: turns.count - 1 },
        target: { ...destination, bytes: bytes.slice(0, destination.length) },
      };
    }
    const begun = this.#open(destination, quickAcknowledge, turns?.at(place));
    if (begun < 0) this.fail(begun);
  }

  /** Begins to connect by a new socket; below zero when that fails at once. */
  #open(destination: Destination, quickAcknowledge: boolean, source: Source | undefined): Result {
    const { libc, pipes } = this.engine;
    let fd = libc.socket(destination.family);
    if (fd === -EMFILE || fd === -ENFILE) {
      pipes.close();
      fd = libc.socket(destination.family);
    }
    if (fd < 0) return fd;
    const socket = new Socket(this.engine, fd, this.remote, false);
    this.#socket = socket;
    socket.owner = this;
    if (source !== undefined) {
      const bound = bind(libc, fd, source);
      if (bound < 0) return bound;
    }
    if (!quickAcknowledge) libc.setOption(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
    return this.begin(socket, destination);
  }

  /** Connects from the next source address, by a socket of its own. */
  #openNext(sources: OtherSources): void {
    const { address } = this.engine;
    const { bytes, family, length } = sources.target;
    sources.left -= 1;
    sources.place += 1;
    if (this.#socket !== undefined) {
      this.#socket.owner = undefined;
      this.abandon(this.#socket);
    }
    address.bytes.set(bytes);
    const { place, quickAcknowledge, turns } = sources;
    const begun = this.#open({ family, address, length }, quickAcknowledge, turns.at(place));
    if (begun < 0) this.fail(begun);
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
    this.engine.connectDeadlines.remove(this);
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
    const failure = Math.abs(result);
    const sources = this.#sources;
    // It is out of ports towards this target, or gone from this host.
    const another = failure === EADDRNOTAVAIL && sources !== undefined && sources.left > 0;
    if (another && !this.#settled) this.#openNext(sources);
    else this.#settle(failure);
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
    this.engine.connectDeadlines.remove(this);
    if (this.#socket !== undefined) this.abandon(this.#socket);
  }

  /** Closes the socket. */
  protected abandon(socket: Socket): void {
    socket.end(true);
  }
}
