import { assert, describe, it } from "@effect/vitest";
import { Effect, Either } from "effect";
import * as PortCheck from "../../src/cli/PortCheck.js";
import * as Ports from "../support/Ports.js";
import { serve } from "../support/Sockets.js";

describe("a port", () => {
  it.scopedLive("is free, and still is when that is known", () =>
    Effect.gen(function* () {
      const port = yield* Ports.unused;
      for (const host of ["127.0.0.1", undefined, "127.0.0.1"]) {
        assert.isTrue(Either.isRight(yield* PortCheck.check(host, port)));
      }
    }),
  );

  it.scopedLive("is taken, by a process that is named where it may be known", () =>
    Effect.gen(function* () {
      const taken = yield* serve((socket) => socket.destroy());
      const found = yield* PortCheck.check("127.0.0.1", taken.port);
      assert.strictEqual(Either.getOrThrow(Either.flip(found)).reason, "in-use");
      const owner = yield* PortCheck.owner(taken.port);
      if (process.platform === "linux") assert.strictEqual(owner?.pid, process.pid);
      else assert.isUndefined(owner);
      assert.isUndefined(yield* PortCheck.owner(yield* Ports.unused));
    }),
  );

  it.live("cannot be had at an address that is another host's", () =>
    Effect.gen(function* () {
      // TEST-NET-1 of RFC 5737: nobody has it.
      const found = yield* PortCheck.check("192.0.2.1", 8082);
      assert.strictEqual(Either.getOrThrow(Either.flip(found)).reason, "no-such-address");
    }),
  );
});

describe("the kernel's table of sockets", () => {
  it("says who listens, in both families", () => {
    const head =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    const row = (local: string, state: string, inode: number) =>
      `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0`;
    const table = [
      head,
      row("0100007F:1F92", "0A", 11),
      row("0100007F:1F92", "01", 12),
      row("00000000000000000000000000000000:1F92", "0A", 13),
      row("0100007F:1F93", "0A", 14),
    ].join("\n");
    assert.deepStrictEqual(PortCheck.listeners(table, 0x1f92), ["11", "13"]);
    assert.deepStrictEqual(PortCheck.listeners("", 0x1f92), []);
  });
});
