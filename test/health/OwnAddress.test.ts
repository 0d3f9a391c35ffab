import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as OwnAddress from "../../src/health/OwnAddress.js";

const address = (host: string, port = 8082) => ({ host, port });

const cases: ReadonlyArray<readonly [string, string, boolean]> = [
  // The bound address itself, however it is spelled, and no other.
  ["127.0.0.1", "127.0.0.1", true],
  ["127.0.0.1", "127.0.0.2", false],
  ["127.0.0.1", "::ffff:127.0.0.1", true],
  ["127.0.0.1", "0.0.0.0", true],
  ["::1", "0:0:0:0:0:0:0:1", true],
  ["::1", "127.0.0.1", false],
  // Every address: all that the kernel routes as local. TEST-NET-3 is nobody's.
  ["0.0.0.0", "127.0.0.1", true],
  ["0.0.0.0", "127.9.8.7", true],
  ["0.0.0.0", "0.0.0.0", true],
  ["0.0.0.0", "203.0.113.7", false],
  ["::", "127.0.0.1", true],
  ["::", "127.9.8.7", true],
  ["::", "203.0.113.7", false],
];

describe("a balancer's own address", () => {
  it.live.each(cases)("listening at %s, a backend at %s: %s", ([listener, host, own]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* OwnAddress.isOwn(address(host), [address(listener)]), own);
      assert.isFalse(yield* OwnAddress.isOwn(address(host, 8083), [address(listener)]), "another port");
      assert.isFalse(yield* OwnAddress.isOwn(address(host), []), "before it listens");
    }),
  );
});
