import { assert, describe, it } from "@effect/vitest";
import { Effect, Layer, Logger } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as MonotonicClock from "../../src/clock/MonotonicClock.js";
import { catalog } from "../../src/metrics/Catalog.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import { loopDelays } from "../../src/metrics/ProcessGauges.js";
import * as MetricsCollector from "../../src/monitoring/MetricsCollector.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import { succeeded } from "../support/Observations.js";
import * as SetClock from "../support/SetClock.js";

const registry = Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 }).pipe(
  Layer.provide(Logger.remove(Logger.defaultLogger)),
);

describe("the gauges", () => {
  it.scoped("have ages that do not follow the wall clock", () =>
    Effect.gen(function* () {
      const { adjust, clock, set } = yield* SetClock.make;
      yield* Effect.gen(function* () {
        const { discovered, observed, pool, queued } = yield* Registry.BackendRegistry;
        const metrics = yield* Metrics;
        const sessions = yield* Sessions.make;
        const { added } = yield* discovered([{ id: "a", address: { host: "10.0.0.1", port: 1 } }]);
        for (const backend of added) yield* observed(backend, succeeded);
        metrics.polled("success", yield* MonotonicClock.now);
        set(-3_600_000);
        yield* adjust("90 seconds");
        const delays = yield* loopDelays;
        const snapshot = yield* sessions.snapshot;
        const sources = { pool: yield* pool, metrics, sessions: snapshot, queued: yield* queued };
        const all = [...MetricsCollector.everything(sources, {}, delays, yield* MonotonicClock.now)];
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
});
