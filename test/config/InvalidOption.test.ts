import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, Redacted } from "effect";
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

  it.effect.each(["", "fifteen letters", "a line\nand another"])(
    "refuses %j as a token, and does not show it",
    (value) =>
      Effect.gen(function* () {
        assert.strictEqual(
          yield* messageOf(InvalidOption.token("adminToken", Redacted.make(value), 16)),
          "adminToken is <redacted>; accepted: at least 16 printable ASCII characters, on one line",
        );
      }),
  );

  it.effect("takes a token that is long enough, and none", () =>
    Effect.gen(function* () {
      const token = Redacted.make("sixteen letters!");
      assert.strictEqual(yield* InvalidOption.token("adminToken", token, 16), token);
      assert.isUndefined(yield* InvalidOption.token("adminToken", undefined, 16));
    }),
  );
});
