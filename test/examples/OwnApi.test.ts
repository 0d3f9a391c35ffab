import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiClient from "@effect/platform/HttpApiClient";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import * as HttpServer from "@effect/platform/HttpServer";
import * as OpenApi from "@effect/platform/OpenApi";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Exit, Layer, Logger, Redacted, Scope } from "effect";
import { BackendRegistry, Monitoring, MonitoringApi } from "zeitwork-load-balancer";
import { Ours, server } from "./OwnApi.js";

const adminToken = Redacted.make("correct-horse-battery");

/** The server, and what ends it. */
const start = Effect.gen(function* () {
  const scope = yield* Scope.make();
  const stop = Scope.close(scope, Exit.void);
  yield* Effect.addFinalizer(() => stop);
  const context = yield* Layer.buildWithScope(server({ port: 0, adminToken }), scope);
  const { address, registry } = yield* Effect.all({
    address: Effect.map(HttpServer.HttpServer, ({ address }) => address),
    registry: BackendRegistry.BackendRegistry,
  }).pipe(Effect.provide(context));
  const origin = `http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`;
  return { origin, registry, stop };
});

describe("monitoring in an HttpApi of one's own", () => {
  it.scopedLive("answers below its prefix, and is in the derived client with its errors", () =>
    Effect.gen(function* () {
      const { origin, registry } = yield* start;
      const client = yield* HttpApiClient.make(Ours, { baseUrl: origin });
      assert.strictEqual(yield* client.orders.count(), 7);
      assert.instanceOf(yield* Effect.flip(client.health()), MonitoringApi.NotServing);

      yield* registry.discovered([{ id: "a", address: { host: "10.0.0.1", port: 1 } }]);
      const [listed] = yield* client.backends();
      assert.deepInclude(listed, { id: "a", address: "10.0.0.1:1" });
      assert.strictEqual((yield* client.live.status()).total_backends, 1);
      const drain = { path: { id: "a" } };
      assert.instanceOf(yield* Effect.flip(client.steering.drain(drain)), MonitoringApi.Unauthorized);
      const operator = yield* HttpApiClient.make(Ours, {
        baseUrl: origin,
        transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(Redacted.value(adminToken))),
      });
      assert.strictEqual((yield* operator.steering.drain(drain)).admin, "draining");

      assert.includeMembers(Object.keys(OpenApi.fromApi(Ours).paths), [
        "/orders",
        "/balancer/metrics",
        "/balancer/backends/{id}/drain",
      ]);
    }).pipe(Effect.provide([FetchHttpClient.layer, Logger.remove(Logger.defaultLogger)])),
  );

  it.scopedLive("ends the streams of events before the server waits for its last answer", () =>
    Effect.gen(function* () {
      const { origin, stop } = yield* start;
      const answer = yield* Effect.promise(() => fetch(`${origin}/balancer/events`));
      const reader = answer.body?.getReader();
      const first = yield* Effect.promise(async () => reader?.read());
      assert.match(Buffer.from(first?.value ?? []).toString(), /^event: history\n/);
      const ended = Effect.promise(async () => {
        while ((await reader?.read())?.done === false);
      });
      yield* Effect.all([ended, stop], { concurrency: "unbounded" });
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
  );

  it("does not compile where the API lacks what it answers", () => {
    // @ts-expect-error MonitoringApi.Api was not added.
    assert.isDefined(() => Monitoring.layerHandlers(HttpApi.make("ours"), {}));
  });
});
