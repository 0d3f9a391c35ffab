import { LogLevel } from "effect";
import { describe, expect, it } from "vitest";
import * as JournalPriority from "../../src/log/JournalPriority.js";

describe("JournalPriority", () => {
  it.each([
    [LogLevel.Fatal, 2],
    [LogLevel.Error, 3],
    [LogLevel.Warning, 4],
    [LogLevel.Info, 6],
    [LogLevel.Debug, 7],
    [LogLevel.Trace, 7],
  ])("of $label is what syslog calls so", (level, priority) => {
    expect(JournalPriority.of(level)).toBe(priority);
  });

  it("stands before each line, and nowhere else", () => {
    expect(JournalPriority.prefixed("one\n two\u2028three\n\nfour\n", LogLevel.Warning)).toBe(
      "<4>one\n<4> two\u2028three\n<4>\n<4>four\n",
    );
  });
});
