import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, type Fiber, Logger } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import { Recorder } from "../../src/metrics/Recorder.js";
import * as LoadBalancer from "../../src/proxy/LoadBalancer.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import { ConnectError } from "../../src/transport/Transport.js";
import { succeeded } from "../support/Observations.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** How many frames a fiber has on its stack: what it goes on with, one after the other. Effect has no name for it. */
const framesOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number => {
  const frames: unknown = Reflect.get(fiber, "_stack");
  if (!Array.isArray(frames)) throw new TypeError("a fiber's stack is kept elsewhere by now");
  return frames.length;
};

/**
 * A balancer whose every connect fails. Serves clients, and waits until the last is reset. `attempted` is told how many
 * frames lie below each attempt.
 */
const failing = Effect.fnUntraced(function* (attempted: (frames: number) => void) {
  const transport = yield* ScriptedTransport.make((_client, address) =>
    Effect.withFiberRuntime((fiber) => {
      attempted(framesOf(fiber));
      return Effect.fail(new ConnectError({ reason: "exhausted", address, code: "EMFILE" }));
    }),
  );
  const metrics = new Recorder();
  const sessions = yield* Sessions.make;
  const registry = yield* Effect.provideService(
    Registry.make({ algorithm: roundRobin, rise: 2, fall: 3 }),
    Metrics,
    metrics,
  );
  const { added } = yield* registry.discovered(
    [1001, 1002, 1003].map((port) => ({ id: `b${port}`, address: { host: "127.0.0.1", port } })),
  );
  for (const backend of added) yield* registry.observed(backend, succeeded);
  yield* LoadBalancer.make({
    host: "127.0.0.1",
    port: 0,
    connectTimeout: Duration.seconds(5),
    connectRetries: 2,
    accessLog: "off",
  }).pipe(
    Effect.provide(transport.layer),
    Effect.provideService(BackendRegistry, registry),
    Effect.provideService(Metrics, metrics),
    Effect.provideService(Sessions.Sessions, sessions),
  );
  const { onConnection } = yield* transport.listening;
  let resets = 0;
  const client = ScriptedTransport.client(5, () => {
    resets += 1;
  });
  return (count: number) =>
    Effect.promise(async () => {
      const before = resets;
      for (let n = 1; n <= count; n++) {
        onConnection(client);
        // One after the other, so that one fiber serves them all.
        while (resets < before + n) await new Promise((resolve) => setImmediate(resolve));
      }
    });
});

describe("a session whose connects fail", () => {
  it.scopedLive("goes on at the depth at which the first one began", () =>
    Effect.gen(function* () {
      const depths: Array<number> = [];
      const serve = yield* failing((frames) => depths.push(frames));
      yield* serve(50);
      assert.strictEqual(depths.length, 150);
      assert.deepStrictEqual(new Set(depths), new Set(depths.slice(0, 1)));
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)), Effect.orDie),
  );

  it.scopedLive("leaves nothing behind in its fiber", () =>
    Effect.gen(function* () {
      const serve = yield* failing(() => {});
      const heapAfter = (count: number) =>
        Effect.map(serve(count), () => {
          collectGarbage();
          return process.memoryUsage().heapUsed;
        });
      const before = yield* heapAfter(500);
      const after = yield* heapAfter(1_500);
      // 4,500 failed connects, of which each used to keep three kilobytes and more.
      assert.isBelow((after - before) / 4_500, 300, "bytes kept for each failed connect");
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)), Effect.orDie),
  );
});
