/**
 * The fibers of sessions: each session has one, and a fiber serves one session at a time.
 *
 * Fibers are pooled: starting and ending a fiber costs more than all that it does for a connection. Over a transport
 * without sockets a session takes 4.5 to 5 µs of CPU, and 12 to 13 with a fiber of its own (Node 20).
 *
 * A fiber is one flat loop (wait for a session, make an attempt, act upon the decision): a session leaves nothing
 * behind in it, however often its connects failed.
 */
import { type Cause, Context, Effect, Fiber, FiberId, FiberRefs, Runtime, RuntimeFlags } from "effect";
import * as FiberScheduler from "./FiberScheduler.js";
import type { Decision, Session } from "./Session.js";

/** How many fibers may wait for a session. */
const maxIdle = 256;

/** A decision that ends a session. */
export type Ending = Exclude<Decision, { readonly _tag: "Retry" }>;

export interface Options {
  readonly attempt: (session: Session) => Effect.Effect<Decision>;
  /**
   * The one exit: called once for each session, when it is over. It does not throw. What is left to be done then
   * (giving the backend back, logging) is an effect; undefined where it is nothing.
   */
  readonly end: (session: Session, ending: Ending) => Effect.Effect<void> | undefined;
  /** Logs a defect of what the exit left to be done. It does not fail. */
  readonly logDefect: (cause: Cause.Cause<never>) => Effect.Effect<void>;
}

type Fork = (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>;

/** The idle fibers of one listener. None joins them once it is closed. */
interface Idle {
  readonly fibers: Array<SessionFiber>;
  closed: boolean;
}

const noDecision: Effect.Effect<undefined> = Effect.succeed(undefined);

/** A fiber that serves one session at a time. */
export class SessionFiber {
  #session: Session | undefined = undefined;
  #fiber: Fiber.RuntimeFiber<void> | undefined = undefined;
  /** What the exit of the last session left to be done. */
  #afterwards: Effect.Effect<void> | undefined = undefined;
  /** It serves no further session. */
  #stopped = false;
  #wake: (next: Effect.Effect<Decision | undefined>) => void = () => {};
  readonly #options: Options;
  readonly #idle: Idle;
  readonly #fork: Fork;
  /** Waits until there is a session, and makes its first attempt. */
  readonly #waitForSession: Effect.Effect<Decision | undefined>;
  readonly #attempt: Effect.Effect<Decision | undefined>;
  readonly #loop: Effect.Effect<void>;

  constructor(options: Options, idle: Idle, fork: Fork) {
    this.#options = options;
    this.#idle = idle;
    this.#fork = fork;
    this.#waitForSession = Effect.async((resume) => {
      this.#wake = resume;
      idle.fibers.push(this);
    });
    this.#attempt = Effect.suspend(() =>
      this.#session === undefined ? noDecision : options.attempt(this.#session),
    );
    const rounds = Effect.whileLoop({
      // One that is stopped still has its session to end.
      while: () => this.#session !== undefined || this.#afterwards !== undefined || this.#mayWait(),
      body: () => this.#next(),
      step: (decision) => this.#act(decision),
    });
    // A defect that an attempt did not turn into a decision ends the session, and not the fiber.
    this.#loop = Effect.catchAllCause(rounds, (cause) => {
      this.#break(cause);
      return this.#loop;
    });
  }

  /** Serves a session now: a fiber that is idle goes on with it, and a new one starts. */
  serve(session: Session): void {
    this.#session = session;
    if (this.#fiber === undefined) this.#fiber = this.#fork(this.#loop);
    else this.#wake(this.#attempt);
  }

  /**
   * Interrupts what it does for this session; nothing if that session is over, and the fiber may serve another by now.
   * It serves no other afterwards.
   */
  interrupt(session: Session): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#session !== session || this.#fiber === undefined) return Effect.void;
      this.#stopped = true;
      return Fiber.interruptAsFork(this.#fiber, FiberId.none);
    });
  }

  /** Ends a fiber that is idle. */
  stop(): void {
    this.#stopped = true;
    this.#wake(noDecision);
  }

  #mayWait(): boolean {
    return !this.#stopped && !this.#idle.closed && this.#idle.fibers.length < maxIdle;
  }

  #next(): Effect.Effect<Decision | undefined> {
    if (this.#session !== undefined) return this.#attempt;
    const afterwards = this.#afterwards;
    if (afterwards === undefined) return this.#waitForSession;
    this.#afterwards = undefined;
    return Effect.as(afterwards, undefined);
  }

  /** The one place that acts upon a decision. */
  #act(decision: Decision | undefined): void {
    const session = this.#session;
    if (session === undefined || decision === undefined || decision._tag === "Retry") return;
    this.#session = undefined;
    this.#afterwards = this.#options.end(session, decision);
  }

  #break(cause: Cause.Cause<never>): void {
    if (this.#session === undefined) this.#afterwards = this.#options.logDefect(cause);
    else this.#act({ _tag: "Done", by: "defect", defect: cause });
  }
}

/** The fibers of one listener's sessions. */
export class SessionFibers {
  readonly #idle: Idle = { fibers: [], closed: false };
  readonly #options: Options;
  readonly #fork: Fork;

  constructor(options: Options, flags: RuntimeFlags.RuntimeFlags) {
    this.#options = options;
    // Fork cost is dominated by copied context: start with an empty context and no runtime metrics. Interruption is
    // enabled only while a session waits, so that an assigned backend is always released.
    const fork = Runtime.runFork(
      Runtime.make({
        context: Context.empty(),
        fiberRefs: FiberRefs.empty(),
        runtimeFlags: RuntimeFlags.disableAll(
          flags,
          RuntimeFlags.make(RuntimeFlags.Interruption, RuntimeFlags.RuntimeMetrics),
        ),
      }),
    );
    const withScheduler = { scheduler: FiberScheduler.make() };
    this.#fork = (effect) => fork(effect, withScheduler);
  }

  /** A fiber that serves no session yet. */
  acquire(): SessionFiber {
    return this.#idle.fibers.pop() ?? new SessionFiber(this.#options, this.#idle, this.#fork);
  }

  /** Ends the idle fibers. The others end after their session. */
  close(): void {
    this.#idle.closed = true;
    for (const fiber of this.#idle.fibers.splice(0)) fiber.stop();
  }
}
