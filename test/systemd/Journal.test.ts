import { closeSync, fstatSync, openSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as Journal from "../../src/systemd/Journal.js";

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
      assert.isTrue(Journal.reads(stream, environment));
      assert.isFalse(Journal.reads(other, environment));
      assert.isFalse(Journal.reads(stream, {}));
      assert.isFalse(Journal.reads(stream, { JOURNAL_STREAM: "" }));
      assert.isFalse(Journal.reads(stream, { JOURNAL_STREAM: `${dev}:${ino}0` }));
      assert.isFalse(Journal.reads(9_999, environment));
    }),
  );
});
