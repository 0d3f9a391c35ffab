import { once } from "node:events";
import * as HttpServer from "@effect/platform/HttpServer";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Layer, Logger, SubscriptionRef } from "effect";
import {
  type Backend,
  BackendRegistry,
  Discovery,
  DiscoverySync,
  HealthChecker,
  LoadBalancer,
  Pool,
} from "zeitwork-load-balancer";
import { dial, serve } from "../support/Sockets.js";
import { program } from "./OwnServer.js";

describe("monitoring in a server of one's own", () => {
  it.scopedLive("answers below its path, beside an exporter that reads Effect's metrics", () =>
    Effect.gen(function* () {
      const { port } = yield* serve((socket) => socket.write("a"));
      const listed = yield* SubscriptionRef.make<ReadonlyArray<Backend.Instance> | Discovery.DiscoveryError>([
        { id: "a", address: { host: "127.0.0.1", port } },
      ]);
      const backends = Layer.merge(
        HealthChecker.layerTest,
        DiscoverySync.layer({ interval: "1 second" }).pipe(Layer.provide(Discovery.layerTest(listed))),
      );
      yield* Effect.gen(function* () {
        const { address } = yield* HttpServer.HttpServer;
        const { address: listening } = yield* LoadBalancer.LoadBalancer;
        const registry = yield* BackendRegistry.BackendRegistry;
        yield* registry.until((pool) => Pool.healthy(pool) === 1);
        const ask = (path: string) =>
          Effect.promise(async () => {
            const serverPort = address._tag === "TcpAddress" ? address.port : 0;
            const answer = await fetch(`http://127.0.0.1:${serverPort}${path}`, {
              headers: { connection: "close" },
            });
            return answer.json();
          });
        assert.deepInclude(yield* ask("/balancer/health"), { status: "healthy", healthy_backends: 1 });

        const client = yield* dial(listening.port);
        yield* Effect.promise(() => once(client, "data"));
        assert.deepStrictEqual(yield* ask("/clients"), [1]);
        // Nothing is left for the drain to wait for.
        client.resetAndDestroy();
      }).pipe(Effect.provide(program({ port: 0, serverPort: 0, backends })));
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
  );
});
