/**
 * The data threads of a transport: starts them, hands each connection to the one that has the fewest, and starts
 * another in the place of one that has ended by itself.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { Data, Deferred, Duration, Effect, FiberId, Option, Schedule, type Scope } from "effect";
import * as MonotonicClock from "../../clock/MonotonicClock.js";
import type { ByteCounts } from "../../net/ByteCounts.js";
import type { DataThreadStatus } from "../../net/DataThreadStatus.js";
import type { ForwardCallbacks } from "../Forwarding.js";
import type { Destination, Failure } from "../linux/Connecting.js";
import type { Engine } from "../linux/Engine.js";
import type { EventCounters } from "../linux/EventCounter.js";
import { pipeBytes } from "../linux/Pipes.js";
import type { Socket } from "../linux/Socket.js";
import type { RingRemains } from "../linux/Uring.js";
import type { ForwardOptions, GiveUp } from "../Transport.js";
import type { Start } from "./Protocol.js";
import { lookMillis } from "./Responsiveness.js";
import { HandedOver, ThreadHandle } from "./ThreadHandle.js";

/** The most connections of one data thread. When all threads are full, the main thread relays. */
const mostSlots = 2 ** 18;

/** How long a thread may take to be ready. */
const startTime = Duration.seconds(30);

/** How long a thread may take to stop by order before it is terminated. It reads its orders at least once a second. */
const stopTime = Duration.seconds(3);

/**
 * How long termination by force may take. `terminate()` stops JavaScript but cannot interrupt a blocked system call.
 * Ours never block for long, except on a stuck disk or memory.
 */
const forceTime = Duration.seconds(2);

/** The pause before an ended thread is replaced, so that one that cannot run is not restarted in a tight loop. */
const restartPause = Duration.seconds(1);

/** For how long giving up waits for the data thread's last count, in milliseconds. */
const longestGivingUp = 5_000;

export interface Options {
  /** How many. */
  readonly count: number;
  /**
   * The path of the file that a data thread runs; the one beside this module unless said otherwise. It is read once:
   * a thread that is started in the place of another is of the same program, whatever stands on the disk by then.
   */
  readonly file: string | URL | undefined;
  /** Where a data thread loads koffi from. */
  readonly koffi: string;
  /** For threads that connect and relay by io_uring: unmaps what is left of the ring of one that has died. */
  readonly clearRing: ((remains: RingRemains) => void) | undefined;
  /** How many clients may be connected at once, in all threads. */
  readonly capacity: number;
  /** Descriptors of the process have numbers below this one. */
  readonly descriptors: number;
  /** A data thread has caught an exception: its stack, in text. */
  readonly onFault: (text: string) => void;
}

export interface DataThreads {
  /**
   * Hands a client over; undefined where no thread has a place, or none runs now. As `forward` of the mechanism
   * otherwise.
   */
  readonly forward: (
    client: Socket,
    to: Destination,
    options: ForwardOptions,
    counts: ByteCounts,
    callbacks: ForwardCallbacks<Failure>,
  ) => GiveUp | undefined;
  /** What is known here of a client that was handed over is as it was a moment ago; nothing of one that was not. */
  readonly bringUpToDate: (client: Socket) => void;
  /** Those that run now. */
  readonly threads: () => ReadonlyArray<DataThreadStatus>;
  /** Exceptions that they have caught since the start. */
  readonly faults: () => number;
}

/** A thread that did not start. */
export class NotStarted extends Data.TaggedError("NotStarted")<{
  /** In words. */
  readonly why: string;
}> {
  override get message(): string {
    return `a data thread could not be started: ${this.why}`;
  }
}

const wordsOf = (cause: unknown): string =>
  cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);

const beside = new URL("./worker.cjs", import.meta.url);

/** What the file says, which names itself in stack traces. */
const codeIn = (file: string | URL): Effect.Effect<string, NotStarted> =>
  Effect.try({
    try: () => {
      const path = typeof file === "string" ? file : fileURLToPath(file);
      return `${readFileSync(path, "utf8")}\n//# sourceURL=${path}`;
    },
    catch: (cause) => new NotStarted({ why: wordsOf(cause) }),
  });

