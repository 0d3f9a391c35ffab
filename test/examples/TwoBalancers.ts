import { Context, Effect, Layer } from "effect";
import {
  type Algorithm,
  BackendRegistry,
  DiscoverySync,
  HealthChecker,
  LoadBalancer,
  leastConnections,
  Metrics,
  NodeTransport,
  roundRobin,
  StaticDiscovery,
} from "zeitwork-load-balancer";

interface Options {
  /** In each log line of this balancer. */
  readonly name: string;
  readonly algorithm: Algorithm.Algorithm;
  readonly backends: StaticDiscovery.Options["backends"];
  readonly port: number;
}

/** A balancer with a pool, an algorithm, a discovery, metrics and log annotations of its own. */
const balancer = ({ algorithm, backends, name, port }: Options) =>
  LoadBalancer.layer({ host: "127.0.0.1", port }).pipe(
    Layer.provide([
      HealthChecker.layer({ interval: "1 second", timeout: "500 millis" }),
      DiscoverySync.layer({ interval: "1 second" }).pipe(
        Layer.provide(StaticDiscovery.layer({ backends, timeout: "1 second" })),
      ),
    ]),
    Layer.provideMerge(BackendRegistry.layer({ algorithm, rise: 1, fall: 1 })),
    Layer.provide(NodeTransport.layer),
    Layer.annotateLogs({ balancer: name }),
  );

/** What the rest of the program may ask a balancer. */
export interface Balancer {
  readonly listener: typeof LoadBalancer.LoadBalancer.Service;
  readonly registry: typeof BackendRegistry.BackendRegistry.Service;
  readonly metrics: typeof Metrics.Metrics.Service;
}

export class Web extends Context.Tag("Web")<Web, Balancer>() {}
export class Database extends Context.Tag("Database")<Database, Balancer>() {}

/** Builds a balancer's layers by themselves, so that it shares nothing with another, and puts them behind one tag. */
const named = <Id>(tag: Context.Tag<Id, Balancer>, options: Options) =>
  Layer.scoped(
    tag,
    Effect.map(Layer.build(balancer(options)), (context) => ({
      listener: Context.get(context, LoadBalancer.LoadBalancer),
      registry: Context.get(context, BackendRegistry.BackendRegistry),
      metrics: Context.get(context, Metrics.Metrics),
    })),
  );

/** Two balancers in one program. */
export const balancers = (options: {
  readonly web: Pick<Options, "backends" | "port">;
  readonly database: Pick<Options, "backends" | "port">;
}) =>
  Layer.merge(
    named(Web, { name: "web", algorithm: roundRobin, ...options.web }),
    named(Database, { name: "database", algorithm: leastConnections, ...options.database }),
  );
