/**
 * One epoll descriptor, what is watched with it, and what all connections on it share. Everything here runs on one
 * thread, in turns that the scheduler keeps short: in Node's loop between fibers, or in a data thread's own loop.
 */
import { Deadlines } from "../../clock/Deadlines.js";
import type * as SourceTurns from "../SourceTurns.js";
import { CallbackFaults } from "./CallbackFaults.js";
import type { Service as HostLoopService, Timer } from "./HostLoop.js";
import {
  addressSize,
  type Block,
  EBADF,
  EINTR,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  epollEvent,
  errnoName,
  type Service as LibcService,
  type Result,
  tcpInfo,
} from "./Libc.js";
import { Pipes, pipeBytes } from "./Pipes.js";
import * as Sources from "./Sources.js";
import { type Source, type Task, TurnScheduler } from "./TurnScheduler.js";

/** Something with a descriptor that events come for. */
export interface Watched {
  readonly fd: number;
  /** The engine's: tells this use of the descriptor's number from those before and after it. */
  incarnation: number;
  /** EPOLLIN, EPOLLOUT and so on. */
  readonly onEvents: (events: number) => void;
  /** Comes about every two seconds for as long as it is watched. */
  readonly onRound: () => void;
  /** It threw. It has to end what it does, and close its descriptor. */
  readonly onFault: () => void;
}

/** Events that the kernel is asked for at once. */
const eventsPerLook = 512;

/** How many events are handled between two readings of the clock. */
const eventsPerReading = 16;

/**
 * After at least this many events the kernel is asked once more: meanwhile others have come, and to ask costs less than
 * the way back through Node's loop.
 */
const worthAnotherLook = 3;

/** From one round over all that is watched to the next, in milliseconds. */
export const roundMillis = 2_000;

/** Places of the table in one slice of a round. */
const placesPerSlice = 256;

/** What is read at once where bytes are copied, in bytes. */
export const copied = 64 * 1024;

/** Where edges are watched for, both of them, and the rest of what the kernel tells. */
export const readable = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;
export const readableAndWritable = readable | EPOLLOUT;
/** Where only an error is waited for, which the kernel tells in any case. */
export const brokenOff = EPOLLET;

