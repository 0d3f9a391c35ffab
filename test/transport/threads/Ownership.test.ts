import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import koffi from "koffi";
import * as KoffiLibc from "../../../src/transport/linux/KoffiLibc.js";
import { Ownership } from "../../../src/transport/threads/Ownership.js";

const limit = 64;

describe("Ownership", () => {
  it("hands out what was entered and not taken out, each once", () => {
    const step = fc.tuple(fc.constantFrom("enter", "takeOut", "takeAll"), fc.nat(limit - 1));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const memory = Ownership.memory(limit);
        // The data thread's and the main thread's.
        const sides = [new Ownership(memory), new Ownership(memory)] as const;
        const model = new Set<number>();
        for (const [i, [move, fd]] of steps.entries()) {
          const side = sides[i % 2 === 0 ? 0 : 1];
          if (move === "enter") {
            side.enter(fd);
            model.add(fd);
          } else if (move === "takeOut") {
            side.takeOut(fd);
            model.delete(fd);
          } else {
            const taken: Array<number> = [];
            side.takeAll((fd) => taken.push(fd));
            assert.deepStrictEqual(
              taken,
              [...model].sort((a, b) => a - b),
            );
            model.clear();
          }
        }
      }),
    );
  });

  it.runIf(process.platform === "linux")(
    "has what the system calls of a thread open, until they close it",
    () => {
      const memory = Ownership.memory(10_000);
      const owned = new Uint8Array(memory);
      const libc = KoffiLibc.make(koffi, owned);
      const written = () => owned.reduce((sum, byte) => sum + byte, 0);
      assert.strictEqual(written(), 0, "what was opened to try the calls is closed");
      const ends = libc.allocate(8);
      const [socket, epoll, pipe] = [libc.socket(2), libc.epollCreate(), libc.pipe(ends)];
      assert.strictEqual(pipe, 0);
      const [output = -1, input = -1] = new Int32Array(ends.bytes.buffer, ends.bytes.byteOffset, 2);
      const opened = [socket, epoll, output, input];
      for (const fd of opened) assert.strictEqual(owned[fd], 1);
      assert.strictEqual(written(), opened.length);
      const taken: Array<number> = [];
      for (const fd of [socket, input]) libc.close(fd);
      new Ownership(memory).takeAll((fd) => taken.push(fd));
      assert.sameMembers(taken, [epoll, output]);
      for (const fd of taken) assert.strictEqual(libc.close(fd), 0);
    },
  );
});
