/**
 * One epoll descriptor and what is watched with it. Everything here runs in turns of Node's loop, on the thread of
 * the fibers, and no turn does more than a bounded amount of work.
 */
import {
  addressSize,
  type Block,
  EBADF,
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
} from "./Libc.js";
import { Pipes } from "./Pipes.js";
import type { Timer, Service as WakeupService } from "./Wakeup.js";

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

/** Something that had more to do than one turn allows. */
export interface Unfinished {
  readonly proceed: () => void;
  readonly onFault: () => void;
}

/** Something with a time limit. The rest is the engine's. */
export interface Expiring {
  readonly expire: () => void;
  deadline: number;
  earlier: Expiring | undefined;
  later: Expiring | undefined;
}

/** Events taken in one turn. */
const eventsPerTurn = 512;

/**
 * After a batch of at least so many events a turn looks for more: meanwhile others have come, and to look costs less
 * than the way back through Node's loop.
 */
const worthAnotherLook = 3;

/** For how long a turn goes on looking, in milliseconds. */
const lookingMillis = 1;

/** From one round over all that is watched to the next, in milliseconds. */
const roundMillis = 2_000;

/** Places looked into in one turn of a round. */
const placesPerTurn = 512;

/** What is read at once where bytes are copied, in bytes. */
export const copied = 64 * 1024;

/** Where edges are watched for, both of them, and the rest of what the kernel tells. */
export const readable = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;
export const readableAndWritable = readable | EPOLLOUT;

