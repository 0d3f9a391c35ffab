/**
 * Writes log lines without ever waiting for whoever reads them. Node writes to a terminal synchronously, where one
 * Ctrl-S would stop every connection, and keeps what a pipe does not take in memory without a bound. Here at most one
 * write is under way, off the event loop; what comes meanwhile waits in a bounded queue, and what does not fit there
 * is dropped and counted.
 */
import { Console as NodeConsole } from "node:console";
import { write } from "node:fs";
import { Writable } from "node:stream";
import { Console, Context, Duration, Effect, Layer, Logger } from "effect";

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
      if (error?.code === "EAGAIN") {
        setTimeout(() => this.#write(bytes, lines), pauseMillis);
      } else if (error !== null) {
        // Nobody reads any more: nothing of what follows can be told.
        this.#broken = true;
        this.dropped += lines + this.#waiting.length;
        this.#waiting = [];
        this.#queued = 0;
        this.#next();
      } else {
        this.#queued -= written;
        if (written < bytes.length) this.#write(bytes.subarray(written), lines);
        else this.#next();
      }
    });
  }
}

/** Writes to a descriptor. When its scope closes it waits a second for what is not written yet. */
export const layer = (fd: number): Layer.Layer<LogWriter> =>
  Layer.scoped(
    LogWriter,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new Queue(fd)),
        (queue) =>
          Effect.async<void>((resume) => queue.whenIdle(() => resume(Effect.void))).pipe(
            Effect.interruptible,
            Effect.fork,
            Effect.flatMap((fiber) => fiber.await),
            Effect.timeoutOption(patience),
          ),
      ),
      (queue) => ({ write: (line) => queue.add(line), dropped: () => queue.dropped }),
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
