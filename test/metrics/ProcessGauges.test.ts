import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { catalog } from "../../src/metrics/Catalog.js";
import * as ProcessGauges from "../../src/metrics/ProcessGauges.js";

describe("the gauges of the process", () => {
  it.scoped("have one start of the process", () =>
    Effect.gen(function* () {
      const delays = yield* ProcessGauges.loopDelays;
      const started = () =>
        ProcessGauges.make({}, "round-robin", delays).find(({ name }) => name === catalog.started.name)
          ?.value;
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
