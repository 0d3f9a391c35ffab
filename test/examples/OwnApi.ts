import { createServer } from "node:http";
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint";
import * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer";
import { Effect, Layer, type Redacted, Schema } from "effect";
import { BackendRegistry, Monitoring, MonitoringApi, roundRobin, Sessions } from "zeitwork-load-balancer";

const Orders = HttpApiGroup.make("orders").add(
  HttpApiEndpoint.get("count", "/orders").addSuccess(Schema.Int),
);

/** An API of your own, with that of monitoring below a path of it: one OpenAPI, one derived client for both. */
export const Ours = HttpApi.make("ours").add(Orders).addHttpApi(MonitoringApi.Api.prefix("/balancer"));

const orders = HttpApiBuilder.group(Ours, "orders", (handlers) =>
  handlers.handle("count", () => Effect.succeed(7)),
);

/** Its server, over a registry that a balancer of this program may share. */
export const server = (options: { readonly port: number; readonly adminToken: Redacted.Redacted }) =>
  HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.api(Ours)),
    Layer.provide([orders, Monitoring.layerHandlers(Ours, { adminToken: options.adminToken })]),
    Layer.provide(Sessions.layer),
    Layer.provideMerge(BackendRegistry.layer({ algorithm: roundRobin })),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: options.port })),
  );
