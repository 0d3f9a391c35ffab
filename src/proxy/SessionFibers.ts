/**
 * The fibers of sessions: each session has one, and a fiber serves one session at a time.
 *
 * Fibers are pooled: starting and ending a fiber costs more than all that it does for a connection. A fiber is one flat
 * loop (wait for a session, make an attempt, act upon the decision), so what a session leaves behind in it is nothing,
 * however often its connects failed.
 */
import { Context, Effect, Exit, Fiber, FiberRefs, Runtime, RuntimeFlags } from "effect";
import * as Scheduler from "./Scheduler.js";
import type { Decision, Session } from "./Session.js";

/** How many fibers may wait for a session. */
const maxIdle = 256;

/** A decision that ends a session. */
export type Ending = Exclude<Decision, { readonly _tag: "Retry" }>;

export interface Options {
  readonly attempt: (session: Session) => Effect.Effect<Decision>;
  /**
   * The one exit: called once for each session, when it is over. What is to be logged then is an effect, undefined
   * where it is nothing.
   */
  readonly end: (session: Session, ending: Ending) => Effect.Effect<void> | undefined;
  /** Runs an effect outside of a session's fiber, which is broken. */
  readonly run: (effect: Effect.Effect<void>) => void;
}

/** A fiber that serves one session at a time. */
export class SessionFiber {
  #session: Session | undefined = undefined;
  #fiber: Fiber.RuntimeFiber<void> | undefined = undefined;
  #afterwards: Effect.Effect<void> | undefined = undefined;
  #stopped = false;
  #resume: (next: Effect.Effect<Decision | undefined>) => void = () => {};
  readonly #options: Options;
  readonly #idle: Array<SessionFiber>;
  readonly #fork: Fork;
  readonly #waitForSession: Effect.Effect<Decision | undefined>;

  constructor(options: Options, idle: Array<SessionFiber>, fork: Fork) {
    this.#options = options;
    this.#idle = idle;
    this.#fork = fork;
    this.#waitForSession = Effect.async((resume) => {
      this.#resume = resume;
      idle.push(this);
    });
  }

  /** Serves a session now: one that is idle goes on with it, and a new one starts. */
  serve(session: Session): void {
    this.#session = session;
    if (this.#fiber !== undefined) {
      this.#resume(this.#options.attempt(session));
      return;
    }
    const fiber = this.#fork(
      Effect.whileLoop({
        // An interrupted fiber still has its session to end.
        while: () => !this.#stopped || this.#session !== undefined || this.#afterwards !== undefined,
        body: () => this.#next(),
        step: (decision) => this.#act(decision),
      }),
    );
    this.#fiber = fiber;
    fiber.addObserver((exit) => this.#onExit(exit));
  }

  /** Interrupts what it does for its session. It serves no other afterwards. */
  get interrupt(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#stopped = true;
      return this.#fiber === undefined ? Effect.void : Fiber.interruptFork(this.#fiber);
    });
  }

  /** Ends a fiber that is idle. */
  stop(): void {
    this.#stopped = true;
    this.#resume(Effect.succeed(undefined));
  }

  #next(): Effect.Effect<Decision | undefined> {
    const session = this.#session;
    const afterwards = this.#afterwards;
    if (afterwards !== undefined) {
      this.#afterwards = undefined;
      return Effect.as(afterwards, undefined);
    }
    return session === undefined ? this.#waitForSession : this.#options.attempt(session);
  }

  /** The one place that acts upon a decision. */
  #act(decision: Decision | undefined): void {
    const session = this.#session;
    if (decision === undefined || decision._tag === "Retry" || session === undefined) return;
    this.#session = undefined;
    this.#afterwards = this.#options.end(session, decision);
    if (this.#idle.length >= maxIdle) this.#stopped = true;
  }

  /** A defect outside of an attempt has ended the fiber: its session, if it has one, is over too. */
  #onExit(exit: Exit.Exit<void>): void {
    if (Exit.isSuccess(exit)) return;
    const session = this.#session;
    this.#session = undefined;
    const afterwards =
      session === undefined
        ? Effect.logError("a session's fiber failed by a defect", exit.cause)
        : this.#options.end(session, { _tag: "Done", by: "defect", defect: exit.cause });
    if (afterwards !== undefined) this.#options.run(afterwards);
  }
}

type Fork = (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>;

/** The fibers of one listener's sessions. */
export class SessionFibers {
  readonly #idle: Array<SessionFiber> = [];
  readonly #options: Options;
  readonly #fork: Fork;

  constructor(options: Options, flags: RuntimeFlags.RuntimeFlags) {
    this.#options = options;
    // What is copied for each fiber is what a fiber costs: it starts with nothing but its scheduler, and without the
    // counts that Effect keeps of all fibers. Only waiting may be interrupted: what was assigned is always released.
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
    const withScheduler = { scheduler: Scheduler.make() };
    this.#fork = (effect) => fork(effect, withScheduler);
  }

  /** A fiber that serves no session yet. */
  acquire(): SessionFiber {
    return this.#idle.pop() ?? new SessionFiber(this.#options, this.#idle, this.#fork);
  }

  /** Ends the fibers that wait for a session. */
  stopIdle(): void {
    for (const fiber of this.#idle.splice(0)) fiber.stop();
  }
}
