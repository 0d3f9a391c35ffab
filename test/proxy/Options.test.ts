import { assert, describe, it } from "@effect/vitest";
import { Config, ConfigProvider, Context, Duration, Effect, Either, Layer, Logger } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import type { Metrics } from "../../src/metrics/Metrics.js";
import * as LoadBalancer from "../../src/proxy/LoadBalancer.js";
import type { Transport } from "../../src/transport/Transport.js";
import * as ScriptedTransport from "../support/ScriptedTransport.js";

/** A registry whose first discovery has ended. */
const registry = Layer.unwrapScoped(
  Effect.map(
    Layer.build(Registry.layer({ algorithm: roundRobin, rise: 2, fall: 3 })).pipe(
      Effect.tap((context) => Context.get(context, Registry.BackendRegistry).discovered([])),
    ),
    Layer.succeedContext,
  ),
);

/** How the balancer that a layer builds listens. */
const listening = <E>(
  layer: Layer.Layer<LoadBalancer.LoadBalancer, E, Registry.BackendRegistry | Metrics | Transport>,
) =>
  Effect.gen(function* () {
    const transport = yield* ScriptedTransport.make(ScriptedTransport.relayOnce);
    yield* Layer.build(layer.pipe(Layer.provide([registry, transport.layer])));
    return yield* transport.listening;
  }).pipe(Effect.scoped, Effect.provide(Logger.remove(Logger.defaultLogger)));

describe("LoadBalancer's options", () => {
  it.effect("may be left out, but for the port", () =>
    Effect.gen(function* () {
      const { backlog, host, inherited, port } = yield* listening(LoadBalancer.layer({ port: 8082 }));
      assert.deepStrictEqual(
        { host, port, inherited },
        { host: undefined, port: 8082, inherited: undefined },
      );
      assert.isAbove(backlog, 0);
    }),
  );

  const invalid: ReadonlyArray<readonly [option: string, Partial<LoadBalancer.Options>]> = [
    ["port", { port: 70_000 }],
    ["port", { port: Number.NaN }],
    ["port", { port: -1 }],
    ["host", { host: "localhost" }],
    ["host", { host: "[::1]" }],
    ["connectTimeout", { connectTimeout: Duration.infinity }],
    ["connectTimeout", { connectTimeout: "25 days" }],
    ["connectTimeout", { connectTimeout: 0 }],
    ["connectRetries", { connectRetries: 1.5 }],
    ["connectRetries", { connectRetries: -1 }],
    ["connectRetries", { connectRetries: 101 }],
    ["maxConnections", { maxConnections: 0 }],
    ["maxConnections", { maxConnections: 2.5 }],
    ["maxConnectionsPerClient", { maxConnectionsPerClient: 0 }],
    ["maxConnectionsPerClient", { maxConnectionsPerClient: 1_000_001 }],
    ["maxConnectionRatePerClient.count", { maxConnectionRatePerClient: { count: 0, per: "second" } }],
    ["drainTimeout", { drainTimeout: Duration.infinity }],
    ["drainTimeout", { drainTimeout: "25 days" }],
  ];
  for (const [option, options] of invalid) {
    it.effect(
      `are refused with the name of the field: ${option}, of ${Object.values(options).map(String)}`,
      () =>
        Effect.gen(function* () {
          const result = yield* Effect.either(listening(LoadBalancer.layer({ port: 8082, ...options })));
          if (Either.isRight(result)) return assert.fail("it was accepted");
          const error = result.left;
          assert.strictEqual(error._tag, "InvalidOption");
          assert.strictEqual(error._tag === "InvalidOption" ? error.option : undefined, option);
        }),
    );
  }

  it.effect("may be a drain of no time, which resets at once", () =>
    Effect.asVoid(listening(LoadBalancer.layer({ port: 8082, drainTimeout: 0 }))),
  );

  const config = LoadBalancer.layerConfig({
    host: Config.string("HOST"),
    port: Config.integer("PORT"),
    connectTimeout: Config.withDefault(Config.duration("CONNECT_TIMEOUT"), Duration.seconds(1)),
  });

  it.effect("can come from a ConfigProvider", () =>
    Effect.gen(function* () {
      const { host, port } = yield* listening(config);
      assert.deepStrictEqual({ host, port }, { host: "127.0.0.1", port: 9000 });
    }).pipe(
      Effect.withConfigProvider(
        ConfigProvider.fromMap(
          new Map([
            ["HOST", "127.0.0.1"],
            ["PORT", "9000"],
          ]),
        ),
      ),
    ),
  );

  it.effect("are refused, too, where they come from there", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(listening(config));
      assert.include(String(missing), "PORT");
      const wrong = yield* Effect.flip(
        Effect.withConfigProvider(
          listening(config),
          ConfigProvider.fromMap(
            new Map([
              ["HOST", "localhost"],
              ["PORT", "9000"],
            ]),
          ),
        ),
      );
      assert.include(String(wrong), "host");
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["HOST", "127.0.0.1"]])))),
  );
});
