import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, FastCheck as fc, Logger, TestClock } from "effect";
import { intervalOf, TimeLimits } from "../../src/proxy/TimeLimits.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";
import { eventually } from "../support/Sockets.js";
import { codes, start } from "../support/StartedBalancer.js";

const hour = 3_600_000;

describe("TimeLimits", () => {
  it("end each session at an age that is drawn once, a tenth around the limit, whoever had its place before", () => {
    const session = fc.record({
      place: fc.nat(3_000),
      accepted: fc.nat(1_000_000),
      drawn: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      ages: fc.array(fc.nat(3 * hour), { minLength: 1 }),
    });
    fc.assert(
      fc.property(fc.array(session), fc.integer({ min: 1, max: hour }), (sessions, maxAgeMillis) => {
        let next = 0;
        const limits = new TimeLimits({ maxAgeMillis }, () => next);
        for (const [n, { accepted, ages, drawn, place }] of sessions.entries()) {
          next = drawn;
          for (const age of ages) {
            const reason = limits.look({ id: n + 1, accepted, bytes: { place } }, accepted + age);
            // What is drawn for others later is not this one's.
            next = 1 - drawn;
            const limit = maxAgeMillis * (0.9 + 0.2 * drawn);
            if (Math.abs(age - limit) > 1e-3) assert.strictEqual(reason, age > limit ? "max-age" : undefined);
          }
        }
      }),
    );
  });

  it("are looked at twenty times within a limit, but not all the time and not too rarely", () => {
    assert.isUndefined(intervalOf({ maxAgeMillis: undefined }));
    assert.strictEqual(intervalOf({ maxAgeMillis: 1 }), 50);
    assert.strictEqual(intervalOf({ maxAgeMillis: 20_000 }), 1_000);
    assert.strictEqual(intervalOf({ maxAgeMillis: hour }), 5_000);
  });
});

/** A balancer whose backends answer at once, and as many clients as there are ports. */
const withClients = (
  options: NonNullable<Parameters<typeof start>[0]["options"]>,
  ports: ReadonlyArray<number>,
) =>
  Effect.gen(function* () {
    const relays = ScriptedTransport.relays();
    const transport = yield* ScriptedTransport.make(relays.forward);
    const reset: Array<number> = [];
    const started = yield* start({
      ports: [1001],
      transport: transport.layer,
      options: { drainTimeout: Duration.zero, ...options },
    });
    yield* transport.accept(...ports.map((port) => ScriptedTransport.client(port, () => reset.push(port))));
    yield* eventually(() => relays.open() === ports.length);
    return { ...started, relays, reset };
  });

describe("MAX_CONNECTION_AGE", () => {
  it.scoped(
    "resets connections between nine and eleven tenths of it, not all at once, and gives them back",
    () =>
      Effect.gen(function* () {
        const clients = Array.from({ length: 100 }, (_, n) => n + 1);
        const { balancer, log, registry, relays, reset } = yield* withClients(
          { maxConnectionAge: "1 minute" },
          clients,
        );
        yield* TestClock.adjust("53 seconds");
        assert.strictEqual(relays.open(), 100);
        yield* TestClock.adjust("7 seconds");
        yield* eventually(() => relays.open() < 100);
        assert.isAbove(relays.open(), 0, "those that began together do not end together");
        // A look comes every three seconds.
        yield* TestClock.adjust("9 seconds");
        yield* eventually(() => relays.open() === 0);
        yield* eventually(() => log.lines.filter(({ message }) => message === "connection").length === 100);
        assert.deepStrictEqual([...new Set(codes(log))], ["max-age/relaying"]);
        assert.sameMembers(reset, clients);
        assert.strictEqual(yield* balancer.open, 0);
        assert.strictEqual((yield* registry.pool).connections, 0);
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
  );

  it.scoped("is no limit while it is unset", () =>
    Effect.gen(function* () {
      const { relays } = yield* withClients({}, [1, 2, 3]);
      yield* TestClock.adjust(Duration.days(100));
      assert.strictEqual(relays.open(), 3);
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
  );
});
