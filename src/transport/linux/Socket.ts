/**
 * A connected TCP socket, or one that is being connected: what is known of its readiness, and its owner.
 */
import type { SocketAddress } from "../../net/SocketAddress.js";
import type { Places } from "../Places.js";
import type { Connection } from "../Transport.js";
import * as DeadPeer from "./DeadPeer.js";
import { type Engine, readableAndWritable, roundMillis, type Watched } from "./Engine.js";
import { format } from "./InetAddress.js";
import {
  EPOLLERR,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  IPPROTO_TCP,
  type Result,
  readAddress,
  type Service,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_RTO_MAX_MS,
} from "./Libc.js";
import * as TcpInfo from "./TcpInfo.js";

/** The longest interval between two window probes, in milliseconds: it bounds how long a dead peer goes unnoticed. */
const longestProbeMillis = 30_000;

/**
 * Keepalive, to notice an idle peer that vanished: probes start after a minute without traffic, and the connection
 * fails after six of them, ten seconds apart, without an acknowledgement.
 */
export const keepAlive = (libc: Service, fd: number): void => {
  libc.setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  libc.setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  libc.setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  libc.setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
  // Refused by a Linux before 6.15, where a minute or two between two probes is what there is.
  libc.setOption(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, longestProbeMillis);
};

/** Rounds without a byte from a peer after which its connection is examined, to find a dead peer. */
const silentRounds = DeadPeer.silenceMillis / roundMillis;
/** From then on it is examined again after this many rounds. */
const roundsPerLook = 5;

/** Everything but room to write. */
const incoming = ~EPOLLOUT;

/** Events that tell of more in the queue than data: its end, an error, urgent data. */
const beyondData = ~(EPOLLIN | EPOLLOUT);

/** Handles a socket's events. */
export interface Owner {
  readonly onReady: (socket: Socket) => void;
  /** The socket was closed or reset from outside, or has to be after a fault: all that belongs to it ends. */
  readonly onLost: (socket: Socket, reset: boolean) => void;
  /** Bytes that were written to both sides of a relay, and not acknowledged by them; 0 if it is not a relay. */
  readonly unacknowledged?: () => number;
  /** As that of the transport; where it is no relay, what the socket itself says. */
  readonly idleMillis?: () => number;
}

export class Socket implements Connection, Watched {
  incarnation = 0;
  owner: Owner | undefined;
  /** There may be something to read: set by events, cleared by the reader that finds nothing more. */
  readable = false;
  /** A write may succeed. */
  writable = true;
  /** A short read does not mean that the queue is empty: FIN or an error is queued too. */
  greedy = false;
  /** Its FIN is queued, after nothing else than data: a short read was the last one. */
  ending = false;
  /** An error is pending: its peer broke off. */
  failed = false;
  closed = false;
  /** Bytes read from it. */
  received = 0;
  /** As many as that had been read in the round before the last `#silence` ones. */
  #receivedBefore = 0;
  #silence = 0;
  /** It looked dead when it was last looked at. */
  #suspected = false;
  /** The kernel asks its peer whether it is still there, and resets the connection when this process is killed. */
  #kept: boolean;
  /** Nagle's algorithm is off. */
  #noDelay: boolean;
  #written = false;
  /** What epoll watches for; 0 for nothing. */
  #watching = 0;

  constructor(
    readonly engine: Engine,
    readonly fd: number,
    readonly remote: SocketAddress,
    /** A client's that is served, which counts towards the engine's capacity. */
    readonly accepted: boolean,
    /** Of its listener's places it has one, where these are counted. */
    readonly places?: Places | undefined,
  ) {
    // Clients' sockets have it from their listener.
    this.#kept = accepted && engine.resetsOnCrash;
    this.#noDelay = accepted;
    if (accepted) engine.clients += 1;
    places?.take();
  }

