import { closeSync, fstatSync, openSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as JournalStream from "../../src/systemd/JournalStream.js";

describe("the journal", () => {
  it.scoped("reads the descriptor whose device and inode JOURNAL_STREAM has, and no other", () =>
    Effect.gen(function* () {
      const open = (path: string) =>
        Effect.acquireRelease(
          Effect.sync(() => openSync(path, "r")),
          (fd) => Effect.sync(() => closeSync(fd)),
        );
      const stream = yield* open("/dev/null");
      const other = yield* open("/dev/zero");
      const { dev, ino } = fstatSync(stream);
      const environment = { JOURNAL_STREAM: `${dev}:${ino}` };
      assert.isTrue(JournalStream.reads(stream, environment));
      assert.isFalse(JournalStream.reads(other, environment));
      assert.isFalse(JournalStream.reads(stream, {}));
      assert.isFalse(JournalStream.reads(stream, { JOURNAL_STREAM: "" }));
      assert.isFalse(JournalStream.reads(stream, { JOURNAL_STREAM: `${dev}:${ino}0` }));
      assert.isFalse(JournalStream.reads(9_999, environment));
    }),
  );
});
