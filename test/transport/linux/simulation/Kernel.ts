/**
 * What the Linux transport uses of Linux, in a model: TCP sockets, pipes, epoll, descriptors with the lowest free
 * number, and errors. When something happens, and how much of it, is chosen by a seed.
 *
 * What it follows is in net/ipv4/tcp.c (tcp_recvmsg, tcp_sendmsg, tcp_poll), net/ipv4/tcp_input.c (tcp_reset),
 * fs/splice.c and fs/eventpoll.c of Linux. Where Linux promises something the model does no worse: a socket that
 * answers a read with less than was asked for had no more at that moment. Where it does not, the model does its worst.
 */

import type { EventCounters } from "../../../../src/transport/linux/EventCounter.js";
import type { Service as HostLoopService } from "../../../../src/transport/linux/HostLoop.js";
import {
  type Block,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EBUSY,
  ECONNABORTED,
  ECONNREFUSED,
  ECONNRESET,
  EHOSTUNREACH,
  EINPROGRESS,
  EINTR,
  EMFILE,
  ENETUNREACH,
  ENFILE,
  ENOBUFS,
  ENOENT,
  ENOMEM,
  ENOPROTOOPT,
  ENOSPC,
  ENOTCONN,
  ENOTSOCK,
  EPERM,
  EPIPE,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  EPROTO,
  ETIMEDOUT,
  epollEvent,
  type Service as LibcService,
  type Result,
  tcpInfo,
  writeAddress,
} from "../../../../src/transport/linux/Libc.js";
import type { TcpInfo } from "../../../../src/transport/linux/TcpInfo.js";
import type { Peer } from "./Peer.js";
import type { Random } from "./Random.js";
import type { Stream } from "./Stream.js";

/** Calls in a turn of the loop: a millisecond of them, what one slice and one batch of events take, and what sockets end. */
const mostCalls = 2_000;

/** The model has found the transport to do what it must not. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Bytes of a stream, in a pipe. */
interface Span {
  readonly stream: Stream;
  readonly from: number;
  readonly length: number;
}

interface Interest {
  readonly epoll: Epoll;
  events: number;
  readonly incarnation: number;
}

abstract class Descriptor {
  interest: Interest | undefined;
  /** What poll would answer now. */
  abstract poll(): number;
  abstract close(): void;
}

class Tcp extends Descriptor {
  peer: Peer | undefined;
  state: "new" | "connecting" | "established" | "dead" = "new";
  /** Received and not read. */
  received = 0;
  /** Read by the process. */
  taken = 0;
  /** Urgent data is due before this byte of the stream. */
  urgent: number | undefined;
  finReceived = false;
  error = 0;
  shut = false;
  linger = false;
  /** What epoll said of it last. */
  mask = 0;
  /** Bytes were written of which the last may be kept back until more follows. */
  heldBack = false;
  /** Sent, and not yet read by the peer. */
  queued = 0;
  /** It has an address to connect from. */
  bound = false;
  /** Its connection was made while the process had stalled. */
  answeredInStall = false;
  /** The process was told so. */
  reported = false;
  /** What TCP_INFO says of it. */
  info: Omit<TcpInfo, "state" | "sinceDataMillis"> = {
    sinceAckMillis: 0,
    unacked: 0,
    retransmits: 0,
    probes: 0,
  };
  /** A write found no room: an event is due when there is some. */
  noSpace = false;

  constructor(
    readonly kernel: Kernel,
    readonly receiveBuffer: number,
    readonly sendBuffer: number,
  ) {
    super();
  }

  poll(): number {
    let mask = 0;
    const dead = this.state === "dead";
    if (this.state === "new" || dead || (this.shut && this.finReceived)) mask |= EPOLLHUP;
    if (this.finReceived || dead) mask |= EPOLLIN | EPOLLRDHUP;
    if (this.state === "established" || dead) {
      if (this.received > 0) mask |= EPOLLIN;
      if (this.urgent !== undefined) mask |= EPOLLPRI;
      if (this.shut || dead || this.queued * 2 <= this.sendBuffer) mask |= EPOLLOUT;
    }
    if (this.error !== 0) mask |= EPOLLERR;
    return mask;
  }

  takeError(): number {
    const { error } = this;
    this.error = 0;
    return error;
  }

  /** The peer broke off, or does not answer any more. */
  reset(): void {
    if (this.state === "dead") return;
    this.error = this.kernel.random.oneIn(4) ? ETIMEDOUT : this.finReceived ? EPIPE : ECONNRESET;
    this.state = "dead";
    this.queued = 0;
    this.kernel.wake(this);
  }

