/**
 * A connected TCP socket, or one that is being connected: what is known of its readiness, and who it belongs to.
 */
import type { SocketAddress } from "../../net/SocketAddress.js";
import type { Connection } from "../Transport.js";
import { type Engine, readableAndWritable, type Watched } from "./Engine.js";
import {
  EPOLLERR,
  EPOLLIN,
  EPOLLOUT,
  IPPROTO_TCP,
  type Result,
  type Service,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
} from "./Libc.js";

/**
 * A peer that went away without a word is noticed: asked after a minute of silence, and given up when it does not
 * answer six times in ten seconds each.
 */
export const keepAlive = (libc: Service, fd: number): void => {
  libc.setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  libc.setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  libc.setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  libc.setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
};

/** Everything but room to write. */
const incoming = ~EPOLLOUT;

/** Events that tell of more in the queue than data: its end, an error, urgent data. */
const beyondData = ~(EPOLLIN | EPOLLOUT);

/** Who acts upon a socket's events. */
export interface Owner {
  readonly onReady: (socket: Socket) => void;
  /** The socket was closed or reset from outside, or has to be after a fault: all that belongs to it ends. */
  readonly onLost: (socket: Socket, reset: boolean) => void;
}

export class Socket implements Connection, Watched {
  incarnation = 0;
  owner: Owner | undefined;
  /** There may be something to read: set by events, and taken back by whoever finds nothing more. */
  readable = false;
  /** A write may succeed. */
  writable = true;
  /** That a read comes back short does not mean that it was the last: its end is in the queue too, or an error. */
  greedy = false;
  /** An error is pending: its peer broke off. */
  failed = false;
  closed = false;
  /** The kernel asks its peer whether it is still there. Clients' sockets have that from their listener. */
  #kept: boolean;
  /** What epoll watches for; 0 for nothing. */
  #watching = 0;

  constructor(
    readonly engine: Engine,
    readonly fd: number,
    readonly remote: SocketAddress,
    /** A client's, which counts towards the engine's capacity. */
    readonly accepted: boolean,
  ) {
    this.#kept = accepted;
    if (accepted) engine.clients += 1;
  }

  /** Watches for at least these events. Fails where the kernel is out of memory. */
  watch(events: number): Result {
    const wanted = this.#watching | events;
    if (this.#watching === wanted) return 0;
    const result = this.#watching === 0 ? this.engine.add(this, wanted) : this.engine.modify(this, wanted);
    if (result >= 0) this.#watching = wanted;
    return result;
  }

  get watched(): boolean {
    return this.#watching !== 0;
  }

  /** A write was not taken whole. Unless this fails, an event will tell that there is room again. */
  blocked(): Result {
    this.writable = false;
    return this.watch(readableAndWritable);
  }

  onEvents(events: number): void {
    if ((events & EPOLLOUT) !== 0) this.writable = true;
    if ((events & incoming) !== 0) {
      this.readable = true;
      if ((events & beyondData) !== 0) {
        this.greedy = true;
        if ((events & EPOLLERR) !== 0) this.failed = true;
      }
    }
    this.owner?.onReady(this);
  }

  /** Not when it is made: a connection that does not last has no use for these four calls. */
  onRound(): void {
    if (this.#kept) return;
    this.#kept = true;
    keepAlive(this.engine.libc, this.fd);
  }

  onFault(): void {
    this.#lose(true);
  }

  close(): void {
    this.#lose(false);
  }

  reset(): void {
    this.#lose(true);
  }

  #lose(reset: boolean): void {
    if (this.closed) return;
    if (this.owner === undefined) this.end(reset);
    else this.owner.onLost(this, reset);
  }

  /** Closes the descriptor, once. For its owner. */
  end(reset: boolean): void {
    if (this.closed) return;
    this.closed = true;
    this.owner = undefined;
    if (this.accepted) this.engine.clients -= 1;
    if (reset) this.engine.libc.resetOnClose(this.fd);
    this.engine.close(this);
  }
}
