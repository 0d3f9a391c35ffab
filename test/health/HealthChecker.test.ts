import { assert, describe, it } from "@effect/vitest";
import { Deferred, Duration, Effect, Exit, Layer, Logger, Scope, Stream, TestClock } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import * as Pool from "../../src/backend/Pool.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import * as HealthChecker from "../../src/health/HealthChecker.js";
import type { SocketAddress } from "../../src/net/SocketAddress.js";
import { ConnectError, type ConnectFailure, Transport } from "../../src/transport/Transport.js";
import * as SingleSteps from "../support/SingleSteps.js";

/** What a probe in a scripted network comes to; "hangs" does until its deadline, as a black hole does. */
type Behaviour = "answers" | "hangs" | ConnectFailure;

/** A network whose hosts do as they are told, and that remembers who was probed. */
const network = () => {
  const behaviours = new Map<number, Behaviour>();
  const probes: Array<{ readonly host: string; readonly port: number; readonly timeoutMillis: number }> = [];
  /** Probes under way, now and at most. */
  const underWay = { now: 0, most: 0 };
  const fail = (address: SocketAddress, reason: ConnectFailure) =>
    Effect.fail(new ConnectError({ reason, address, code: undefined }));
  const layer = Layer.mock(Transport, {
    name: "scripted",
    faults: () => 0,
    watch: () => () => {},
    probe: (address, { timeoutMillis }) =>
      Effect.suspend(() => {
        probes.push({ ...address, timeoutMillis });
        underWay.now += 1;
        underWay.most = Math.max(underWay.most, underWay.now);
        const behaviour = behaviours.get(address.port) ?? "answers";
        if (behaviour === "hangs") {
          return Effect.zipRight(Effect.sleep(Duration.millis(timeoutMillis)), fail(address, "timeout"));
        }
        return behaviour === "answers" ? Effect.void : fail(address, behaviour);
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            underWay.now -= 1;
          }),
        ),
      ),
  });
  return { behaviours, probes, underWay, layer };
};

const instance = (port: number) => ({ id: `i${port}`, address: { host: "10.0.0.1", port } });

const options = { interval: Duration.seconds(5), timeout: Duration.seconds(2) };

const check = <E>(
  title: string,
  body: (
    net: ReturnType<typeof network>,
  ) => Effect.Effect<void, E, BackendRegistry | HealthChecker.HealthChecker | Scope.Scope>,
  more: HealthChecker.Options = {},
  around: <A, E1, R>(test: Effect.Effect<A, E1, R>) => Effect.Effect<A, E1, R> = (test) => test,
) =>
  it.scoped(title, () => {
    const net = network();
    const registry = Registry.layer({ algorithm: roundRobin, rise: 2, fall: 3 });
    return body(net).pipe(
      Effect.provide(
        HealthChecker.layer({ ...options, ...more }).pipe(
          Layer.provideMerge(Layer.merge(registry, net.layer)),
        ),
      ),
      Effect.provide(Logger.remove(Logger.defaultLogger)),
      around,
    );
  });

const settle = TestClock.adjust(0);
const healthy = Effect.map(
  Effect.flatMap(BackendRegistry, ({ pool }) => pool),
  Pool.healthy,
);
const discovered = (...ports: ReadonlyArray<number>) =>
  Effect.zipRight(
    Effect.flatMap(BackendRegistry, (registry) => registry.discovered(ports.map(instance))),
    settle,
  );

/** Turns of the event loop, in which long lists are taken over, until this is so. */
const turnsUntil = (holds: () => boolean) =>
  Effect.gen(function* () {
    for (let turns = 0; !holds(); turns++) {
      if (turns > 100_000) assert.fail("this did not happen");
      yield* TimeSlices.turn;
    }
  });

const ports = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i + 1);