  /** What a read finds when there are no bytes. */
  empty(): Result {
    if (this.finReceived) return 0;
    if (this.error !== 0) return -this.takeError();
    if (this.state === "dead") return 0;
    return this.state === "established" ? -EAGAIN : -ENOTCONN;
  }

  /** Bytes that can be taken at once: not past urgent data, which a read that starts there has behind it. */
  available(most: number, reading: boolean): number {
    if (reading && this.urgent === this.taken) this.urgent = undefined;
    return Math.min(most, this.received, (this.urgent ?? Number.POSITIVE_INFINITY) - this.taken);
  }

  /** These bytes are the process's. */
  take(length: number): void {
    this.received -= length;
    this.taken += length;
  }

  /** Why nothing can be written; 0 when it can be tried. */
  refusal(): Result {
    if (this.error !== 0) return -this.takeError();
    if (this.shut || this.state === "dead") return -EPIPE;
    return this.state === "established" ? 0 : -ENOTCONN;
  }

  room(): number {
    return Math.max(0, this.sendBuffer - this.queued);
  }

  full(): Result {
    this.noSpace = true;
    return -EAGAIN;
  }

  close(): void {
    const { peer } = this;
    if (peer === undefined || this.state === "new" || this.state === "connecting") return;
    if (this.state === "dead") return;
    this.state = "dead";
    // tcp_close: with unread data, or without time to linger, there is no orderly end.
    if (this.linger || this.received > 0) {
      peer.resetArrived = true;
    } else if (!this.shut) {
      this.finish();
    }
  }

  /** FIN, behind all that was sent. */
  finish(): void {
    this.shut = true;
    const { peer } = this;
    if (peer === undefined) return;
    const whole = peer.expects === undefined ? undefined : this.kernel.senderOf(peer);
    if (whole !== undefined && !(whole.finSent && peer.position === whole.sent)) {
      throw new Violation(`FIN reached the ${peer.name} after ${peer.arrived} of ${whole.sent} bytes`);
    }
    peer.finArrived = true;
  }

  /** Bytes for the peer, checked as they come. */
  arrive(length: number): void {
    const { peer } = this;
    this.queued += length;
    if (peer === undefined) return;
    peer.arrived += length;
    peer.waiting += length;
  }
}

class Listening extends Descriptor {
  readonly pending: Array<Peer> = [];
  poll(): number {
    return this.pending.length > 0 ? EPOLLIN : 0;
  }
  close(): void {}
}

interface Contents {
  readonly spans: Array<Span>;
  filled: number;
  size: number;
}

/** Takes so many bytes out of a pipe, which holds as many. */
const takeSpans = (pipe: Contents, length: number): ReadonlyArray<Span> => {
  const taken: Array<Span> = [];
  pipe.filled -= length;
  for (let left = length; left > 0; ) {
    const span = pipe.spans.shift();
    if (span === undefined) break;
    const part = Math.min(left, span.length);
    taken.push({ ...span, length: part });
    if (part < span.length) {
      pipe.spans.unshift({ stream: span.stream, from: span.from + part, length: span.length - part });
    }
    left -= part;
  }
  return taken;
};

/** A pipe's two ends share it. */
class PipeEnd extends Descriptor {
  constructor(
    readonly pipe: Contents,
    readonly reads: boolean,
  ) {
    super();
  }
  poll(): number {
    return 0;
  }
  close(): void {}
}

class Epoll extends Descriptor {
  constructor(readonly kernel: Kernel) {
    super();
  }
  /** Those that may have something to tell, in the order in which they were woken. */
  readonly ready = new Set<Descriptor>();
  poll(): number {
    return 0;
  }
  close(): void {
    if (this.kernel.watches(this)) throw new Violation("epoll was closed while the loop was watching it");
  }
}

/** An event counter, by which threads wake each other. */
class Counter extends Descriptor {
  raised = false;
  poll(): number {
    return this.raised ? EPOLLIN : 0;
  }
  close(): void {}
}

/** What else the loop turns beside epoll. */
export interface Beside {
  readonly busy: () => boolean;
  readonly turn: () => void;
  /** The process is about to close this descriptor. */
  readonly closing: (fd: number) => void;
}

