/**
 * A listening socket: takes what the kernel has accepted, a bounded number at a time, and pauses when the process is
 * out of descriptors or memory, or has as many clients as it can or may have. Where none of them leaves for long, it
 * refuses some of the waiting clients.
 */
import { AcceptQueueTimeout, paceMillis } from "../AcceptQueueTimeout.js";
import type { Places } from "../Places.js";
import { AcceptError, type Connection } from "../Transport.js";
import type { Engine, Watched } from "./Engine.js";
import type { Timer } from "./HostLoop.js";
import { format } from "./InetAddress.js";
import {
  AF_INET,
  EAGAIN,
  EBADF,
  ECONNABORTED,
  EHOSTDOWN,
  EHOSTUNREACH,
  EINTR,
  EMFILE,
  ENETDOWN,
  ENETUNREACH,
  ENFILE,
  ENONET,
  ENOPROTOOPT,
  EOPNOTSUPP,
  EPOLLIN,
  EPROTO,
  errnoName,
  type Result,
  readAddress,
} from "./Libc.js";
import { Socket } from "./Socket.js";

/** Accepted in one turn. */
const acceptsPerTurn = 64;

/** How long it pauses after a failure, and at most after several, one after another, in milliseconds. */
const shortestPause = 10;
const longestPause = 1_000;

/** Errors of the connection that was to be accepted, not of the listener (accept(2), "Error handling"). */
const ofTheConnection: ReadonlySet<Result> = new Set(
  [
    ECONNABORTED,
    EINTR,
    ENETDOWN,
    EPROTO,
    ENOPROTOOPT,
    EHOSTDOWN,
    ENONET,
    EHOSTUNREACH,
    EOPNOTSUPP,
    ENETUNREACH,
  ].map((errno) => -errno),
);

/** In place of a negated errno: all places of the listener are taken. It is below every one of them. */
const noPlace: Result = -65_536;

export class Acceptor implements Watched {
  incarnation = 0;
  #pause = shortestPause;
  #timer: Timer | undefined;
  #closed = false;
  /** Closed for a moment to accept a client that is refused, where descriptors have run out. Below zero for none. */
  #spare: Result = -EMFILE;
  readonly #queueTimeout = new AcceptQueueTimeout();
  /** It has stopped to accept until there is a place. */
  #waiting = false;

  constructor(
    readonly engine: Engine,
    readonly fd: number,
    readonly onConnection: (connection: Connection) => void,
    readonly onAcceptError: (error: AcceptError) => void,
    /** Is handed clients that have to be reset; undefined if no client is refused. */
    readonly onRefused?: ((connection: Connection) => void) | undefined,
    /** As many as it may have; undefined where that is as many as there can be. */
    readonly places?: Places | undefined,
    /** A client waits because all places are taken. */
    readonly onFull?: (() => void) | undefined,
  ) {}

  /** Starts to accept. Level-triggered: what one turn leaves comes again. */
  start(): Result {
    this.#keepSpare();
    return this.engine.add(this, EPOLLIN);
  }

  #keepSpare(): void {
    if (this.#spare < 0 && this.onRefused !== undefined) this.#spare = this.engine.libc.socket(AF_INET);
  }

  onEvents(): void {
    const result = this.#take(acceptsPerTurn);
    if (result === noPlace) this.#waitForPlace();
    else if (result < 0 && result !== -EAGAIN) this.#failed(result);
  }

