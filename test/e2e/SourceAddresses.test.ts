/**
 * From where the built program connects to backends.
 */
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { exchange } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import { serve } from "../support/Sockets.js";

describe.skipIf(process.platform !== "linux")("SOURCE_ADDRESSES", () => {
  it.scopedLive.each([
    ["node", "0"],
    ["linux", "0"],
    ["linux", "2"],
    ["io_uring", "0"],
    ["io_uring", "2"],
  ])("are connected from in turn, on %s with %s data threads", ([transport = "", threads = ""]) =>
    Effect.gen(function* () {
      const from: Array<string | undefined> = [];
      const backend = yield* serve((socket) => {
        // Health checks, as far as they are seen, say nothing.
        socket.once("data", () => {
          from.push(socket.remoteAddress);
          socket.end();
        });
      });
      const program = yield* Program.start(transport, {
        BACKENDS: `127.0.0.1:${backend.port}`,
        SOURCE_ADDRESSES: "127.0.0.2,127.0.0.3",
        LB_THREADS: threads,
      });
      yield* program.healthy(1);
      for (let n = 0; n < 12; n++) yield* Effect.scoped(exchange(program.port, "hello"));
      assert.sameMembers([...new Set(from)], ["127.0.0.2", "127.0.0.3"]);
      assert.strictEqual(from.length, 12);
    }),
  );

  it.scopedLive("that this host does not have end it with exit code 1, which names it", () =>
    Effect.gen(function* () {
      const program = yield* Program.launch({
        ...Program.quick("auto"),
        BACKENDS: "127.0.0.1:9",
        SOURCE_ADDRESSES: "127.0.0.2,192.0.2.77",
      });
      assert.deepStrictEqual(yield* program.ended, { code: 1, signal: null });
      assert.strictEqual(
        program.stderr(),
        "load-balancer: SOURCE_ADDRESSES: 192.0.2.77 cannot be connected from (EADDRNOTAVAIL): this host does not have it now\n",
      );
    }),
  );
});