export class Kernel {
  besides: Beside | undefined;
  /** Ends that the process was told. */
  ends = 0;
  readonly #descriptors = new Map<number, Descriptor>();
  readonly #numbers = new Map<Descriptor, number>();
  readonly #senders = new Map<Peer, Peer>();
  readonly #soon: Array<() => void> = [];
  readonly #timers: Array<{ at: number; task: () => void }> = [];
  /** The loop's; others are of threads that wait in their own. */
  #epoll: Epoll | undefined;
  /** Event counters that the loop watches, and whom it calls. */
  readonly #counters = new Map<Counter, () => void>();
  #onReadable: (() => void) | undefined;
  #now = 0;
  #connecting: Array<Tcp> = [];
  /** Calls made in this turn, to see that none does too much. */
  calls = 0;
  /** Whether sockets have to be bound before they connect. */
  sourced = false;
  /** What was closed last had connected during a stall, and the process was not told. */
  answerLost = false;
  /** How long a call takes, in milliseconds. */
  callMillis = 0;
  /** The buffers of sockets from now on, in bytes, where they are not to be left to chance. */
  buffers: number | undefined;
  /** What happened, for whoever looks for the reason. Kept only when it is wanted. */
  readonly log: Array<string> | undefined;

  constructor(
    readonly random: Random,
    /** Once in so many calls there is an error for no reason; 0 for never, and for backends that all can be had. */
    readonly troubles: number,
    /** Descriptors that the process may have. */
    readonly limit: number,
    /** Who is connected to. */
    readonly backend: () => Peer,
    logged: boolean,
  ) {
    this.log = logged ? [] : undefined;
  }

  /** Whose bytes a peer is sent. */
  senderOf(peer: Peer): Peer | undefined {
    return this.#senders.get(peer);
  }

  pair(one: Peer, other: Peer): void {
    one.expects = other.stream;
    one.awaited = other.total;
    other.expects = one.stream;
    other.awaited = one.total;
    this.#senders.set(one, other);
    this.#senders.set(other, one);
  }

  /** Bytes that the process has read from this descriptor's peer, and that peer. */
  peerOf(fd: number): { readonly peer: Peer; readonly socket: { readonly taken: number } } | undefined {
    const found = this.#descriptors.get(fd);
    return found instanceof Tcp && found.peer !== undefined ? { peer: found.peer, socket: found } : undefined;
  }

  /** What TCP_INFO says of a connection from now on. */
  inform(fd: number, info: Tcp["info"]): void {
    this.#get(fd, Tcp, "TCP_INFO").info = info;
  }

  /** What poll would answer for a descriptor. */
  poll(fd: number): number {
    return this.#get(fd, Tcp, "poll").poll();
  }

  get watching(): boolean {
    return this.#onReadable !== undefined;
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.length;
  }

  get open(): number {
    return this.#descriptors.size;
  }

  listening(): { readonly fd: number; readonly connect: (peer: Peer) => void } {
    const listening = new Listening();
    const fd = this.#add(listening);
    return {
      fd,
      connect: (peer) => {
        listening.pending.push(peer);
        this.wake(listening);
      },
    };
  }