/** They end with the scope. */
export const make = (
  engine: Engine,
  counters: EventCounters,
  { capacity, clearRing, count, descriptors, file = beside, koffi, onFault }: Options,
): Effect.Effect<DataThreads, NotStarted, Scope.Scope> =>
  Effect.gen(function* () {
    const code = yield* codeIn(file);
    const handles = new Set<ThreadHandle>();
    /** Exceptions of those that have ended. */
    let faultsBefore = 0;

    const begin = (index: number) =>
      Effect.acquireRelease(
        Effect.try({
          try: () => {
            const ready = Deferred.unsafeMake<void>(FiberId.none);
            const exited = Deferred.unsafeMake<unknown>(FiberId.none);
            const name = `data thread ${index}`;
            const handle = new ThreadHandle(engine, counters, {
              name,
              slots: Math.min(capacity, mostSlots),
              descriptors,
              clearRing,
              pipeBudget: Math.floor(pipeBytes / (count + 1)),
              onReady: () => Deferred.unsafeDone(ready, Effect.void),
              onFault,
            });
            try {
              const start: Start = { ...handle.memory, koffi };
              const worker = new Worker(code, { eval: true, workerData: start, name });
              let why: unknown = "it ended without a word";
              worker.on("error", (error) => {
                why = error;
              });
              worker.once("exit", () => {
                handles.delete(handle);
                faultsBefore += handle.faults;
                handle.close();
                Deferred.unsafeDone(exited, Effect.succeed(why));
              });
              // It is the scope that it lives for.
              worker.unref();
              return { handle, worker, ready: Deferred.await(ready), exited: Deferred.await(exited) };
            } catch (cause) {
              handle.close();
              throw cause;
            }
          },
          catch: (cause) => new NotStarted({ why: wordsOf(cause) }),
        }),
        ({ exited, handle, worker }) =>
          Effect.suspend(() => {
            handles.delete(handle);
            handle.stop();
            return exited;
          }).pipe(
            // A release is not interruptible: what has a deadline in it has to be made so.
            Effect.interruptible,
            Effect.timeoutOption(stopTime),
            Effect.tap(
              Option.match({
                onNone: () =>
                  Effect.interruptible(Effect.promise(() => worker.terminate())).pipe(
                    Effect.timeoutTo({
                      duration: forceTime,
                      onSuccess: () => Effect.void,
                      onTimeout: () =>
                        Effect.logError(
                          "a data thread cannot be ended, since a system call blocks it: the process may need another signal to end",
                        ).pipe(Effect.annotateLogs({ thread: index })),
                    }),
                    Effect.flatten,
                  ),
                onSome: () => Effect.void,
              }),
            ),
          ),
      );

    /** One thread from its start to its end, which only a fault causes; returns what is known of it. */
    const live = (index: number, onReady: Effect.Effect<unknown>) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { exited, handle, ready } = yield* begin(index);
          yield* Effect.raceFirst(
            ready,
            Effect.flatMap(exited, (why) => new NotStarted({ why: wordsOf(why) })),
          ).pipe(
            Effect.timeoutFail({
              duration: startTime,
              onTimeout: () =>
                new NotStarted({ why: `it was not ready after ${Duration.format(startTime)}` }),
            }),
          );
          handles.add(handle);
          yield* onReady;
          return wordsOf(yield* exited);
        }),
      );

    const supervise = (index: number, first: Deferred.Deferred<void, NotStarted>) =>
      live(
        index,
        Effect.flatMap(Deferred.succeed(first, undefined), (isFirst) =>
          isFirst
            ? Effect.void
            : Effect.annotateLogs(Effect.logInfo("a data thread was started in its place"), {
                thread: index,
              }),
        ),
      ).pipe(
        Effect.catchAll((error) =>
          Effect.flatMap(Deferred.fail(first, error), (isFirst) =>
            isFirst ? Effect.interrupt : Effect.succeed(error.message),
          ),
        ),
        Effect.tap((why) =>
          Effect.logError("a data thread has ended: its connections were reset, and another is started").pipe(
            Effect.annotateLogs({ thread: index, why }),
          ),
        ),
        Effect.zipRight(Effect.sleep(restartPause)),
        Effect.forever,
      );

    yield* Effect.forEach(
      Array.from({ length: count }, (_, index) => index),
      (index) =>
        Effect.gen(function* () {
          const first = yield* Deferred.make<void, NotStarted>();
          yield* Effect.forkScoped(supervise(index, first));
          yield* Deferred.await(first);
        }),
      { concurrency: "unbounded", discard: true },
    );

    yield* Effect.annotateLogs(Effect.logInfo("data threads started"), { threads: count });

    const look = (handle: ThreadHandle, now: number) => {
      switch (handle.look(now)) {
        case "silent":
          return Effect.annotateLogs(Effect.logWarning("a data thread does not answer"), handle.silence);
        case "answers":
          return Effect.annotateLogs(Effect.logInfo("a data thread answers again"), handle.silence);
        case undefined:
          return Effect.void;
      }
    };
    yield* MonotonicClock.now.pipe(
      Effect.flatMap((now) => Effect.forEach(handles, (handle) => look(handle, now), { discard: true })),
      Effect.repeat(Schedule.spaced(Duration.millis(lookMillis))),
      Effect.forkScoped,
    );

    const fewest = (): ThreadHandle | undefined => {
      let found: ThreadHandle | undefined;
      for (const handle of handles) {
        if (handle.hasPlace && (found === undefined || handle.size < found.size)) found = handle;
      }
      return found;
    };

    const giveUp =
      (handed: HandedOver): GiveUp =>
      () =>
        handed.over
          ? undefined
          : Effect.async<void>((resume) => {
              const late = engine.hostLoop.after(longestGivingUp, () => {
                // The caller will reuse this counts object; detach from it.
                handed.counts = { received: 0, sent: 0 };
                resume(Effect.void);
              });
              handed.giveUp(() => {
                late.cancel();
                resume(Effect.void);
              });
            });

    return {
      forward: (client, to, options, counts, callbacks) => {
        const handed = fewest()?.handOver(client, to, options, counts, callbacks);
        return handed === undefined ? undefined : giveUp(handed);
      },
      bringUpToDate: ({ owner }) => {
        if (owner instanceof HandedOver) owner.handle.bringUpToDate(owner);
      },
      threads: () => Array.from(handles, ({ state }) => state),
      faults: () => {
        let count = faultsBefore;
        for (const { faults } of handles) count += faults;
        return count;
      },
    };
  });
