import { createServer } from "node:http";
import * as HttpRouter from "@effect/platform/HttpRouter";
import * as HttpServer from "@effect/platform/HttpServer";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer";
import { Effect, Layer, Metric, MetricState } from "effect";
import {
  BackendRegistry,
  type DiscoverySync,
  type HealthChecker,
  LoadBalancer,
  Metrics,
  Monitoring,
  NodeTransport,
  roundRobin,
  Sessions,
} from "zeitwork-load-balancer";

/** An exporter of your own: it reads Effect's metrics, to which `Metrics.layerEffect` writes. */
const clients = Effect.map(Metric.snapshot, (pairs) =>
  pairs.flatMap(({ metricKey, metricState }) =>
    metricKey.name === "lb_connections_opened" && MetricState.isCounterState(metricState)
      ? [Number(metricState.count)]
      : [],
  ),
);

/** A server of your own, with monitoring mounted below a path of it. */
const server = (port: number) =>
  Layer.unwrapScoped(
    Effect.map(Monitoring.httpApp({}), (app) =>
      HttpRouter.empty.pipe(
        HttpRouter.get("/clients", Effect.flatMap(clients, HttpServerResponse.json)),
        HttpRouter.mountApp("/balancer", app),
        HttpServer.serve(),
      ),
    ),
  ).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port })));

/**
 * The balancer and the server. What discovers and checks the backends is given, so that a test can bring
 * `Discovery.layerTest` and `HealthChecker.layerTest`. `Sessions.layer` is one constant: both share it.
 */
export const program = <E, R>(options: {
  readonly port: number;
  readonly serverPort: number;
  readonly backends: Layer.Layer<DiscoverySync.DiscoverySync | HealthChecker.HealthChecker, E, R>;
}) =>
  LoadBalancer.layer({ host: "127.0.0.1", port: options.port }).pipe(
    Layer.provideMerge(Layer.provide(server(options.serverPort), Sessions.layer)),
    Layer.provide(options.backends),
    Layer.provideMerge(BackendRegistry.layerWithoutDependencies({ algorithm: roundRobin })),
    Layer.provide([NodeTransport.layer, Metrics.layerEffect()]),
  );
