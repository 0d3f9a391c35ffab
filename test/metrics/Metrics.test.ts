import { assert, describe, it } from "@effect/vitest";
import { Context, Effect, Layer, Metric, MetricState } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as Metrics from "../../src/metrics/Metrics.js";

/** What Effect's own metrics say of accepted connections; undefined where they have no such series. */
const exported = Effect.map(Metric.snapshot, (pairs) => {
  const state = pairs.find(({ metricKey }) => metricKey.name === "lb_connections_opened")?.metricState;
  return state !== undefined && MetricState.isCounterState(state) ? Number(state.count) : undefined;
});

const built = <E, R>(layer: Layer.Layer<Metrics.Metrics, E, R>) =>
  Effect.map(Layer.build(layer), Context.get(Metrics.Metrics));

describe("Metrics", () => {
  it.scoped("stay out of Effect's own metrics, unless that is chosen", () =>
    Effect.gen(function* () {
      const own = yield* built(Metrics.layer());
      own.opened();
      assert.isUndefined(yield* exported);
      const shared = yield* built(Metrics.layerEffect());
      shared.opened();
      shared.opened();
      assert.strictEqual(yield* exported, 2);
      assert.strictEqual(own.total, 1);
      assert.strictEqual(shared.total, 2);
    }),
  );

  it.scoped("are each registry's own, in one composition too", () =>
    Effect.gen(function* () {
      const layer = Registry.layer({ algorithm: roundRobin, rise: 2, fall: 3 });
      const other = Registry.layer({ algorithm: roundRobin, rise: 2, fall: 3 });
      const [a, b] = yield* Layer.build(
        Layer.mergeAll(
          Layer.map(layer, (context) => Context.make(First, Context.get(context, Metrics.Metrics))),
          Layer.map(other, (context) => Context.make(Second, Context.get(context, Metrics.Metrics))),
        ),
      ).pipe(Effect.map((context) => [Context.get(context, First), Context.get(context, Second)] as const));
      a.opened();
      assert.deepStrictEqual([a.total, b.total], [1, 0]);
    }),
  );
});

class First extends Context.Tag("First")<First, typeof Metrics.Metrics.Service>() {}
class Second extends Context.Tag("Second")<Second, typeof Metrics.Metrics.Service>() {}
