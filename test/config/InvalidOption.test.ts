import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect } from "effect";
import * as InvalidOption from "../../src/config/InvalidOption.js";

const messageOf = <A>(check: Effect.Effect<A, InvalidOption.InvalidOption>) =>
  Effect.map(Effect.flip(check), ({ message }) => message);

describe("InvalidOption", () => {
  it.effect.each([70000, -1, 80.5, Number.NaN, Number.POSITIVE_INFINITY])("refuses %s as a port", (value) =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* messageOf(InvalidOption.port("port", value)),
        `port is ${value}; accepted: a whole number from 0 to 65535`,
      );
    }),
  );

  it.effect.each([0, 8082, 65535])("takes %s as a port", (value) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* InvalidOption.port("port", value), value);
    }),
  );

  it.effect("refuses a name where an address is needed, and takes addresses and none", () =>
    Effect.gen(function* () {
      assert.include(yield* messageOf(InvalidOption.ipAddress("host", "localhost")), 'host is "localhost"');
      assert.include(yield* messageOf(InvalidOption.ipAddress("host", "")), 'host is ""');
      assert.strictEqual(yield* InvalidOption.ipAddress("host", "::1"), "::1");
      assert.strictEqual(yield* InvalidOption.ipAddress("host", undefined), undefined);
    }),
  );

  it.effect.each([Duration.infinity, Duration.days(25), Duration.zero, "21 days"] as const)(
    "refuses %s as a duration",
    (value) =>
      Effect.gen(function* () {
        assert.include(yield* messageOf(InvalidOption.duration("timeout", value)), "timeout is ");
      }),
  );

  it.effect("answers a duration in milliseconds", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* InvalidOption.duration("timeout", "2 seconds"), 2000);
      assert.strictEqual(yield* InvalidOption.duration("timeout", 0, Duration.zero), 0);
    }),
  );

  it.effect("takes infinity for none where there may be none, and no other that is too long", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* InvalidOption.durationOrNone("idleTimeout", Duration.infinity));
      assert.isUndefined(yield* InvalidOption.durationOrNone("idleTimeout", undefined));
      assert.strictEqual(yield* InvalidOption.durationOrNone("idleTimeout", "1 minute"), 60_000);
      assert.include(
        yield* messageOf(InvalidOption.durationOrNone("idleTimeout", "25 days")),
        "idleTimeout is ",
      );
    }),
  );
});
