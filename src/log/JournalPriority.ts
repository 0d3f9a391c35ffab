/**
 * Priorities for the journal: it reads a number in angle brackets before each line, as syslog does, so that
 * `journalctl -p warning` finds warnings and what is worse. See sd-daemon(3).
 */
import { LogLevel } from "effect";

/** The priority of a level: 2 (critical) to 7 (debug). */
export const of = (level: LogLevel.LogLevel): number => {
  if (LogLevel.greaterThanEqual(level, LogLevel.Fatal)) return 2;
  if (LogLevel.greaterThanEqual(level, LogLevel.Error)) return 3;
  if (LogLevel.greaterThanEqual(level, LogLevel.Warning)) return 4;
  return LogLevel.greaterThanEqual(level, LogLevel.Info) ? 6 : 7;
};

/** The text with the priority of its level before each of its lines. */
export const prefixed = (text: string, level: LogLevel.LogLevel): string =>
  text.replace(/(^|\n)(?!$)/g, `$1<${of(level)}>`);