  get local(): SocketAddress | undefined {
    const { address, libc } = this.engine;
    if (this.closed || libc.socketName(this.fd, address) < 0) return undefined;
    const raw = readAddress(address);
    return raw === undefined ? undefined : format(raw);
  }

  /** Watches for at least these events. Fails where the kernel is out of memory. */
  watch(events: number): Result {
    const wanted = this.#watching | events;
    if (this.#watching === wanted) return 0;
    const result = this.#watching === 0 ? this.engine.add(this, wanted) : this.engine.modify(this, wanted);
    if (result >= 0) this.#watching = wanted;
    return result;
  }

  /** Stops to watch. What is known of its readiness is forgotten: watching it again brings it. */
  unwatch(): void {
    if (this.#watching === 0) return;
    this.#watching = 0;
    this.engine.remove(this);
    this.readable = false;
    this.greedy = false;
    this.ending = false;
  }

  get watched(): boolean {
    return this.#watching !== 0;
  }

  /** A write was not taken whole. Unless this fails, an event will tell that there is room again. */
  blocked(): Result {
    this.writable = false;
    return this.watch(readableAndWritable);
  }

  /** Whether it has sent something that was not read yet. */
  hasSent(): boolean {
    return !this.closed && this.engine.libc.unread(this.fd) > 0;
  }

  /** Bytes that were written to it, and that its peer has not acknowledged. */
  unacknowledged(): number {
    return this.closed ? 0 : Math.max(0, this.engine.libc.unacknowledged(this.fd));
  }

  /** Milliseconds since data last came from its peer, be it read or not. */
  idleMillis(): number {
    return this.closed ? 0 : (TcpInfo.read(this.engine, this.fd)?.sinceDataMillis ?? 0);
  }

  /**
   * To be called before each write. Nagle's algorithm holds a small write back while one before it is not acknowledged:
   * it is switched off before the second, so that a connection with one write does without that call.
   */
  beforeWrite(): void {
    if (this.#noDelay) return;
    if (this.#written) {
      this.#noDelay = true;
      this.engine.libc.setOption(this.fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    this.#written = true;
  }

  onEvents(events: number): void {
    if ((events & EPOLLOUT) !== 0) this.writable = true;
    if ((events & incoming) !== 0) {
      this.readable = true;
      if ((events & beyondData) !== 0) {
        this.greedy = true;
        this.ending = (events & beyondData) === EPOLLRDHUP;
        if ((events & EPOLLERR) !== 0) this.failed = true;
      }
    }
    this.owner?.onReady(this);
  }

  onRound(): void {
    // In the first round, to spare short connections these calls.
    if (!this.#kept) {
      this.#kept = true;
      keepAlive(this.engine.libc, this.fd);
      this.engine.libc.resetOnClose(this.fd, true);
    }
    if (this.received !== this.#receivedBefore) {
      this.#receivedBefore = this.received;
      this.#silence = 0;
      this.#suspected = false;
      return;
    }
    this.#silence += 1;
    if (this.#silence < silentRounds) return;
    if (!this.#suspected && this.#silence % roundsPerLook !== 0) return;
    const suspected = this.#peerIsDead();
    // Two looks, a round apart: after a pause of this whole host an acknowledgement may be on its way.
    if (suspected && this.#suspected) this.reset();
    else this.#suspected = suspected;
  }

  #peerIsDead(): boolean {
    const info = TcpInfo.read(this.engine, this.fd);
    return info !== undefined && DeadPeer.isDead(info);
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
    this.gone();
    // SO_LINGER 0 is set while it is open, so that the peer of a killed process sees a reset.
    if (reset !== this.#kept) this.engine.libc.resetOnClose(this.fd, reset);
    this.engine.close(this);
  }

  /** Its descriptor is closed, or another thread will close it: from now on the connection counts as ended. */
  gone(): void {
    if (this.closed) return;
    this.closed = true;
    this.owner = undefined;
    if (!this.accepted) return;
    this.engine.clients -= 1;
    this.engine.left += 1;
    this.places?.leave();
  }
}
