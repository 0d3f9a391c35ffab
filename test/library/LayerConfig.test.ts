import { assert, describe, it } from "@effect/vitest";
import { Config, ConfigProvider, Effect, Layer, Logger, Ref, TestClock } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { BackendRegistry } from "../../src/backend/BackendRegistry.js";
import type { Observation } from "../../src/backend/Health.js";
import * as Pool from "../../src/backend/Pool.js";
import * as Settings from "../../src/config/Settings.js";
import { Discovery } from "../../src/discovery/Discovery.js";
import * as DiscoverySync from "../../src/discovery/DiscoverySync.js";
import * as StaticDiscovery from "../../src/discovery/StaticDiscovery.js";
import * as HealthChecker from "../../src/health/HealthChecker.js";
import { Transport } from "../../src/transport/Transport.js";
import { failed, succeeded } from "../support/Observations.js";

/** The program's variables, as a team's own program may have them: with the prefix LB_. */
const prefixed = (values: Readonly<Record<string, string>>) =>
  Effect.withConfigProvider(
    ConfigProvider.mapInputPath(
      ConfigProvider.fromMap(new Map(Object.entries(values))),
      (name) => `LB_${name}`,
    ),
  );

const setting = <Name extends keyof Settings.Settings>(name: Name): Config.Config<Settings.Settings[Name]> =>
  Config.map(Settings.config, (settings) => settings[name]);

const quiet = Effect.provide(Logger.remove(Logger.defaultLogger));

/** What building the layer fails with. */
const failure = <A, E>(layer: Layer.Layer<A, E>, values: Readonly<Record<string, string>>) =>
  Layer.build(layer).pipe(prefixed(values), Effect.flip, Effect.map(String));

const instance = { id: "a", address: { host: "10.0.0.1", port: 80 } };

describe("options from a ConfigProvider with a prefix", () => {
  const registry = Registry.layerConfig({
    rise: setting("healthCheckRise"),
    fall: setting("healthCheckFall"),
  });

  it.scoped("are those of a registry", () =>
    Effect.gen(function* () {
      const { discovered, observed, pool } = yield* BackendRegistry;
      yield* discovered([instance]);
      const observe = (observation: Observation) =>
        Effect.flatMap(pool, (now) =>
          Effect.forEach(Pool.backends(now), (backend) => observed(backend, observation)),
        );
      const healthy = Effect.map(pool, Pool.healthy);
      yield* Effect.repeat(Effect.zipRight(observe(succeeded), healthy), { until: (n) => n === 1 });
      yield* observe(failed("it refused"));
      assert.strictEqual(yield* healthy, 0, "one failure takes it down");
      yield* Effect.repeatN(observe(succeeded), 2);
      assert.strictEqual(yield* healthy, 0, "three successes do not bring it up again");
      yield* observe(succeeded);
      assert.strictEqual(yield* healthy, 1, "four do");
    }).pipe(
      Effect.provide(registry),
      prefixed({ LB_HEALTH_CHECK_RISE: "4", LB_HEALTH_CHECK_FALL: "1" }),
      quiet,
    ),
  );

  it.scoped("are those of discovery's polling", () =>
    Effect.gen(function* () {
      const asked = yield* Ref.make(0);
      const discovery = Layer.succeed(Discovery, {
        source: "a test",
        list: Effect.as(
          Ref.update(asked, (n) => n + 1),
          { instances: [instance], skipped: [] },
        ),
      });
      const synced = DiscoverySync.layerConfig({ interval: setting("discoveryInterval") }).pipe(
        Layer.provide([discovery, Layer.orDie(Registry.layer({}))]),
      );
      yield* Effect.gen(function* () {
        // Each pause is longer or shorter by up to a tenth.
        yield* TestClock.adjust("53 seconds");
        assert.strictEqual(yield* Ref.get(asked), 1);
        yield* TestClock.adjust("14 seconds");
        assert.strictEqual(yield* Ref.get(asked), 2);
      }).pipe(Effect.provide(synced), prefixed({ LB_DISCOVERY_INTERVAL: "1m" }));
      assert.include(
        yield* failure(synced, { LB_DISCOVERY_INTERVAL: "often" }),
        'LB_DISCOVERY_INTERVAL: ""often"',
      );
    }).pipe(quiet),
  );

  it.scoped("are those of a fixed list", () =>
    Effect.gen(function* () {
      const discovery = StaticDiscovery.layerConfig({
        backends: Config.map(setting("backends"), (backends) => backends ?? []),
      });
      const { instances } = yield* Effect.flatMap(Discovery, ({ list }) => list).pipe(
        Effect.provide(discovery),
        prefixed({ LB_BACKENDS: "10.0.0.1:80,10.0.0.2:81" }),
      );
      assert.deepStrictEqual(
        instances.map(({ address }) => address),
        [
          { host: "10.0.0.1", port: 80 },
          { host: "10.0.0.2", port: 81 },
        ],
      );
      assert.include(yield* failure(discovery, { LB_BACKENDS: "10.0.0.1" }), 'LB_BACKENDS: ""10.0.0.1"');
    }),
  );

  it.scoped("are those of the health checker", () =>
    Effect.gen(function* () {
      const probes = yield* Ref.make<ReadonlyArray<number>>([]);
      const transport = Layer.mock(Transport, {
        name: "scripted",
        faults: () => 0,
        watch: () => () => {},
        probe: (_address, { timeoutMillis }) => Ref.update(probes, (before) => [...before, timeoutMillis]),
      });
      const checker = HealthChecker.layerConfig({
        interval: setting("healthCheckInterval"),
        timeout: setting("healthCheckTimeout"),
      }).pipe(Layer.provide(transport), Layer.provideMerge(Layer.orDie(Registry.layer({}))));
      const values = { LB_HEALTH_CHECK_INTERVAL: "1m", LB_HEALTH_CHECK_TIMEOUT: "7s" };
      yield* Effect.gen(function* () {
        yield* Effect.flatMap(BackendRegistry, ({ discovered }) => discovered([instance]));
        yield* TestClock.adjust("53 seconds");
        assert.deepStrictEqual(yield* Ref.get(probes), [7_000]);
        yield* TestClock.adjust("14 seconds");
        assert.deepStrictEqual(yield* Ref.get(probes), [7_000, 7_000]);
      }).pipe(Effect.provide(checker), prefixed(values));
      assert.include(
        yield* failure(checker, { LB_HEALTH_CHECK_TIMEOUT: "0s" }),
        'LB_HEALTH_CHECK_TIMEOUT: ""0s"',
      );
    }).pipe(quiet),
  );

  it.scoped("name the variable of a registry that is wrong", () =>
    Effect.gen(function* () {
      assert.include(yield* failure(registry, { LB_HEALTH_CHECK_RISE: "0" }), 'LB_HEALTH_CHECK_RISE: ""0"');
    }),
  );
});
