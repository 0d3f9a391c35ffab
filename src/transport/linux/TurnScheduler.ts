/**
 * Shares the time of Node's loop between what the transport has to do. A turn takes a millisecond at most, whatever
 * waits: first what has come (clients, small traffic, ends of connections), then a slice of bulk, then what has come
 * meanwhile, and so on. So bulk delays everything else by one slice, and Node's own input by one turn.
 */
import type { CallbackFaults } from "./CallbackFaults.js";
import type { Service as HostLoop } from "./HostLoop.js";

/** Where input comes from: an epoll descriptor, or a ring. */
export interface Source {
  /** The scheduler's: to be polled in the next turn. */
  pending: boolean;
  /**
   * Handles what has arrived, until there is no more or {@link TurnScheduler.spent} is true. Returns whether there is
   * more. Catches what callbacks throw.
   */
  readonly poll: () => boolean;
}

/** Work that is done in slices. */
export interface Task {
  /** Does one slice; calls {@link TurnScheduler.later} again where more is left. */
  readonly proceed: () => void;
  /** It threw. It has to end what it does. */
  readonly onFault: () => void;
}

/** After this many turns, the tasks of `afterInput` run even if input is still pending. */
const mostInputTurns = 100;

/** For how long a turn goes on, in milliseconds. A slice or a batch of events that has begun is finished. */
const turnMillis = 1;

const isPending = (source: Source): boolean => source.pending;

const makePending = (source: Source): void => {
  source.pending = true;
};

export class TurnScheduler {
  readonly #hostLoop: HostLoop;
  readonly #faults: CallbackFaults;
  readonly #sources: Array<Source> = [];
  /** Replaced where it changes: it is gone through in every turn. */
  #beforeInput: ReadonlyArray<() => void> = [];
  /** Tasks in the order of their turns: those of `#current` from `#at` on, then those of `#next`. */
  #current: Array<Task> = [];
  #at = 0;
  #next: Array<Task> = [];
  /** When the time of the present turn is over; of no meaning before it was started. */
  #until = 0;
  /** The time of the present turn was started. */
  #timed = false;
  /** What waits for input to be handled, the sources that were not polled to their end yet, and turns to go. */
  #afterInput: Array<() => void> = [];
  readonly #unread = new Set<Source>();
  #inputTurns = 0;
  #turning = false;
  /** A turn was asked of the loop. */
  #requested = false;
  #closed = false;

  constructor(hostLoop: HostLoop, faults: CallbackFaults) {
    this.#hostLoop = hostLoop;
    this.#faults = faults;
  }

  /** The source is polled in turns from now on. */
  register(source: Source): void {
    this.#sources.push(source);
  }

  /**
   * Runs it at the beginning of every turn, before any input is handled. It must not throw. Returns a function that
   * removes it.
   */
  beforeInput(run: () => void): () => void {
    this.#beforeInput = [...this.#beforeInput, run];
    return () => {
      this.#beforeInput = this.#beforeInput.filter((one) => one !== run);
    };
  }

  /** Something has come to the source: a turn begins now. For the loop to call. */
  wake(source: Source): void {
    source.pending = true;
    if (!this.#turning && !this.#requested) this.#turn();
  }

  /** The source has something to do: in this turn, or in one that comes soon. */
  request(source: Source): void {
    source.pending = true;
    this.#request();
  }

  /** The task's next slice comes when all tasks before it have had theirs. */
  later(task: Task): void {
    this.#next.push(task);
    this.#request();
  }

  /**
   * Runs it once, after all input that is there now was handled. So after a stall, input that arrived meanwhile is seen
   * before a deadline is judged by the clock.
   */
  afterInput(run: () => void): void {
    this.#afterInput.push(run);
    this.#inputTurns = mostInputTurns;
    for (const source of this.#sources) {
      this.#unread.add(source);
      source.pending = true;
    }
    this.#request();
  }

  /** Whether tasks wait for their slices. */
  get busy(): boolean {
    return this.#at < this.#current.length || this.#next.length > 0;
  }

  /** Whether something waits for all input to be handled. */
  get reading(): boolean {
    return this.#afterInput.length > 0;
  }

  /** Whether the time of this turn is over. Reads the clock. */
  spent(): boolean {
    if (this.#closed) return true;
    if (this.#timed) return this.#hostLoop.now() >= this.#until;
    this.#startTime();
    return false;
  }

  /** No turn comes any more. */
  close(): void {
    this.#closed = true;
  }

  /**
   * The time of a turn counts from its beginning where there is bulk, and from its first look at the clock otherwise: a
   * turn that handles a few events has none, and leaves no number of the clock's to the collector.
   */
  #startTime(): void {
    this.#timed = true;
    this.#until = this.#hostLoop.now() + turnMillis;
  }

  #request(): void {
    if (this.#turning || this.#requested) return;
    this.#requested = true;
    this.#hostLoop.soon(this.#proceed);
  }

  readonly #proceed = (): void => {
    this.#requested = false;
    this.#turn();
  };

  #turn(): void {
    if (this.#closed) return;
    this.#turning = true;
    this.#timed = false;
    if (this.busy) this.#startTime();
    const before = this.#beforeInput;
    for (let i = 0; i < before.length; i++) before[i]?.();
    do {
      this.#poll();
      // One slice is done in every turn, however much has come.
      if (this.#slice()) this.#sources.forEach(makePending);
    } while ((this.busy || this.#pending) && !this.spent());
    if (this.#afterInput.length > 0) this.#endInput();
    this.#turning = false;
    // What came after input may have begun something.
    if (this.busy || this.#pending) this.#request();
  }

  #poll(): void {
    // By index, as in all that a turn does: an iterator is an object for each step until V8 has optimised the loop.
    for (let i = 0; i < this.#sources.length; i++) {
      const source = this.#sources[i] as Source; // inside the array
      if (!source.pending) continue;
      source.pending = source.poll();
      if (!source.pending) this.#unread.delete(source);
    }
  }

  #endInput(): void {
    this.#inputTurns -= 1;
    if (this.#closed || (this.#unread.size > 0 && this.#inputTurns > 0)) return;
    this.#unread.clear();
    for (const run of this.#afterInput.splice(0)) {
      try {
        run();
      } catch (fault) {
        this.#faults.record(fault);
      }
    }
  }

  get #pending(): boolean {
    return this.#sources.some(isPending);
  }

  /** One slice of the task whose turn it is; false where there is none. */
  #slice(): boolean {
    if (this.#at === this.#current.length) {
      if (this.#next.length === 0) return false;
      const done = this.#current;
      done.length = 0;
      this.#current = this.#next;
      this.#next = done;
      this.#at = 0;
    }
    const task = this.#current[this.#at++] as Task; // inside the array
    try {
      task.proceed();
    } catch (fault) {
      this.#faults.caught(task, fault);
    }
    return true;
  }
}