  /** Accepts at most `most` clients. Returns 0, or why there were fewer: EAGAIN if the queue is empty. */
  #take(most: number): Result {
    const { engine } = this;
    for (let i = 0; i < most && !this.#closed; i++) {
      // Each of them needs a second descriptor, for its backend.
      if (engine.clients >= engine.capacity) return -EMFILE;
      // Full: do not probe the queue; the next event tells whether more wait.
      if (this.places?.full === true) return i === 0 ? noPlace : 0;
      const fd = engine.libc.accept(this.fd, engine.address);
      if (fd >= 0) {
        this.#pause = shortestPause;
        this.#accepted(fd);
      } else if (!ofTheConnection.has(fd)) return fd;
    }
    return 0;
  }

  /** The client whose address the kernel has just written. One that is refused takes no place. */
  #client(fd: number, refused: boolean): Socket {
    const address = readAddress(this.engine.address);
    const remote = address === undefined ? { host: "", port: 0 } : format(address);
    return new Socket(this.engine, fd, remote, !refused, refused ? undefined : this.places);
  }

  #accepted(fd: number): void {
    const socket = this.#client(fd, false);
    try {
      this.onConnection(socket);
    } catch (fault) {
      socket.reset();
      throw fault;
    }
  }

  /** There is no place for the waiting clients. Some are refused if no client has left for long. */
  #full(leftSoFar: number): void {
    const { engine, onRefused } = this;
    if (onRefused === undefined) return;
    let left = this.#queueTimeout.full(engine.hostLoop.now(), leftSoFar);
    while (left > 0 && !this.#closed) {
      let fd = engine.libc.accept(this.fd, engine.address);
      if ((fd === -EMFILE || fd === -ENFILE) && this.#spare >= 0) {
        engine.libc.close(this.#spare);
        this.#spare = -EMFILE;
        fd = engine.libc.accept(this.fd, engine.address);
      }
      if (fd >= 0) {
        left -= 1;
        const socket = this.#client(fd, true);
        try {
          onRefused(socket);
        } finally {
          socket.reset();
        }
      } else if (!ofTheConnection.has(fd)) break;
    }
    this.#keepSpare();
  }

  #failed(result: Result): void {
    this.engine.remove(this);
    this.#timer?.cancel();
    this.#timer = this.engine.hostLoop.after(this.#pause, () => this.#resume());
    this.#pause = Math.min(2 * this.#pause, longestPause);
    this.onAcceptError(new AcceptError({ code: errnoName(result) }));
    if (result !== -EMFILE && result !== -ENFILE) return;
    // The waiting clients need the descriptors more.
    this.engine.pipes.close();
    this.#full(this.engine.left);
  }

  /** Stops to accept until the next client leaves. */
  #waitForPlace(): void {
    const { engine, places } = this;
    if (places === undefined) return;
    engine.remove(this);
    this.#waiting = true;
    places.whenFree(() => {
      this.#waiting = false;
      if (!this.#closed) this.#watchAgain();
    });
    this.onFull?.();
    this.#full(places.left);
    // Keep the timer across waits, so that short waits set no new timers.
    this.#timer ??= engine.hostLoop.after(paceMillis, this.#lookAtWait);
  }

  readonly #lookAtWait = (): void => {
    this.#timer = undefined;
    if (!this.#waiting || this.places === undefined) return;
    this.#timer = this.engine.hostLoop.after(paceMillis, this.#lookAtWait);
    this.#full(this.places.left);
  };

  #resume(): void {
    this.#timer = undefined;
    this.#watchAgain();
  }

  #watchAgain(): void {
    const result = this.start();
    // Where even this fails the kernel is out of memory, and it pauses again; or the engine was shut down.
    if (result < 0 && result !== -EBADF) this.#failed(result);
  }

  onRound(): void {}

  /** After an exception in a callback the listener goes on. */
  onFault(): void {}

  /**
   * Accepts the clients in the kernel's queue, which has `backlog` places, and then closes: closing at once would reset
   * them, though they are connected already.
   */
  drain(backlog: number, onClosed: () => void): void {
    // The kernel lets one more wait than it was asked for.
    let left = backlog + 1;
    const proceed = (): void => {
      let result: Result = 0;
      try {
        result = this.#take(Math.min(left, acceptsPerTurn));
      } catch (fault) {
        this.engine.faults.caught(this, fault);
      }
      left -= acceptsPerTurn;
      if (result === 0 && left > 0 && !this.#closed) this.engine.hostLoop.soon(proceed);
      else {
        this.close();
        onClosed();
      }
    };
    proceed();
  }

  /** Closes at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.places?.whenFree(undefined);
    this.engine.close(this);
    if (this.#spare >= 0) this.engine.libc.close(this.#spare);
    this.#spare = -EMFILE;
  }
}
