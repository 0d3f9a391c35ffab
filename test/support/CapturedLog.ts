/**
 * A logger that keeps what it is told, for tests of what a user reads in the log.
 */
import { Effect, HashMap, Inspectable, Layer, Logger, LogLevel } from "effect";

export interface Line {
  readonly level: string;
  readonly message: string;
  readonly annotations: Readonly<Record<string, unknown>>;
  /** All of it as one text, the cause included, as a logger would print it. */
  readonly text: string;
}

export interface CapturedLog {
  readonly lines: ReadonlyArray<Line>;
  /** Takes what was logged since it was last called, at this level and above. */
  readonly take: (level?: LogLevel.LogLevel) => ReadonlyArray<Line>;
  /** Adds the logger, and lets everything through to it. */
  readonly layer: Layer.Layer<never>;
}

export const make = Effect.sync((): CapturedLog => {
  const lines: Array<Line> = [];
  let taken = 0;
  const logger = Logger.make((options) => {
    const { annotations, logLevel, message } = options;
    lines.push({
      level: logLevel.label,
      message: Array.isArray(message)
        ? message.map((part) => Inspectable.toStringUnknown(part)).join(" ")
        : String(message),
      annotations: Object.fromEntries(HashMap.toEntries(annotations)),
      text: Logger.logfmtLogger.log(options),
    });
  });
  return {
    lines,
    take: (level = LogLevel.All) => {
      const fresh = lines.slice(taken);
      taken = lines.length;
      return fresh.filter((line) =>
        LogLevel.greaterThanEqual(LogLevel.fromLiteral(levelOf(line.level)), level),
      );
    },
    layer: Layer.merge(Logger.add(logger), Logger.minimumLogLevel(LogLevel.All)),
  };
});

const levelOf = (label: string): LogLevel.Literal =>
  LogLevel.allLevels.find((level) => level.label === label)?._tag ?? "All";