describe("HealthChecker", () => {
  check("probes every new backend at once, with the time limit, and closes what it opened", (net) =>
    Effect.gen(function* () {
      yield* discovered(1, 2, 3);
      assert.deepStrictEqual(
        net.probes.map(({ port }) => port),
        [1, 2, 3],
      );
      assert.isTrue(net.probes.every(({ timeoutMillis }) => timeoutMillis === 2_000));
      assert.strictEqual(yield* healthy, 3);
    }),
  );

  check("probes again an interval later, give or take a tenth of it", (net) =>
    Effect.gen(function* () {
      yield* discovered(1, 2, 3, 4, 5, 6, 7, 8);
      yield* TestClock.adjust(Duration.millis(4_499));
      assert.strictEqual(net.probes.length, 8);
      yield* TestClock.adjust(Duration.millis(501));
      const bunched = net.probes.length;
      yield* TestClock.adjust(Duration.millis(500));
      assert.strictEqual(net.probes.length, 16);
      assert.isBelow(bunched, 16, "all probes came before the middle of the jitter");
      assert.isAbove(bunched, 8, "all probes came after the middle of the jitter");
    }),
  );

  check("takes a backend down after three failures in a row, and up again after two successes", (net) =>
    Effect.gen(function* () {
      yield* discovered(1);
      const afterProbe = (behaviour: Behaviour) =>
        Effect.gen(function* () {
          net.behaviours.set(1, behaviour);
          const before = net.probes.length;
          // The jitter may put two probes, or none, into any one interval.
          while (net.probes.length === before) yield* TestClock.adjust(Duration.millis(100));
          yield* settle;
          return yield* healthy;
        });
      assert.strictEqual(yield* afterProbe("refused"), 1);
      assert.strictEqual(yield* afterProbe("refused"), 1);
      assert.strictEqual(yield* afterProbe("answers"), 1);
      assert.strictEqual(yield* afterProbe("refused"), 1);
      assert.strictEqual(yield* afterProbe("refused"), 1);
      assert.strictEqual(yield* afterProbe("refused"), 0);
      assert.strictEqual(yield* afterProbe("answers"), 0);
      assert.strictEqual(yield* afterProbe("answers"), 1);
    }),
  );

  check("does not let one that hangs hold up the others", (net) =>
    Effect.gen(function* () {
      net.behaviours.set(1, "hangs");
      yield* discovered(1, 2);
      assert.strictEqual(yield* healthy, 1);
      const { pool } = yield* BackendRegistry;
      assert.strictEqual((yield* pool).unchecked, 1);
      yield* TestClock.adjust(options.timeout);
      assert.strictEqual((yield* pool).unchecked, 0);
      assert.strictEqual(yield* healthy, 1);
    }),
  );

  check("stops probing what is no longer discovered", (net) =>
    Effect.gen(function* () {
      const checker = yield* HealthChecker.HealthChecker;
      yield* discovered(1, 2);
      assert.strictEqual(yield* checker.probed, 2);
      yield* discovered(2);
      assert.strictEqual(yield* checker.probed, 1);
      net.probes.length = 0;
      yield* TestClock.adjust(Duration.minutes(1));
      assert.isAbove(net.probes.length, 8);
      assert.isTrue(net.probes.every(({ port }) => port === 2));
    }),
  );

  check("learns nothing about a backend from a host that is out of descriptors", (net) =>
    Effect.gen(function* () {
      yield* discovered(1);
      net.behaviours.set(1, "exhausted");
      yield* TestClock.adjust(Duration.minutes(1));
      assert.isAbove(net.probes.length, 8);
      assert.strictEqual(yield* healthy, 1);
    }),
  );

  check(
    "probes a long list so many at a time, and each of its addresses once",
    (net) =>
      Effect.gen(function* () {
        const { pool } = yield* BackendRegistry;
        for (const port of ports(200)) net.behaviours.set(port, port % 2 === 0 ? "hangs" : "answers");
        yield* discovered(...ports(200));
        yield* turnsUntil(() => net.underWay.now === 20);
        for (let n = 0; n < 20 && (yield* pool).unchecked > 0; n++) {
          yield* TestClock.adjust(options.timeout);
          yield* TimeSlices.turn;
        }
        assert.strictEqual((yield* pool).unchecked, 0);
        assert.strictEqual(net.underWay.most, 20);
        assert.strictEqual(yield* healthy, 100);
      }),
    { concurrency: 20, interval: "1 hour" },
  );

  check("begins the probes of a long list in slices, with a turn of the event loop after each", (net) =>
    Effect.gen(function* () {
      const inOneTurn: Array<number> = [];
      yield* discovered(...ports(1_000));
      while (net.probes.length < 1_000) {
        const before = net.probes.length;
        yield* TimeSlices.turn;
        inOneTurn.push(net.probes.length - before);
        if (inOneTurn.length > 10_000) assert.fail("they were not probed");
      }
      assert.isAtMost(Math.max(...inOneTurn), 64);
      const { probed } = yield* HealthChecker.HealthChecker;
      assert.strictEqual(yield* probed, 1_000);
    }),
  );

  check("probes an address once, however many backends are there, and tells all of them", (net) =>
    Effect.gen(function* () {
      const registry = yield* BackendRegistry;
      const checker = yield* HealthChecker.HealthChecker;
      const { address } = instance(1);
      yield* registry.discovered(Array.from({ length: 2_000 }, (_, i) => ({ id: `i${i}`, address })));
      yield* settle;
      for (let turns = 0; (yield* healthy) < 2_000; turns++) {
        if (turns > 10_000) assert.fail("not all of them are up");
        yield* TimeSlices.turn;
      }
      assert.strictEqual(net.probes.length, 1);
      assert.strictEqual(yield* checker.probed, 1);
    }),
  );

  check(
    "lets the event loop turn while it sorts a long list by address",
    (net) =>
      Effect.gen(function* () {
        const registry = yield* BackendRegistry;
        const { address } = instance(1);
        const known = Array.from({ length: 10_000 }, (_, i) => ({ id: `i${i}`, address }));
        yield* registry.discovered(known);
        yield* turnsUntil(() => net.probes.length > 0);
        yield* registry.discovered([...known, instance(2)]);
        let turns = 0;
        while (!net.probes.some(({ port }) => port === 2)) {
          yield* TimeSlices.turn;
          turns += 1;
          if (turns > 100_000) assert.fail("it was not probed");
        }
        // 32 are sorted in a step, and nothing else is between the list and the probe.
        assert.isAtLeast(turns, 10_000 / 32);
      }),
    {},
    SingleSteps.inEachTurn,
  );

  check("brings up backends that were left out by one list and are in the next, in one go", (net) =>
    Effect.gen(function* () {
      const registry = yield* BackendRegistry;
      yield* discovered(1, 2, 3);
      net.probes.length = 0;
      yield* registry.discovered([]);
      yield* registry.discovered([3, 2, 1].map(instance));
      yield* settle;
      assert.deepStrictEqual(net.probes.map(({ port }) => port).sort(), [1, 2, 3]);
      assert.strictEqual(yield* healthy, 3);
    }),
  );

  check("probes at once a backend that is new at an address which is probed already", (net) =>
    Effect.gen(function* () {
      const registry = yield* BackendRegistry;
      yield* discovered(1);
      yield* registry.discovered([instance(1), { ...instance(1), id: "another" }]);
      yield* settle;
      assert.strictEqual(net.probes.length, 2);
      assert.strictEqual(yield* healthy, 2);
    }),
  );

  check("never probes the balancer itself, takes it down once it listens, and says so once", (net) =>
    Effect.gen(function* () {
      const registry = yield* BackendRegistry;
      const own = { id: "self", address: { host: "127.0.0.1", port: 8082 } };
      yield* registry.discovered([own, instance(8082)]);
      yield* settle;
      assert.strictEqual(yield* healthy, 2, "nobody listens yet");
      const downs: Array<string> = [];
      const events = yield* registry.events;
      yield* Effect.forkScoped(
        Stream.runForEach(events, (event) =>
          Effect.sync(() => {
            if (event._tag === "Down") downs.push(`${event.backend.id} ${event.backend.health.why?.reason}`);
          }),
        ),
      );
      const scope = yield* Scope.make();
      yield* Scope.extend(registry.listening({ host: "127.0.0.1", port: 8082 }), scope);
      yield* settle;
      assert.strictEqual(yield* healthy, 1);
      net.probes.length = 0;
      yield* TestClock.adjust(Duration.minutes(1));
      assert.isAbove(net.probes.length, 8);
      assert.isTrue(net.probes.every(({ host }) => host === "10.0.0.1"));
      assert.deepStrictEqual(downs, ["self own-address"]);

      // Once the balancer listens there no longer, it is a backend like any other.
      yield* Scope.close(scope, Exit.void);
      yield* TestClock.adjust(Duration.minutes(1));
      assert.strictEqual(yield* healthy, 2);
    }),
  );

  it.effect("refuses options that no timer can hold, by their names", () =>
    Effect.gen(function* () {
      for (const [option, wrong] of [
        ["interval", { interval: Duration.infinity }],
        ["timeout", { timeout: "30 days" }],
        ["timeout", { timeout: 0 }],
        ["concurrency", { concurrency: 0 }],
      ] as const) {
        const error = yield* HealthChecker.layer(wrong).pipe(
          Layer.provide([Registry.layer({}), network().layer]),
          Layer.build,
          Effect.scoped,
          Effect.flip,
        );
        assert.strictEqual(error.option, option);
      }
    }),
  );

  it.scoped("finds every backend well where a test has no network", () =>
    Effect.gen(function* () {
      yield* discovered(1, 2);
      assert.strictEqual(yield* healthy, 2);
      yield* discovered(2, 3, 4);
      assert.strictEqual(yield* healthy, 3);
    }).pipe(
      Effect.provide(Layer.provideMerge(HealthChecker.layerTest, Registry.layer({}))),
      Effect.provide(Logger.remove(Logger.defaultLogger)),
    ),
  );

  it.scoped("ends its probes with its scope", () =>
    Effect.gen(function* () {
      const net = network();
      const started = yield* Deferred.make<void>();
      yield* Effect.gen(function* () {
        yield* discovered(1, 2);
        yield* Deferred.succeed(started, undefined);
      }).pipe(
        Effect.provide(
          HealthChecker.layer(options).pipe(
            Layer.provideMerge(
              Layer.merge(Registry.layer({ algorithm: roundRobin, rise: 2, fall: 3 }), net.layer),
            ),
          ),
        ),
      );
      yield* Deferred.await(started);
      yield* TestClock.adjust(Duration.minutes(1));
      assert.strictEqual(net.probes.length, 2);
    }),
  );
});