  #trouble(...errors: readonly [number, ...Array<number>]): Result {
    if (this.troubles === 0 || !this.random.oneIn(this.troubles)) return 0;
    return -this.random.pick(errors);
  }

  /** As {@link #trouble}, but it may be the end of this socket's connection, for which its peer has to do nothing. */
  #harm(socket: Descriptor, ...errors: readonly [number, ...Array<number>]): Result {
    if (this.troubles === 0 || !this.random.oneIn(8)) return 0;
    const trouble = this.#trouble(...errors);
    if (trouble < 0 && socket instanceof Tcp && socket.peer !== undefined) socket.peer.harmed = true;
    return trouble;
  }

  #called(what: string, result: Result): Result {
    this.log?.push(`  ${what} = ${result}`);
    return result;
  }

  #add(descriptor: Descriptor): number {
    let fd = 3;
    while (this.#descriptors.has(fd)) fd++;
    if (this.#descriptors.size >= this.limit) return -EMFILE;
    this.#descriptors.set(fd, descriptor);
    this.#numbers.set(descriptor, fd);
    return fd;
  }

  #get<A extends Descriptor>(fd: number, kind: abstract new (...args: never) => A, what: string): A {
    const found = this.#descriptors.get(fd);
    if (found instanceof kind) return found;
    throw new Violation(
      `${what} of descriptor ${fd}, which ${found === undefined ? "is not open" : "is something else"}`,
    );
  }

  /** Something happened to it (ep_poll_callback). */
  wake(descriptor: Descriptor): void {
    descriptor.interest?.epoll.ready.add(descriptor);
  }

  /** Whether the loop watches it. */
  watches(epoll: unknown): boolean {
    return this.watching && epoll === this.#epoll;
  }

  /** Whether a thread that waits in this epoll descriptor would be woken. */
  wakes(epoll: number): boolean {
    return this.#hasEvents(this.#get(epoll, Epoll, "epoll_wait"));
  }

  /** Whether an event counter is above zero. */
  raised(counter: number): boolean {
    return this.#get(counter, Counter, "poll").raised;
  }

  readonly counters: EventCounters = {
    eventCounter: () => this.#add(new Counter()),
    raiseCounter: (fd) => {
      this.#enter();
      const counter = this.#get(fd, Counter, "write");
      counter.raised = true;
      this.wake(counter);
      return 8;
    },
    clearCounter: (fd) => {
      this.#enter();
      const counter = this.#get(fd, Counter, "read");
      const { raised } = counter;
      counter.raised = false;
      return raised ? 8 : -EAGAIN;
    },
  };

  /** Lets something happen elsewhere while the process is in a call. */
  elsewhere: () => void = () => {};

  #enter(): void {
    this.calls += 1;
    this.#now += this.callMillis;
    if (this.random.oneIn(8)) this.elsewhere();
  }

  #wire(socket: Tcp): void {
    const { peer } = socket;
    if (peer === undefined) return;
    peer.wire = {
      deliver: (_stream, _from, length) => {
        // Whoever sends to a closed socket is told off.
        if (socket.state !== "established") {
          peer.resetArrived = true;
          return 0;
        }
        const taken = Math.min(length, socket.receiveBuffer - socket.received);
        socket.received += taken;
        if (taken > 0) this.wake(socket);
        return taken;
      },
      deliverUrgent: () => {
        if (socket.state !== "established" || socket.finReceived) return;
        socket.urgent = socket.taken + socket.received;
        this.wake(socket);
      },
      deliverFin: () => {
        if (socket.state !== "established") return;
        socket.finReceived = true;
        this.wake(socket);
      },
      deliverReset: () => socket.reset(),
      drained: (length) => {
        socket.queued = Math.max(0, socket.queued - length);
        // sk_stream_write_space: only for one that was told there was no room, and when a good part of it is free.
        if (socket.noSpace && socket.queued * 2 <= socket.sendBuffer) {
          socket.noSpace = false;
          this.wake(socket);
        }
      },
    };
  }

  #buffer(): number {
    if (this.buffers !== undefined) return this.buffers;
    return this.random.pick([this.random.between(1_000, 5_000), 16_384, 100_000, 400_000]);
  }

  #newTcp(): Tcp {
    return new Tcp(this, this.#buffer(), this.#buffer());
  }

  #refused(fd: number): boolean {
    return !this.#descriptors.has(fd);
  }

  readonly libc: LibcService = {
    allocate: (size): Block => ({ bytes: new Uint8Array(size), address: 0 }),
    socket: () => {
      this.#enter();
      const trouble = this.#trouble(EMFILE, ENFILE, ENOBUFS, ENOMEM);
      return this.#called("socket", trouble < 0 ? trouble : this.#add(this.#newTcp()));
    },
    bind: (fd) => {
      this.#enter();
      const socket = this.#get(fd, Tcp, "bind");
      if (socket.state !== "new" || socket.bound)
        throw new Violation(`bind of descriptor ${fd}, which is in use`);
      const trouble = this.#trouble(EADDRNOTAVAIL, EADDRINUSE);
      if (trouble === 0) socket.bound = true;
      return this.#called("bind", trouble);
    },
    listen: () => 0,
    accept: (fd, address) => {
      this.#enter();
      const listening = this.#get(fd, Listening, "accept");
      const trouble = this.#trouble(EINTR, ECONNABORTED, EPROTO, EPERM, EMFILE, ENFILE, ENOBUFS, ENOMEM);
      if (trouble < 0) return this.#called("accept", trouble);
      const peer = listening.pending[0];
      if (peer === undefined) return this.#called("accept", -EAGAIN);
      const socket = this.#newTcp();
      const accepted = this.#add(socket);
      if (accepted < 0) return this.#called("accept", accepted);
      listening.pending.shift();
      socket.peer = peer;
      socket.state = "established";
      // Inherited from the listener.
      socket.linger = true;
      this.#wire(socket);
      writeAddress(address, { family: 2, bytes: [127, 0, 0, 1], port: 1, scope: 0 });
      // What a client does before it is accepted it has done by then.
      for (let i = this.random.below(4); i > 0; i--) peer.step();
      return this.#called("accept", accepted);
    },
    connect: (fd) => {
      this.#enter();
      const socket = this.#get(fd, Tcp, "connect");
      if (socket.state !== "new") throw new Violation(`connect of descriptor ${fd}, which is in use`);
      if (this.sourced && !socket.bound) throw new Violation(`connect of descriptor ${fd} from any address`);
      const trouble = this.#trouble(ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, EAGAIN, ENOBUFS, EINTR);
      if (trouble < 0 && trouble !== -EINTR) return this.#called("connect", trouble);
      socket.state = "connecting";
      if (trouble === 0 && this.random.oneIn(10)) {
        this.#establish(socket);
        return this.#called("connect", 0);
      }
      // Some hosts never answer.
      if (this.troubles === 0 || !this.random.oneIn(30)) this.#connecting.push(socket);
      return this.#called("connect", trouble < 0 ? trouble : -EINPROGRESS);
    },
    socketName: () => 0,
    setOption: (fd) => {
      if (this.#refused(fd)) throw new Violation(`setsockopt of descriptor ${fd}, which is not open`);
      return this.#trouble(ENOBUFS, ENOMEM);
    },
    resetOnClose: (fd, on) => {
      const found = this.#descriptors.get(fd);
      if (found !== undefined && !(found instanceof Tcp)) return -ENOTSOCK;
      this.#get(fd, Tcp, "SO_LINGER").linger = on;
      return 0;
    },
    takeError: (fd) => this.#called("SO_ERROR", this.#get(fd, Tcp, "SO_ERROR").takeError()),
    connectionInfo: (fd, { bytes }) => {
      const { info } = this.#get(fd, Tcp, "TCP_INFO");
      const view = new DataView(bytes.buffer, bytes.byteOffset, tcpInfo.size);
      view.setUint8(tcpInfo.retransmits, info.retransmits);
      view.setUint8(tcpInfo.probes, info.probes);
      view.setUint32(tcpInfo.unacked, info.unacked, true);
      view.setUint32(tcpInfo.lastAckReceived, info.sinceAckMillis, true);
      return 0;
    },
    setNonBlocking: () => 0,
    shutdown: (fd) => {
      this.#enter();
      const socket = this.#get(fd, Tcp, "shutdown");
      if (socket.state !== "established") return this.#called("shutdown", -ENOTCONN);
      const trouble = this.#harm(socket, ENOBUFS);
      if (trouble < 0) return this.#called("shutdown", trouble);
      if (socket.shut) throw new Violation(`shutdown of descriptor ${fd}, which has sent FIN`);
      socket.finish();
      socket.heldBack = false;
      if (socket.finReceived) this.wake(socket);
      return this.#called(`shutdown ${fd}`, 0);
    },
    close: (fd) => {
      this.#enter();
      const found = this.#descriptors.get(fd);
      if (found === undefined) throw new Violation(`descriptor ${fd} was closed, and is not open`);
      this.besides?.closing(fd);
      this.answerLost = found instanceof Tcp && found.answeredInStall && !found.reported;
      this.#descriptors.delete(fd);
      this.#numbers.delete(found);
      found.interest?.epoll.ready.delete(found);
      found.interest = undefined;
      found.close();
      return this.#called(`close ${fd}`, this.#trouble(EINTR));
    },
    read: (fd, block, offset, length) => {
      this.#enter();
      const socket = this.#get(fd, Tcp, "read");
      const trouble = this.#trouble(EINTR) || this.#harm(socket, ENOMEM);
      if (trouble < 0) return this.#called(`read ${fd}`, trouble);
      const taken = socket.available(length, true);
      const { peer } = socket;
      if (taken === 0) {
        const result = socket.empty();
        if (result === 0) this.#endTold(peer, "by a read");
        return this.#called(`read ${fd}`, result);
      }
      if (peer !== undefined) block.bytes.set(peer.stream.bytes(socket.taken, taken), offset);
      socket.take(taken);
      // Whoever was told of FIN and of nothing else knows by a read that comes short that this was the last.
      const knows = (socket.mask & ~(EPOLLIN | EPOLLOUT)) === EPOLLRDHUP;
      if (taken < length && knows) this.#endTold(peer, "by an event");
      return this.#called(`read ${fd}`, taken);
    },
    peek: (fd, block, length) => {
      this.#enter();
      const socket = this.#get(fd, Tcp, "peek");
      const trouble = this.#trouble(EINTR);
      if (trouble < 0) return this.#called(`peek ${fd}`, trouble);
      const there = socket.available(length, false);
      if (there === 0) return this.#called(`peek ${fd}`, socket.empty());
      if (socket.peer !== undefined) block.bytes.set(socket.peer.stream.bytes(socket.taken, there), 0);
      return this.#called(`peek ${fd}`, there);
    },
    unread: (fd) => {
      this.#enter();
      return this.#called(
        `unread ${fd}`,
        this.#get(fd, Tcp, "SIOCINQ").available(Number.POSITIVE_INFINITY, false),
      );
    },
    unacknowledged: (fd) => {
      this.#enter();
      // What was written and has not arrived, and sometimes what has and was not acknowledged yet.
      const { peer } = this.#get(fd, Tcp, "SIOCOUTQ");
      return this.#called(`unacknowledged ${fd}`, peer === undefined ? 0 : this.random.between(0, 100_000));
    },
    write: (fd, block, offset, length, more = false) => {
      this.#enter();
      const socket = this.#get(fd, Tcp, "write");
      const trouble = this.#trouble(EINTR) || this.#harm(socket, ENOBUFS, ENOMEM);
      if (trouble < 0) return this.#called(`write ${fd}`, trouble);
      const refusal = socket.refusal();
      if (refusal < 0) return this.#called(`write ${fd}`, refusal);
      let taken = Math.min(length, socket.room());
      if (taken === 0) return this.#called(`write ${fd}`, socket.full());
      if (this.random.oneIn(10)) taken = this.random.between(1, taken);
      if (taken < length) socket.noSpace = taken === socket.room();
      const { peer } = socket;
      if (peer !== undefined && !peer.awaits(block.bytes.subarray(offset, offset + taken))) {
        throw new Violation(`the ${peer.name} was written other bytes than come at ${peer.arrived}`);
      }
      socket.arrive(taken);
      socket.heldBack = more && taken === length;
      return this.#called(`write ${fd}`, taken);
    },
    sendRoom: (fd) => {
      this.#enter();
      const room = this.#get(fd, Tcp, "SO_MEMINFO").room();
      // An account of the moment, and of memory rather than bytes.
      return this.random.oneIn(8) ? this.random.pick([-ENOPROTOOPT, 0, 2 * room]) : room;
    },
    readPipe: (fd, block, offset, length) => {
      this.#enter();
      const { pipe, reads } = this.#get(fd, PipeEnd, "read");
      if (!reads) throw new Violation(`read of descriptor ${fd}, which is written to`);
      const trouble = this.#trouble(EINTR);
      if (trouble < 0) return this.#called(`read ${fd}`, trouble);
      const taken = Math.min(length, pipe.filled);
      if (taken === 0) return this.#called(`read ${fd}`, -EAGAIN);
      let at = offset;
      for (const { from, length, stream } of takeSpans(pipe, taken)) {
        block.bytes.set(stream.bytes(from, length), at);
        at += length;
      }
      return this.#called(`read ${fd}`, taken);
    },
    pipe: (ends) => {
      this.#enter();
      const trouble = this.#trouble(EMFILE, ENFILE, ENOMEM);
      if (trouble < 0) return this.#called("pipe2", trouble);
      const pipe = { spans: [], filled: 0, size: 4_096 };
      const output = this.#add(new PipeEnd(pipe, true));
      if (output < 0) return this.#called("pipe2", output);
      const input = this.#add(new PipeEnd(pipe, false));
      if (input < 0) {
        this.#forget(output);
        return this.#called("pipe2", input);
      }
      const view = new DataView(ends.bytes.buffer);
      view.setInt32(0, output, true);
      view.setInt32(4, input, true);
      return this.#called("pipe2", 0);
    },
    setPipeSize: (fd, bytes) => {
      const { pipe } = this.#get(fd, PipeEnd, "F_SETPIPE_SZ");
      const trouble = this.#trouble(EPERM, EBUSY, ENOMEM);
      if (trouble < 0) return this.#called("F_SETPIPE_SZ", trouble);
      pipe.size = bytes;
      return this.#called("F_SETPIPE_SZ", bytes);
    },
    splice: (from, to, length) => {
      this.#enter();
      const source = this.#descriptors.get(from);
      const socket = this.#get(source instanceof PipeEnd ? to : from, Tcp, "splice");
      const trouble = this.#trouble(EINTR) || this.#harm(socket, ENOMEM);
      if (trouble < 0) return this.#called(`splice ${from} ${to}`, trouble);
      const result =
        source instanceof PipeEnd
          ? this.#spliceOut(source, socket, length)
          : this.#spliceIn(socket, this.#get(to, PipeEnd, "splice"), length);
      return this.#called(`splice ${from} ${to}`, result);
    },
    epollCreate: () => {
      const epoll = new Epoll(this);
      this.#epoll ??= epoll;
      return this.#add(epoll);
    },
    epollControl: (epoll, operation, fd, events, incarnation) => {
      this.#enter();
      const watching = this.#get(epoll, Epoll, "epoll_ctl");
      const found = this.#descriptors.get(fd);
      if (found === undefined) throw new Violation(`epoll_ctl of descriptor ${fd}, which is not open`);
      if (operation === EPOLL_CTL_DEL) {
        found.interest?.epoll.ready.delete(found);
        found.interest = undefined;
        return this.#called(`epoll_ctl del ${fd}`, 0);
      }
      if (operation === EPOLL_CTL_ADD) {
        if (found.interest !== undefined) throw new Violation(`epoll_ctl add ${fd}, which it has`);
        const trouble = this.#harm(found, ENOMEM, ENOSPC);
        if (trouble < 0) return this.#called(`epoll_ctl add ${fd}`, trouble);
      } else if (found.interest === undefined) {
        return this.#called(`epoll_ctl mod ${fd}`, -ENOENT);
      } else {
        const trouble = this.#harm(found, ENOMEM);
        if (trouble < 0) return this.#called(`epoll_ctl mod ${fd}`, trouble);
      }
      found.interest = { epoll: watching, events: events >>> 0, incarnation: incarnation >>> 0 };
      if (this.#due(found) !== 0) this.wake(found);
      return this.#called(`epoll_ctl ${operation === EPOLL_CTL_ADD ? "add" : "mod"} ${fd}`, 0);
    },
    epollWait: (epoll, events, most) => {
      const waiting = this.#get(epoll, Epoll, "epoll_wait");
      const { ready } = waiting;
      for (const [fd, found] of this.#descriptors) {
        if (found instanceof Tcp && found.heldBack && found.interest?.epoll === waiting)
          throw new Violation(`bytes of descriptor ${fd} are kept back`);
      }
      const trouble = this.#trouble(EINTR);
      if (trouble < 0) return this.#called("epoll_wait", trouble);
      const words = new Uint32Array(events.bytes.buffer);
      // Now and then few at a time, so that batches differ.
      const limit = this.random.oneIn(3) ? this.random.between(1, 3) : most;
      let count = 0;
      for (const found of [...ready]) {
        if (count === limit) break;
        const mask = this.#due(found);
        const interest = found.interest;
        if (mask === 0 || interest === undefined || (interest.events & (EPOLLET >>> 0)) !== 0)
          ready.delete(found);
        if (mask === 0 || interest === undefined) continue;
        if (found instanceof Tcp) {
          found.reported = true;
          found.mask = mask;
        }
        const at = count * epollEvent.words;
        words[at + epollEvent.events] = mask;
        words[at + epollEvent.fd] = this.#numbers.get(found) ?? 0;
        words[at + epollEvent.incarnation] = interest.incarnation;
        count += 1;
        this.log?.push(`  event ${mask.toString(16)} of ${this.#numbers.get(found)}`);
      }
      return count;
    },
  };

  /** One that reads again had not looked at the event by then. */
  #endTold(peer: Peer | undefined, how: "by an event" | "by a read"): void {
    if (peer === undefined) return;
    if (peer.endTold < Number.POSITIVE_INFINITY && (how === "by an event" || !peer.endToldByEvent)) return;
    peer.endTold = this.ends++;
    peer.endToldByEvent = how === "by an event";
  }

  #forget(fd: number): void {
    const found = this.#descriptors.get(fd);
    this.#descriptors.delete(fd);
    if (found !== undefined) this.#numbers.delete(found);
  }

  #spliceIn(socket: Tcp, end: PipeEnd, length: number): Result {
    const { pipe } = end;
    if (end.reads) return -EBADF;
    let taken = Math.min(socket.available(length, false), pipe.size - pipe.filled);
    // At urgent data tcp_splice_read answers as where there is nothing more to come.
    if (taken === 0) return pipe.filled === pipe.size ? -EAGAIN : socket.empty();
    // Pages with little in them fill a pipe too.
    if (this.random.oneIn(4)) taken = this.random.between(1, taken);
    const { peer } = socket;
    if (peer !== undefined) pipe.spans.push({ stream: peer.stream, from: socket.taken, length: taken });
    pipe.filled += taken;
    socket.take(taken);
    return taken;
  }

  #spliceOut(end: PipeEnd, socket: Tcp, length: number): Result {
    const { pipe } = end;
    if (pipe.filled === 0) return -EAGAIN;
    const refusal = socket.refusal();
    if (refusal < 0) return refusal;
    let taken = Math.min(length, pipe.filled, socket.room());
    if (taken === 0) return socket.full();
    if (this.random.oneIn(4)) taken = this.random.between(1, taken);
    for (const { from, length, stream } of takeSpans(pipe, taken)) {
      const { peer } = socket;
      if (peer !== undefined && (stream !== peer.expects || from !== peer.position)) {
        throw new Violation(`the ${peer.name} was spliced other bytes than come at ${peer.arrived}`);
      }
      socket.arrive(length);
    }
    if (taken < length) socket.noSpace = socket.room() === 0;
    return taken;
  }

  #due(descriptor: Descriptor): number {
    const { interest } = descriptor;
    // Errors and hang-ups are told whether or not they were asked for.
    return interest === undefined ? 0 : descriptor.poll() & (interest.events | EPOLLERR | EPOLLHUP) & 0xffff;
  }

  readonly hostLoop: HostLoopService = {
    watch: (fd, onReadable) => {
      const found = this.#descriptors.get(fd);
      if (found instanceof Counter) {
        this.#counters.set(found, onReadable);
        return { close: () => void this.#counters.delete(found) };
      }
      this.#onReadable = onReadable;
      return {
        close: () => {
          this.#onReadable = undefined;
        },
      };
    },
    soon: (task) => {
      this.#soon.push(task);
    },
    now: () => this.#now,
    after: (millis, task) => {
      const timer = { at: this.#now + millis, task };
      this.#timers.push(timer);
      return {
        cancel: () => {
          const at = this.#timers.indexOf(timer);
          if (at >= 0) this.#timers.splice(at, 1);
        },
      };
    },
  };

  /**
   * The process does not run for so long, and then runs its timers before it looks at input, as Node's loop does.
   * Connections are made meanwhile.
   */
  stall(millis: number): void {
    this.#now += millis;
    const connecting = [...this.#connecting];
    while (this.settle()) {}
    for (const socket of connecting) socket.answeredInStall = socket.state === "established";
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    for (const timer of due) {
      const at = this.#timers.indexOf(timer);
      // One may have cancelled another.
      if (at < 0) continue;
      this.#timers.splice(at, 1);
      timer.task();
    }
  }

  /** A connection that is being made comes to something. */
  settle(): boolean {
    const socket = this.#connecting.splice(this.random.below(Math.max(1, this.#connecting.length)), 1)[0];
    if (socket === undefined) return false;
    if (socket.state !== "connecting" || !this.#numbers.has(socket)) return true;
    if (this.troubles > 0 && this.random.oneIn(6)) {
      socket.state = "dead";
      socket.error = this.random.pick([ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH]);
    } else this.#establish(socket);
    this.wake(socket);
    return true;
  }

  #establish(socket: Tcp): void {
    socket.state = "established";
    socket.peer = this.backend();
    this.#wire(socket);
  }

  /** A turn of the loop would have something to do. */
  get busy(): boolean {
    return this.#soon.length > 0 || this.#hasEvents() || this.besides?.busy() === true;
  }

  #hasEvents(epoll = this.#epoll): boolean {
    return [...(epoll?.ready ?? [])].some((found) => this.#due(found) !== 0);
  }

  /** One turn of the loop, if there is anything for it to do. */
  turn(): boolean {
    this.calls = 0;
    const tasks = this.#soon.splice(0);
    for (const task of tasks) task();
    const ready = this.watching && this.#hasEvents();
    if (ready) this.#onReadable?.();
    let raised = false;
    for (const [counter, onRaised] of [...this.#counters]) {
      if (!counter.raised || !this.#counters.has(counter)) continue;
      raised = true;
      onRaised();
    }
    const beside = this.besides?.busy() === true;
    if (beside) this.besides?.turn();
    if (this.calls > mostCalls) throw new Violation(`one turn made ${this.calls} calls`);
    return tasks.length > 0 || ready || raised || beside;
  }

  /** Time goes by, and no timer comes yet. */
  elapse(millis: number): void {
    this.#now += millis;
  }

  /** Lets time pass until the next timer. */
  pass(): boolean {
    this.#timers.sort((one, other) => one.at - other.at);
    const next = this.#timers.shift();
    if (next === undefined) return false;
    this.#now = Math.max(this.#now, next.at);
    next.task();
    return true;
  }
}
