import { assert, describe, it } from "@effect/vitest";
import { FaultNote } from "../../../src/transport/threads/FaultNote.js";

const both = () => {
  const memory = FaultNote.memory();
  return { data: new FaultNote(memory), main: new FaultNote(memory) };
};

describe("FaultNote", () => {
  it("tells of an exception by its stack, and of what is none by its text", () => {
    const { data, main } = both();
    const fault = new Error("a bug — with an umlaut: ü");
    assert.isTrue(data.write(fault));
    assert.strictEqual(main.read(), fault.stack);
    assert.isTrue(data.write("thrown text"));
    assert.strictEqual(main.read(), "thrown text");
    assert.strictEqual(main.count, 2);
  });

  it("counts those that come before the last was read, and keeps the first's text", () => {
    const { data, main } = both();
    assert.isTrue(data.write("first"));
    assert.isFalse(data.write("second"));
    assert.isFalse(data.write("third"));
    assert.strictEqual(main.count, 3);
    assert.strictEqual(main.read(), "first");
    assert.isTrue(data.write("fourth"));
    assert.strictEqual(main.read(), "fourth");
    assert.strictEqual(main.count, 4);
  });

  it("cuts a text that is too long, and the next is told without the rest of it", () => {
    const { data, main } = both();
    assert.isTrue(data.write("x".repeat(100_000)));
    assert.match(main.read(), /^x{4096}$/);
    assert.isTrue(data.write("short"));
    assert.strictEqual(main.read(), "short");
  });
});
