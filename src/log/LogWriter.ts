/**
 * Writes log lines without ever waiting for whoever reads them. Node writes to a terminal synchronously, where one
 * Ctrl-S would stop every connection, and keeps what a pipe does not take in memory without a bound. Here at most one
 * write is under way, off the event loop; what comes meanwhile waits in a bounded queue, and what does not fit there
 * is dropped and counted.
 */
import { Console as NodeConsole } from "node:console";
import { closeSync, constants, openSync, write } from "node:fs";
import { Writable } from "node:stream";
import { isatty } from "node:tty";
import { Console, Context, Duration, Effect, Layer, Logger, type Scope } from "effect";

/** What may wait to be written, in bytes. */
const mostQueued = 1024 * 1024;
/** How long the last lines may take to be written when the program ends. */
const patience = Duration.seconds(1);
/** How long to wait when a descriptor that does not block is full, in milliseconds. */
const pauseMillis = 10;

export class LogWriter extends Context.Tag("zeitwork-load-balancer/LogWriter")<
  LogWriter,
  {
    /** Takes one line, which ends in a line break. Never waits. */
    readonly write: (line: string) => void;
    /** Lines that were dropped since the start. */
    readonly dropped: () => number;
  }
>() {}

class Queue {
  #waiting: Array<Buffer> = [];
  #queued = 0;
  #writing = false;
  #broken = false;
  #idle: Array<() => void> = [];
  dropped = 0;

  constructor(readonly fd: number) {}

  add(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#broken || this.#queued + bytes.length > mostQueued) {
      this.dropped += 1;
      return;
    }
    this.#queued += bytes.length;
    this.#waiting.push(bytes);
    if (!this.#writing) this.#next();
  }

  /** Calls back once everything is written, or cannot be. */
  whenIdle(done: () => void): void {
    if (this.#writing) this.#idle.push(done);
    else done();
  }

  /** Drops what is not being written yet, and whatever comes. */
  abandon(): void {
    this.#broken = true;
    this.dropped += this.#waiting.length;
    this.#waiting = [];
    this.#queued = 0;
  }

  #next(): void {
    if (this.#waiting.length === 0) {
      this.#writing = false;
      for (const done of this.#idle.splice(0)) done();
      return;
    }
    this.#writing = true;
    const lines = this.#waiting;
    this.#waiting = [];
    this.#write(Buffer.concat(lines), lines.length);
  }

  #write(bytes: Buffer, lines: number): void {
    write(this.fd, bytes, (error, written) => {
      if (error?.code === "EAGAIN" && !this.#broken) {
        setTimeout(() => this.#write(bytes, lines), pauseMillis);
      } else if (error !== null) {
        // Nobody reads any more: nothing of what follows can be told.
        this.dropped += lines;
        this.abandon();
        this.#next();
      } else {
        this.#queued -= written;
        if (written < bytes.length) this.#write(bytes.subarray(written), lines);
        else this.#next();
      }
    });
  }
}

/**
 * A terminal opened once more, for writes that do not wait: one that waited for a stopped terminal would occupy a
 * thread, and a process does not end before its threads. Pipes and sockets Node has set so already; a file takes all.
 */
const ready = (fd: number): Effect.Effect<number, never, Scope.Scope> =>
  isatty(fd)
    ? Effect.acquireRelease(
        Effect.try(() =>
          openSync(`/dev/fd/${fd}`, constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK),
        ),
        (own) => Effect.sync(() => closeSync(own)),
      ).pipe(Effect.orElseSucceed(() => fd))
    : Effect.succeed(fd);

const idle = (queue: Queue): Effect.Effect<void> =>
  Effect.async((resume) => queue.whenIdle(() => resume(Effect.void)));

/** Waits, but not for ever. A release cannot be interrupted; its wait can. */
const patiently = (wait: Effect.Effect<void>): Effect.Effect<void> =>
  wait.pipe(
    Effect.interruptible,
    Effect.fork,
    Effect.flatMap((fiber) => fiber.await),
    Effect.timeoutOption(patience),
  );

/** Writes to a descriptor. When its scope closes it waits a second for what is not written yet, and drops the rest. */
export const layer = (fd: number): Layer.Layer<LogWriter> =>
  Layer.scoped(
    LogWriter,
    Effect.flatMap(ready(fd), (own) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => new Queue(own)),
          (queue) =>
            patiently(idle(queue)).pipe(
              Effect.zipRight(Effect.sync(() => queue.abandon())),
              // A write under way has the descriptor until it is told how it went.
              Effect.zipRight(patiently(idle(queue))),
            ),
        ),
        (queue) => ({ write: (line) => queue.add(line), dropped: () => queue.dropped }),
      ),
    ),
  );

/** Logs JSON, one object a line, in place of the default logger. */
export const json: Layer.Layer<never, never, LogWriter> = Logger.replaceEffect(
  Logger.defaultLogger,
  Effect.map(LogWriter, ({ write }) =>
    Logger.make((options) => write(`${Logger.jsonLogger.log(options)}\n`)),
  ),
);

/** Logs for people to read, in place of the default logger; `colours` on a terminal. */
export const pretty = (colours: boolean): Layer.Layer<never, never, LogWriter> =>
  Layer.unwrapEffect(
    Effect.zipWith(LogWriter, Console.consoleWith(Effect.succeed), ({ write }, console) => {
      const stdout = new Writable({
        decodeStrings: false,
        write: (text, _encoding, done) => {
          write(String(text));
          done();
        },
      });
      // Effect's logger prints on the console that is in place, with its groups.
      const unsafe = new NodeConsole({ stdout, colorMode: colours });
      return Layer.merge(
        Logger.replace(Logger.defaultLogger, Logger.prettyLogger({ colors: colours })),
        Console.setConsole({ ...console, unsafe }),
      );
    }),
  );