/** Why an engine could not be started, in the words of the system call that refused. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}

export class Engine implements Source {
  /** The scheduler's. */
  pending = false;
  /** Through which all bytes go that are copied. Nothing is in it between two calls. */
  readonly buffer: Block;
  readonly pipes: Pipes;
  readonly faults: CallbackFaults;
  readonly scheduler: TurnScheduler;
  readonly connectDeadlines: Deadlines;
  /** Apart, so that the shorter of the two limits is not sorted in behind everybody with the longer one. */
  readonly headDeadlines: Deadlines;
  /** For addresses that the kernel tells. Nothing is in it between two calls. */
  readonly address: Block;
  /** For what the kernel knows of a connection. Nothing is in it between two calls. */
  readonly info: Block;
  /**
   * Where the descriptor is recorded whose events are being handled, readable by other threads if the memory is shared.
   */
  handling: Int32Array = new Int32Array(1);
  /** Clients connected now. */
  clients = 0;
  /** Clients that have left since the start. */
  left = 0;

  /** What its sockets connect from; undefined where the kernel chooses. */
  readonly sources: SourceTurns.Sources<Sources.Source> | undefined;
  readonly #epoll: number;
  readonly #events: Block;
  readonly #words: Uint32Array;
  readonly #table: Array<Watched | undefined> = [];
  readonly #watch: { readonly close: () => void };
  #incarnation = 0;
  /** Unhandled events: [`#at`, `#end`) of `#words`, in 32-bit words. */
  #at = 0;
  #end = 0;
  /** Events since the last look at the clock. */
  #handled = 0;
  #closed = false;
  /** A round is under way, or its timer is set. */
  #rounds = false;
  #roundTimer: Timer | undefined;
  readonly #round: Task = { proceed: () => this.#goRound(), onFault: () => {} };
  /** The next index of the table in this round, and whether an entry was found before it. */
  #place = 0;
  #met = false;

  /** Throws where the kernel or the loop refuses. */
  constructor(
    readonly libc: LibcService,
    readonly hostLoop: HostLoopService,
    /** How many clients may be connected at once, with room for a backend each. */
    readonly capacity: number,
    /** Called for every exception that was caught. Must not throw. */
    report: (fault: unknown) => void,
    /** The most that its pipes may hold, in bytes. All engines of a process share what the kernel lets it have. */
    pipeBudget = pipeBytes,
    /**
     * Whether clients' sockets have SO_LINGER from their listener, so that they are reset when this process is killed.
     */
    readonly resetsOnCrash = true,
    /** Addresses of this host to connect from. */
    readonly sourceHosts: ReadonlyArray<string> = [],
  ) {
    this.sources = Sources.make(libc, sourceHosts);
    this.faults = new CallbackFaults(report);
    this.scheduler = new TurnScheduler(hostLoop, this.faults);
    const deadlines = () =>
      new Deadlines(
        { now: hostLoop.now, after: hostLoop.after, afterInput: (task) => this.scheduler.afterInput(task) },
        (fault) => this.faults.record(fault),
      );
    this.connectDeadlines = deadlines();
    this.headDeadlines = deadlines();
    this.buffer = libc.allocate(copied);
    this.pipes = new Pipes(libc, hostLoop.now, pipeBudget);
    this.address = libc.allocate(addressSize);
    this.info = libc.allocate(tcpInfo.size);
    this.#events = libc.allocate(4 * epollEvent.words * eventsPerLook);
    const { buffer, byteOffset } = this.#events.bytes;
    this.#words = new Uint32Array(buffer, byteOffset, epollEvent.words * eventsPerLook);
    this.#epoll = libc.epollCreate();
    if (this.#epoll < 0) throw new EngineError(`epoll_create1 failed (${errnoName(this.#epoll)})`);
    try {
      this.#watch = hostLoop.watch(this.#epoll, () => this.scheduler.wake(this));
      this.scheduler.register(this);
    } catch (cause) {
      libc.close(this.#epoll);
      throw cause;
    }
  }

  /** Starts to watch; events that are already due come in the next turn. */
  add(watched: Watched, events: number): Result {
    if (this.#closed) return -EBADF;
    this.#incarnation = (this.#incarnation + 1) >>> 0;
    watched.incarnation = this.#incarnation;
    const result = this.libc.epollControl(
      this.#epoll,
      EPOLL_CTL_ADD,
      watched.fd,
      events,
      watched.incarnation,
    );
    if (result === 0) this.track(watched);
    return result;
  }

  /** Rounds come for it, and the end at shutdown, also without events. Until it is closed or removed. */
  track(watched: Watched): void {
    this.#table[watched.fd] = watched;
    if (this.#rounds) return;
    this.#rounds = true;
    this.#roundTimer = this.hostLoop.after(roundMillis, this.#startRound);
  }

  /** Stops to watch; the descriptor stays open. */
  remove(watched: Watched): void {
    this.#table[watched.fd] = undefined;
    this.libc.epollControl(this.#epoll, EPOLL_CTL_DEL, watched.fd, 0, 0);
  }

  /** Changes what is watched for; of that, what is already due comes in the next turn. */
  modify(watched: Watched, events: number): Result {
    return this.libc.epollControl(this.#epoll, EPOLL_CTL_MOD, watched.fd, events, watched.incarnation);
  }

  /**
   * Closes the descriptor; the kernel forgets what was watched. An event for it that was already taken finds no entry,
   * or another incarnation.
   */
  close(watched: Watched): void {
    if (this.#table[watched.fd] === watched) this.#table[watched.fd] = undefined;
    this.libc.close(watched.fd);
  }

  /** Ends everything: whatever is watched ends as after a fault, and no turn comes any more. */
  shutdown(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.scheduler.close();
    this.#roundTimer?.cancel();
    this.connectDeadlines.close();
    this.headDeadlines.close();
    for (const watched of [...this.#table]) {
      if (watched !== undefined) this.faults.end(watched);
    }
    this.#watch.close();
    this.pipes.close();
    this.libc.close(this.#epoll);
  }

  /**
   * Waits in the kernel for events, at most this many milliseconds, and handles them. For the loop of a thread that
   * does nothing else.
   */
  wait(millis: number): void {
    // What is at hand is handled first.
    if (this.#at < this.#end || this.#look(millis) > 0) this.scheduler.wake(this);
  }

  poll(): boolean {
    for (;;) {
      if (this.#at === this.#end) {
        const count = this.#look(0);
        if (count <= 0) return count === -EINTR;
      }
      const batch = this.#end / epollEvent.words;
      if (!this.#handle()) return true;
      // Then the kernel has to say that there is no more.
      if (batch === eventsPerLook || this.scheduler.reading) return true;
      // Where bulk waits, the kernel is asked again after its next slice.
      if (batch < worthAnotherLook || this.scheduler.busy || this.#spent()) return false;
    }
  }

  /** Asks the kernel for events. */
  #look(timeoutMillis: number): Result {
    if (this.#closed) return 0;
    const count = this.libc.epollWait(this.#epoll, this.#events, eventsPerLook, timeoutMillis);
    this.#at = 0;
    this.#end = count > 0 ? count * epollEvent.words : 0;
    return count;
  }

  /** Handles the events at hand; false where the turn's time was over before their end. */
  #handle(): boolean {
    const words = this.#words;
    while (this.#at < this.#end) {
      const at = this.#at;
      this.#at = at + epollEvent.words;
      // Inside the array, which the kernel filled this far.
      const watched = this.#table[words[at + epollEvent.fd] as number];
      if (watched === undefined || watched.incarnation !== words[at + epollEvent.incarnation]) continue;
      this.handling[0] = watched.fd;
      try {
        watched.onEvents(words[at + epollEvent.events] as number);
      } catch (fault) {
        this.faults.caught(watched, fault);
      }
      this.#handled += 1;
      if (this.#spent()) return this.#at === this.#end;
    }
    return true;
  }

  /** Whether the turn's time is over; the clock is looked at after so many events. */
  #spent(): boolean {
    if (this.#handled < eventsPerReading) return false;
    this.#handled = 0;
    return this.scheduler.spent();
  }

  readonly #startRound = (): void => {
    this.#roundTimer = undefined;
    this.#place = 0;
    this.#met = false;
    this.scheduler.later(this.#round);
  };

  /** There is another round if this one found an entry. */
  #goRound(): void {
    const end = Math.min(this.#place + placesPerSlice, this.#table.length);
    while (this.#place < end) {
      const watched = this.#table[this.#place++];
      if (watched === undefined) continue;
      this.#met = true;
      try {
        watched.onRound();
      } catch (fault) {
        this.faults.caught(watched, fault);
      }
    }
    if (this.#place < this.#table.length) this.scheduler.later(this.#round);
    else if (this.#met) this.#roundTimer = this.hostLoop.after(roundMillis, this.#startRound);
    else this.#rounds = false;
  }
}
