import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, FastCheck as fc, Logger, TestClock } from "effect";
import type { ByteCounts } from "../../src/net/ByteCounts.js";
import { intervalOf, type Limits, type Subject, TimeLimits } from "../../src/proxy/TimeLimits.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";
import { eventually } from "../support/Sockets.js";
import { codes, start } from "../support/StartedBalancer.js";

const hour = 3_600_000;

const none: Limits = { idleMillis: undefined, halfClosedMillis: undefined, maxAgeMillis: undefined };

/** A session that is connected and has carried nothing. */
const silent: Subject = {
  id: 1,
  accepted: 0,
  client: ScriptedTransport.client(1),
  connectMillis: 1,
  bytes: { place: 0, received: 0, sent: 0, halfClosed: false },
};

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
        const limits = new TimeLimits({ ...none, maxAgeMillis }, {}, () => next);
        for (const [n, { accepted, ages, drawn, place }] of sessions.entries()) {
          next = drawn;
          for (const age of ages) {
            const subject = { ...silent, id: n + 1, accepted, bytes: { ...silent.bytes, place } };
            const reason = limits.look(subject, accepted + age, 0);
            // What is drawn for others later is not this one's.
            next = 1 - drawn;
            const limit = maxAgeMillis * (0.9 + 0.2 * drawn);
            if (Math.abs(age - limit) > 1e-3) assert.strictEqual(reason, age > limit ? "max-age" : undefined);
          }
        }
      }),
    );
  });

  it("end a session that shows no sign of life for its limit, and none before nine tenths of it", () => {
    const step = fc.record({
      bytes: fc.oneof(
        { weight: 20, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 9 }) },
      ),
      fin: fc.oneof(
        { weight: 30, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.constant(true) },
      ),
      acknowledged: fc.oneof(
        { weight: 20, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 3 }) },
      ),
      written: fc.nat(5),
    });
    const limitsOf = fc.record({
      idleMillis: fc.option(fc.constantFrom(100, 200), { nil: undefined }),
      halfClosedMillis: fc.option(fc.constantFrom(100, 200), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 30, maxLength: 120 }),
        limitsOf,
        (steps, { halfClosedMillis, idleMillis }) => {
          let unacknowledged = 0;
          const wire = { unacknowledged: () => unacknowledged };
          const timeLimits = new TimeLimits({ ...none, idleMillis, halfClosedMillis }, wire, () => 0);
          let { bytes } = silent;
          /** Since when it shows no sign of life. */
          let quietSince = 0;
          for (const [n, { acknowledged, bytes: read, fin, written }] of steps.entries()) {
            const ran = 10 * n;
            const before = unacknowledged;
            unacknowledged = Math.max(0, unacknowledged - acknowledged);
            const first = fin && !bytes.halfClosed;
            if (read > 0 || first || unacknowledged !== before || n === 0) quietSince = ran;
            // Only what was read is written.
            if (read > 0) unacknowledged += written;
            bytes = { ...bytes, received: bytes.received + read, halfClosed: bytes.halfClosed || fin };
            const reason = timeLimits.look({ ...silent, bytes }, 0, ran);
            const quiet = ran - quietSince;
            const half = bytes.halfClosed
              ? (halfClosedMillis ?? Number.POSITIVE_INFINITY)
              : Number.POSITIVE_INFINITY;
            const limit = Math.min(half, idleMillis ?? Number.POSITIVE_INFINITY);
            if (quiet < 0.9 * limit) assert.isUndefined(reason);
            if (quiet >= limit) assert.isDefined(reason);
            if (reason === undefined) continue;
            assert.strictEqual(reason, half === limit ? "half-closed-timeout" : "idle-timeout");
            return;
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("do not end a session that still looks for a backend, or of which bytes come to be known at the last look", () => {
    const bytes = { ...silent.bytes };
    const late = {
      bringUpToDate: () => {
        bytes.sent += 1;
      },
    };
    const timeLimits = new TimeLimits({ ...none, idleMillis: 1_000 }, late, () => 0);
    for (const ran of [0, 5_000]) {
      assert.isUndefined(timeLimits.look({ ...silent, bytes, connectMillis: undefined }, 0, ran));
    }
    for (const ran of [5_001, 5_999, 6_001, 7_001]) {
      assert.isUndefined(timeLimits.look({ ...silent, bytes }, 0, ran));
    }
    assert.strictEqual(bytes.sent, 2);
  });

  it("are looked at twenty times within a limit, but not all the time and not too rarely", () => {
    assert.isUndefined(intervalOf({ ...none, maxAgeMillis: undefined }));
    assert.strictEqual(intervalOf({ ...none, maxAgeMillis: 1 }), 50);
    assert.strictEqual(intervalOf({ ...none, maxAgeMillis: 20_000 }), 1_000);
    assert.strictEqual(intervalOf({ ...none, maxAgeMillis: hour }), 5_000);
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

/** Lets so many looks happen, of those that come every three seconds. */
const looks = (count: number) =>
  Effect.replicateEffect(TestClock.adjust("3 seconds"), count, { discard: true });

describe("IDLE_TIMEOUT", () => {
  it.scoped("resets those of which no byte is heard for so long, and no others", () =>
    Effect.gen(function* () {
      const counts: Array<ByteCounts> = [];
      const relays = ScriptedTransport.relays();
      const transport = yield* ScriptedTransport.make((client, target, options, counted) => {
        counts.push(counted);
        return relays.forward(client, target, options, counted);
      });
      const { log } = yield* start({
        ports: [1001],
        transport: transport.layer,
        options: { drainTimeout: Duration.zero, idleTimeout: "1 minute" },
      });
      yield* transport.accept(ScriptedTransport.client(1), ScriptedTransport.client(2));
      yield* eventually(() => relays.open() === 2);
      for (let n = 0; n < 10; n++) {
        yield* looks(10);
        const [first] = counts;
        if (first !== undefined) first.sent += 1;
      }
      yield* eventually(() => relays.open() === 1);
      assert.deepStrictEqual(codes(log), ["idle-timeout/relaying"]);
      yield* looks(22);
      yield* eventually(() => relays.open() === 0);
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
  );
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