/** Why an engine could not be started, in the words of the system call that refused. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}

export class Engine {
  /** Through which all bytes go that are copied. Nothing is in it between two calls. */
  readonly buffer: Block;
  readonly pipes: Pipes;
  /** For addresses that the kernel tells. Nothing is in it between two calls. */
  readonly address: Block;
  /** Clients connected now. */
  clients = 0;
  /** Exceptions that were caught. Zero, if nothing here is wrong. */
  faults = 0;

  readonly #epoll: number;
  readonly #events: Block;
  readonly #words: Uint32Array;
  readonly #table: Array<Watched | undefined> = [];
  readonly #watch: { readonly close: () => void };
  #incarnation = 0;
  #unfinished: Array<Unfinished> = [];
  #proceeding: Array<Unfinished> = [];
  #turnIsDue = false;
  #closed = false;
  #earliest: Expiring | undefined;
  #latest: Expiring | undefined;
  #round: Timer | undefined;
  #timer: Timer | undefined;
  /** When it comes; of no meaning without it. */
  #timerDue = 0;

  /** Throws where the kernel or the loop refuses. */
  constructor(
    readonly libc: LibcService,
    readonly wakeup: WakeupService,
    /** How many clients may be connected at once, with room for a backend each. */
    readonly capacity: number,
    /** Told of every exception that was caught. */
    readonly report: (fault: unknown) => void,
  ) {
    this.buffer = libc.allocate(copied);
    this.pipes = new Pipes(libc);
    this.address = libc.allocate(addressSize);
    this.#events = libc.allocate(4 * epollEvent.words * eventsPerTurn);
    const { buffer, byteOffset } = this.#events.bytes;
    this.#words = new Uint32Array(buffer, byteOffset, epollEvent.words * eventsPerTurn);
    this.#epoll = libc.epollCreate();
    if (this.#epoll < 0) throw new EngineError(`epoll_create1 failed (${errnoName(this.#epoll)})`);
    try {
      this.#watch = wakeup.watch(this.#epoll, () => this.#turn());
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
    this.#round ??= this.wakeup.after(roundMillis, this.#goRound);
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
   * Closes the descriptor; the kernel forgets what was watched. An event for it that was already taken finds nobody,
   * or another incarnation.
   */
  close(watched: Watched): void {
    if (this.#table[watched.fd] === watched) this.#table[watched.fd] = undefined;
    this.libc.close(watched.fd);
  }

  /** Goes on with it in the next turn. */
  later(unfinished: Unfinished): void {
    this.#unfinished.push(unfinished);
    if (this.#turnIsDue) return;
    this.#turnIsDue = true;
    this.wakeup.soon(this.#proceed);
  }

  /** Calls `expire` after so many milliseconds, unless {@link forget} comes first. */
  expireAfter(expiring: Expiring, millis: number): void {
    const deadline = this.wakeup.now() + millis;
    expiring.deadline = deadline;
    // Nearly always all limits are equal, and the newest belongs at the end.
    let before = this.#latest;
    while (before !== undefined && before.deadline > deadline) before = before.earlier;
    const after = before === undefined ? this.#earliest : before.later;
    expiring.earlier = before;
    expiring.later = after;
    if (before === undefined) this.#earliest = expiring;
    else before.later = expiring;
    if (after === undefined) this.#latest = expiring;
    else after.earlier = expiring;
    if (before === undefined) this.#wakeAt(deadline, millis);
  }

  forget(expiring: Expiring): void {
    const { earlier, later } = expiring;
    if (earlier === undefined) {
      if (this.#earliest !== expiring) return;
      this.#earliest = later;
    } else earlier.later = later;
    if (later === undefined) this.#latest = earlier;
    else later.earlier = earlier;
    expiring.earlier = undefined;
    expiring.later = undefined;
    // The timer stays set: the next one needs it, and if there is none it comes for nothing, once.
  }

  /** Ends everything: what is watched is told as after a fault, and no turn comes any more. */
  shutdown(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#round?.cancel();
    this.#timer?.cancel();
    for (const watched of [...this.#table]) {
      if (watched !== undefined) this.#abort(watched);
    }
    this.#watch.close();
    this.pipes.close();
    this.libc.close(this.#epoll);
  }

  readonly #proceed = (): void => {
    this.#turnIsDue = false;
    if (this.#closed) return;
    const proceeding = this.#unfinished;
    this.#unfinished = this.#proceeding;
    this.#proceeding = proceeding;
    for (const unfinished of proceeding) {
      try {
        unfinished.proceed();
      } catch (fault) {
        this.fault(unfinished, fault);
      }
    }
    proceeding.length = 0;
  };

  /** A round goes on for as many turns as it takes, and there is another one if it met anybody. */
  readonly #goRound = (): void => {
    let place = 0;
    let met = false;
    const proceed = (): void => {
      if (this.#closed) return;
      const end = Math.min(place + placesPerTurn, this.#table.length);
      for (; place < end; place++) {
        const watched = this.#table[place];
        if (watched === undefined) continue;
        met = true;
        try {
          watched.onRound();
        } catch (fault) {
          this.fault(watched, fault);
        }
      }
      if (place < this.#table.length) this.wakeup.soon(proceed);
      else this.#round = met ? this.wakeup.after(roundMillis, this.#goRound) : undefined;
    };
    proceed();
  };

  #turn(): void {
    if (this.#closed) return;
    const { libc, wakeup } = this;
    const words = this.#words;
    const until = wakeup.now() + lookingMillis;
    let left = eventsPerTurn;
    for (;;) {
      // After EINTR the descriptor is still readable, and the loop comes back.
      const count = libc.epollWait(this.#epoll, this.#events, left, 0);
      for (let i = 0, at = 0; i < count; i++, at += epollEvent.words) {
        // Inside the array, which the kernel filled this far.
        const watched = this.#table[words[at + epollEvent.fd] as number];
        if (watched === undefined || watched.incarnation !== words[at + epollEvent.incarnation]) continue;
        try {
          watched.onEvents(words[at + epollEvent.events] as number);
        } catch (fault) {
          this.fault(watched, fault);
        }
      }
      left -= count;
      if (count < worthAnotherLook || left <= 0 || this.#closed || wakeup.now() >= until) return;
    }
  }

  /** Sees to it that the timer comes no later than that. */
  #wakeAt(deadline: number, millis: number): void {
    if (this.#timer !== undefined) {
      if (this.#timerDue <= deadline) return;
      this.#timer.cancel();
    }
    this.#timerDue = deadline;
    this.#timer = this.wakeup.after(millis, this.#expire);
  }

  readonly #expire = (): void => {
    this.#timer = undefined;
    const now = this.wakeup.now();
    for (;;) {
      const first = this.#earliest;
      if (first === undefined) return;
      // Timers are set in whole milliseconds and may be early by a part of one.
      if (first.deadline > now) {
        this.#wakeAt(first.deadline, Math.max(1, first.deadline - now));
        return;
      }
      this.forget(first);
      try {
        first.expire();
      } catch (fault) {
        this.faults += 1;
        this.report(fault);
      }
    }
  };

  /** Something was thrown in a callback of the culprit's: it ends, and nobody else. */
  fault(culprit: { readonly onFault: () => void }, fault: unknown): void {
    this.faults += 1;
    this.#abort(culprit);
    this.report(fault);
  }

  #abort(culprit: { readonly onFault: () => void }): void {
    try {
      culprit.onFault();
    } catch (second) {
      this.faults += 1;
      this.report(second);
    }
  }
}
