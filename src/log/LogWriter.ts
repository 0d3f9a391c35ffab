/**
 * Writes log lines without ever waiting for what reads them. Node writes to a terminal synchronously, where one
 * Ctrl-S would stop every connection, and keeps what a pipe does not take in memory without a bound. Here at most one
 * write is under way, off the event loop; what comes meanwhile waits in a bounded queue, and what does not fit there
 * is dropped and counted.
 *
 * A write that fails (a full disk, a reader that is gone) is tried again until it succeeds or the scope closes.
 */
import { Console as NodeConsole } from "node:console";
import { closeSync, constants, openSync, write } from "node:fs";
import { Writable } from "node:stream";
import { isatty } from "node:tty";
import {
  Console,
  Context,
  Deferred,
  Duration,
  Effect,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  type Scope,
} from "effect";
import * as JournalPriority from "./JournalPriority.js";

/** How many bytes may wait to be written. */
const mostQueued = 1024 * 1024;
/** How long the last lines may take to be written when the program ends. */
const flushTimeout = Duration.seconds(1);
/** How long to wait before the next try when a descriptor that does not block is full. */
const fullPause = Duration.millis(10);
/** The same when a write fails in any other way. */
const failedPause = Duration.millis(250);

export class LogWriter extends Context.Tag("zeitwork-load-balancer/LogWriter")<
  LogWriter,
  {
    /** Takes one or more lines of one level; the text ends in a line break. Never waits. */
    readonly write: (text: string, level: LogLevel.LogLevel) => void;
    /** How many texts were dropped since the start. */
    readonly dropped: () => number;
  }
>() {}

export interface Options {
  /** Whether the journal reads the descriptor: each line begins with its priority then. */
  readonly journal: boolean;
}

/** One write. It has the descriptor until it has ended, so it cannot be interrupted. */
const writeOnce = (fd: number, bytes: Buffer): Effect.Effect<number, NodeJS.ErrnoException> =>
  Effect.uninterruptible(
    Effect.async((resume) => {
      write(fd, bytes, (error, written) =>
        resume(error === null ? Effect.succeed(written) : Effect.fail(error)),
      );
    }),
  );

/** Waits, but no longer than {@link flushTimeout}. A release cannot be interrupted; its wait can. */
const briefly = (wait: Effect.Effect<unknown>): Effect.Effect<unknown> =>
  wait.pipe(
    Effect.interruptible,
    Effect.fork,
    Effect.flatMap((fiber) => fiber.await),
    Effect.timeoutOption(flushTimeout),
  );

const make = (
  fd: number,
  { journal }: Options,
): Effect.Effect<typeof LogWriter.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const added = yield* Effect.makeLatch(false);
    const flushed = yield* Deferred.make<void>();
    let waiting: Array<Buffer> = [];
    let queued = 0;
    let dropped = 0;
    let closing = false;

    /** What is left when the scope closes and the descriptor fails, or takes too long. */
    const abandon = Effect.sync(() => {
      dropped += waiting.length;
      waiting = [];
      queued = mostQueued;
    });

    const writeAll = (bytes: Buffer): Effect.Effect<void> =>
      Effect.matchEffect(writeOnce(fd, bytes), {
        onSuccess: (written) => {
          queued -= written;
          return written < bytes.length ? writeAll(bytes.subarray(written)) : Effect.void;
        },
        onFailure: ({ code }) => {
          if (closing && code !== "EAGAIN") return abandon;
          return Effect.zipRight(
            Effect.sleep(code === "EAGAIN" ? fullPause : failedPause),
            Effect.suspend(() => writeAll(bytes)),
          );
        },
      });

    const writeWaiting = Effect.suspend(() => {
      if (waiting.length === 0) return closing ? Deferred.succeed(flushed, undefined) : Effect.void;
      const texts = waiting;
      waiting = [];
      added.unsafeOpen();
      return writeAll(Buffer.concat(texts));
    });

    const run = Effect.forever(
      Effect.zipRight(
        added.await,
        Effect.suspend(() => {
          added.unsafeClose();
          return writeWaiting;
        }),
      ),
    );
    yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
      Effect.suspend(() => {
        closing = true;
        added.unsafeOpen();
        return briefly(Deferred.await(flushed)).pipe(
          Effect.zipRight(abandon),
          // It ends with the write that is under way, which may be stuck.
          Effect.zipRight(briefly(Fiber.interrupt(fiber))),
        );
      }),
    );

    return {
      write: (text, level) => {
        const bytes = Buffer.from(journal ? JournalPriority.prefixed(text, level) : text);
        if (queued + bytes.length > mostQueued) {
          dropped += 1;
          return;
        }
        queued += bytes.length;
        waiting.push(bytes);
        added.unsafeOpen();
      },
      dropped: () => dropped,
    };
  });

/**
 * A terminal opened once more, for writes that do not wait: one that waited for a stopped terminal would occupy a
 * thread, and a process does not end before its threads. Pipes and sockets Node has set so already; a file takes all.
 */
const withoutWaiting = (fd: number): Effect.Effect<number, never, Scope.Scope> =>
  isatty(fd)
    ? Effect.acquireRelease(
        Effect.try(() =>
          openSync(`/dev/fd/${fd}`, constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK),
        ),
        (own) => Effect.sync(() => closeSync(own)),
      ).pipe(Effect.orElseSucceed(() => fd))
    : Effect.succeed(fd);

/** Writes to a descriptor. When its scope closes it waits a second for what is not written yet, and drops the rest. */
export const layer = (fd: number, options: Options): Layer.Layer<LogWriter> =>
  Layer.scoped(
    LogWriter,
    Effect.flatMap(withoutWaiting(fd), (own) => make(own, options)),
  );

/** Logs JSON, one object a line, in place of the default logger. */
export const json: Layer.Layer<never, never, LogWriter> = Logger.replaceEffect(
  Logger.defaultLogger,
  Effect.map(LogWriter, ({ write }) =>
    Logger.make((options) => write(`${Logger.jsonLogger.log(options)}\n`, options.logLevel)),
  ),
);

/** Logs for people to read, in place of the default logger; `colours` on a terminal. */
export const pretty = (colours: boolean): Layer.Layer<never, never, LogWriter> =>
  Layer.unwrapEffect(
    Effect.zipWith(LogWriter, Console.consoleWith(Effect.succeed), ({ write }, console) => {
      // Effect's logger prints on the console that is in place, with its groups, before it returns.
      let level: LogLevel.LogLevel = LogLevel.Info;
      const stdout = new Writable({
        decodeStrings: false,
        write: (text, _encoding, done) => {
          write(String(text), level);
          done();
        },
      });
      const unsafe = new NodeConsole({ stdout, colorMode: colours });
      const logger = Logger.prettyLogger({ colors: colours });
      return Layer.merge(
        Logger.replace(
          Logger.defaultLogger,
          Logger.make((options) => {
            level = options.logLevel;
            logger.log(options);
          }),
        ),
        Console.setConsole({ ...console, unsafe }),
      );
    }),
  );
