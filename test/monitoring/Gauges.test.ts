import { assert, describe, it } from "@effect/vitest";
import { Effect, Layer, Logger } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as MonotonicClock from "../../src/clock/MonotonicClock.js";
import { catalog } from "../../src/metrics/Catalog.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import * as Gauges from "../../src/monitoring/Gauges.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as SetClock from "../support/SetClock.js";

const registry = Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 }).pipe(
  Layer.provide(Logger.remove(Logger.defaultLogger)),
);

describe("the gauges", () => {
  it.scoped("have ages that do not follow the wall clock", () =>
    Effect.gen(function* () {
      const { adjust, clock, set } = yield* SetClock.make;
      yield* Effect.gen(function* () {
        const { discovered, observed, pool } = yield* Registry.BackendRegistry;
        const metrics = yield* Metrics;
        const sessions = yield* Sessions.make;
        const { added } = yield* discovered([{ id: "a", address: { host: "10.0.0.1", port: 1 } }]);
        for (const backend of added) yield* observed(backend, { succeeded: true });
        metrics.polled("success", yield* MonotonicClock.now);
        set(-3_600_000);
        yield* adjust("90 seconds");
        const all = Gauges.ofPool(yield* pool, metrics, yield* sessions.snapshot, yield* MonotonicClock.now);
        for (const { name } of [catalog.stateSeconds, catalog.listSeconds]) {
          assert.deepStrictEqual(
            all.filter((one) => one.name === name).map(({ value }) => value),
            [90],
          );
        }
      }).pipe(
        Effect.provide(registry),
        Effect.provide(Logger.remove(Logger.defaultLogger)),
        Effect.withClock(clock),
      );
    }),
  );

  it.scoped("have one start of the process", () =>
    Effect.gen(function* () {
      const delays = yield* Gauges.loopDelays;
      const started = () =>
        Gauges.ofProcess({}, "round-robin", delays).find(({ name }) => name === catalog.started.name)?.value;
      const first = started();
      assert.isNumber(first);
      // What a start time that is reckoned back from now would follow.
      const { now } = Date;
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          Date.now = () => now() - 3_600_000;
        }),
        () =>
          Effect.sync(() => {
            Date.now = now;
          }),
      );
      assert.strictEqual(started(), first);
      assert.approximately(Number(first), now() / 1000 - process.uptime(), 60);
    }),
  );
});
