/**
 * What the program does when it gets a signal:
 *
 * - SIGTERM, SIGINT and SIGQUIT drain: the program is interrupted, and its scopes close in order. A second of these
 *   signals ends it at once, or ends a delay that was put before the drain ({@link Delay}); two within a second count
 *   as one, since a terminal and a supervisor may both send one.
 * - SIGHUP drains where the program was started on a terminal, which is being closed then, and is ignored elsewhere.
 * - SIGUSR1, SIGUSR2 and SIGALRM are ignored. Without a listener each of them would end the program, or open Node's
 *   debugger (SIGUSR1).
 */
import { Context, Deferred, type Duration, Effect, Fiber, PubSub, Queue, type Scope, Stream } from "effect";
import * as MonotonicClock from "../clock/MonotonicClock.js";

const names = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;

export type Signal = (typeof names)[number];

/** What is done at a signal. `none` is for one that came with another, and counts as that one. */
export type Action = "drain" | "none" | "end" | "ignore";

/** Two signals that ask for the end count as one within this time, in milliseconds. */
const togetherMillis = 1000;

/** What is done at a signal, `sinceDrain` milliseconds after draining began; undefined while it has not. */
export const actionOf = (signal: Signal, onTerminal: boolean, sinceDrain: number | undefined): Action => {
  switch (signal) {
    case "SIGUSR1":
    case "SIGUSR2":
    case "SIGALRM":
      return "ignore";
    case "SIGHUP":
      if (!onTerminal) return "ignore";
      break;
    case "SIGTERM":
    case "SIGINT":
    case "SIGQUIT":
  }
  if (sinceDrain === undefined) return "drain";
  return sinceDrain < togetherMillis ? "none" : "end";
};

/** Signals that were ignored, for a line in the log. Without a subscriber they are dropped. */
export class IgnoredSignals extends Context.Tag("zeitwork-load-balancer/IgnoredSignals")<
  IgnoredSignals,
  Stream.Stream<Signal>
>() {}

/** Puts a delay before the drain. */
export class Delay extends Context.Tag("zeitwork-load-balancer/Delay")<
  Delay,
  {
    /**
     * Waits for so long, or until one more signal asks for the end: that one ends this wait and not the process. For a
     * scope that closes.
     */
    readonly wait: (duration: Duration.Duration) => Effect.Effect<void>;
  }
>() {}

/** How many signals may wait. The kernel keeps one of each that was not taken yet, so there are never many. */
const capacity = 64;

/** The signals that this process gets while the scope is open. */
export const ofProcess: Effect.Effect<Queue.Dequeue<Signal>, never, Scope.Scope> = Effect.gen(function* () {
  const queue = yield* Queue.sliding<Signal>(capacity);
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      names.map((name) => {
        const listener = () => queue.unsafeOffer(name);
        process.on(name, listener);
        return { name, listener };
      }),
    ),
    (listeners) =>
      Effect.sync(() => {
        for (const { listener, name } of listeners) process.off(name, listener);
      }),
  );
  return queue;
});

export interface Options {
  readonly signals: Effect.Effect<Queue.Dequeue<Signal>, never, Scope.Scope>;
  /** Whether the program was started on a terminal. */
  readonly onTerminal: boolean;
  /** Ends the process, without closing anything. */
  readonly end: (signal: Signal) => Effect.Effect<void>;
}

/** Runs a program under these rules. */
export const supervise =
  ({ end, onTerminal, signals }: Options) =>
  <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Delay | IgnoredSignals>> =>
    Effect.gen(function* () {
      const arriving = yield* signals;
      const ignored = yield* PubSub.sliding<Signal>(capacity);
      /** Ends the delay; undefined while there is none. */
      let hurry: Deferred.Deferred<void> | undefined;
      const wait = (duration: Duration.Duration) =>
        Effect.gen(function* () {
          hurry = yield* Deferred.make<void>();
          // A finalizer cannot be interrupted: the sleep needs a fiber of its own, to be given up.
          yield* Effect.raceFirst(Effect.sleep(duration), Deferred.await(hurry)).pipe(
            Effect.interruptible,
            Effect.fork,
            Effect.flatMap(Fiber.join),
          );
          hurry = undefined;
        });
      const services = Context.make(IgnoredSignals, Stream.fromPubSub(ignored)).pipe(
        Context.add(Delay, { wait }),
      );
      const fiber = yield* Effect.fork(Effect.provide(program, services));
      let drainingSince: number | undefined;
      const take = Effect.gen(function* () {
        const signal = yield* Queue.take(arriving);
        const now = yield* MonotonicClock.now;
        const sinceDrain = drainingSince === undefined ? undefined : now - drainingSince;
        switch (actionOf(signal, onTerminal, sinceDrain)) {
          case "drain":
            drainingSince = now;
            return yield* Fiber.interruptFork(fiber);
          case "end":
            if (hurry === undefined) return yield* end(signal);
            drainingSince = now;
            yield* Deferred.succeed(hurry, undefined);
            hurry = undefined;
            return;
          case "ignore":
            yield* PubSub.publish(ignored, signal);
            return;
          case "none":
        }
      });
      yield* Effect.forkScoped(Effect.forever(take));
      return yield* Fiber.join(fiber);
    }).pipe(Effect.scoped);

/**
 * Ends this process as the signal does without a listener: a shell reports 130 for SIGINT, and 143 for the
 * others, since SIGQUIT would leave a core with the tokens in it. As the first process of a container that has no
 * effect, so it exits.
 */
export const endProcess = (signal: Signal): Effect.Effect<void> =>
  Effect.sync(() => {
    const last = signal === "SIGINT" ? signal : "SIGTERM";
    process.removeAllListeners(last);
    if (process.pid === 1) process.exit(last === "SIGINT" ? 130 : 143);
    process.kill(process.pid, last);
  });
