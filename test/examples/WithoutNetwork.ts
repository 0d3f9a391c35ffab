import { Deferred, Effect, Layer, SubscriptionRef } from "effect";
import {
  type Backend,
  BackendRegistry,
  Discovery,
  DiscoverySync,
  HealthChecker,
  LoadBalancer,
  MemoryTransport,
  Pool,
} from "zeitwork-load-balancer";

/** What a client is answered by a backend that sends everything back, in a test without a network. */
export const echoed = Effect.gen(function* () {
  const network = new MemoryTransport.Network();
  network.serve({ host: "10.0.0.1", port: 80 }, (peer) => peer.onData((bytes) => peer.write(bytes)));

  const listed = yield* SubscriptionRef.make<ReadonlyArray<Backend.Instance> | Discovery.DiscoveryError>([]);
  const balancer = LoadBalancer.layer({ port: 8082 }).pipe(
    Layer.provide([
      HealthChecker.layerTest,
      Layer.provide(DiscoverySync.layer({}), Discovery.layerTest(listed)),
    ]),
    Layer.provideMerge(BackendRegistry.layer({})),
    Layer.provide(MemoryTransport.layer(network)),
  );

  return yield* Effect.gen(function* () {
    yield* SubscriptionRef.set(listed, [{ id: "a", address: { host: "10.0.0.1", port: 80 } }]);
    const registry = yield* BackendRegistry.BackendRegistry;
    yield* registry.until((pool) => Pool.healthy(pool) === 1);

    const answer = yield* Deferred.make<string>();
    const client = network.dial(8082);
    client?.onData((bytes) => Deferred.unsafeDone(answer, Effect.succeed(new TextDecoder().decode(bytes))));
    client?.write(new TextEncoder().encode("hello"));
    const text = yield* Deferred.await(answer);
    client?.reset();
    return text;
  }).pipe(Effect.provide(balancer));
});
