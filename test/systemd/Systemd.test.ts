import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, Either, Exit, Layer } from "effect";
import { layer as registryLayer } from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { inherited } from "../../src/systemd/InheritedSocket.js";
import * as Systemd from "../../src/systemd/Systemd.js";
import * as CapturedLog from "../support/CapturedLog.js";

describe("what systemd passes", () => {
  it("is one socket, for this process", () => {
    const passed = (LISTEN_FDS: string | undefined, LISTEN_PID: string | undefined) =>
      inherited({ LISTEN_FDS, LISTEN_PID }, 42);
    assert.deepStrictEqual(passed("1", "42"), Either.right(3));
    assert.deepStrictEqual(passed("1", "41"), Either.right(undefined));
    assert.deepStrictEqual(passed("1", undefined), Either.right(undefined));
    assert.deepStrictEqual(passed(undefined, "42"), Either.right(undefined));
    assert.deepStrictEqual(passed("0", "42"), Either.right(undefined));
    for (const count of ["2", "-1", "many", "01"]) {
      const refused = passed(count, "42");
      assert.isTrue(Either.isLeft(refused) && refused.left.message.includes(`LISTEN_FDS=${count} `), count);
    }
  });
});

describe("what systemd asks for", () => {
  it("is nothing without a notification socket", () => {
    assert.isUndefined(Systemd.fromEnvironment({ WATCHDOG_USEC: "1000" }, 42));
    assert.isUndefined(Systemd.fromEnvironment({ NOTIFY_SOCKET: "" }, 42));
    const given = { NOTIFY_SOCKET: "/run/n", WATCHDOG_USEC: "1000", WATCHDOG_PID: "42" };
    assert.deepStrictEqual(Systemd.fromEnvironment(given, 42), {
      socket: "/run/n",
      watchdogMicros: "1000",
      watchdogPid: "42",
      pid: 42,
    });
  });
});

describe("signs of life", () => {
  const interval = (watchdogMicros: string | undefined, watchdogPid?: string) =>
    Systemd.watchdogInterval({ watchdogMicros, watchdogPid, pid: 42 });

  it("come twice as often as systemd asks for, and only if it asks this process", () => {
    assert.deepStrictEqual(interval("20000000"), Duration.seconds(10));
    assert.deepStrictEqual(interval("20000000", "42"), Duration.seconds(10));
    assert.deepStrictEqual(interval("1"), Duration.millis(1));
    for (const [micros, pid] of [[undefined], ["0"], ["soon"], ["-5"], ["20000000", "41"]] as const) {
      assert.isUndefined(interval(micros, pid));
    }
  });
});

describe("a notification socket that is none", () => {
  it.scoped("is told once, and does not keep the balancer from starting", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      const options = { socket: "vsock:2:1234", watchdogMicros: "1000", watchdogPid: undefined, pid: 42 };
      const started = yield* Effect.exit(
        Layer.build(
          Layer.provide(
            Systemd.readiness({
              probesTimeout: Duration.seconds(1),
              stopTimeout: Duration.seconds(1),
            }).pipe(Layer.provide(Systemd.layer(options))),
            registryLayer({ algorithm: roundRobin, rise: 1, fall: 1 }),
          ),
        ).pipe(Effect.provide(log.layer)),
      );
      assert.isTrue(Exit.isSuccess(started));
      assert.lengthOf(log.lines, 1);
      assert.match(String(log.lines[0]?.annotations["why"]), /^NOTIFY_SOCKET is not .* vsock:2:1234$/);
    }),
  );
});
