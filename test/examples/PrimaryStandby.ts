import { FileSystem } from "@effect/platform";
import { Effect, Layer, Schema } from "effect";
import {
  type Algorithm,
  BackendRegistry,
  Discovery,
  DiscoverySync,
  HealthChecker,
  Load,
  LoadBalancer,
  NodeTransport,
} from "zeitwork-load-balancer";

/** An algorithm of your own: the first healthy backend of the list takes everything, the others stand by. */
export const primaryStandby: Algorithm.Algorithm<undefined> = {
  name: "primary-standby",
  initial: undefined,
  choose: (_members, load) => {
    const first = Load.nextOpen(load, -1);
    return first === undefined ? undefined : { slot: first, state: undefined };
  },
};

const Entries = Schema.parseJson(
  Schema.Array(
    Schema.Struct({
      id: Schema.NonEmptyString,
      host: Schema.String,
      port: Schema.Int.pipe(Schema.between(1, 65535)),
    }),
  ),
);

/** A Discovery of your own: a JSON file that some other program writes, read again on every poll. */
const fileDiscovery = (path: string) =>
  Layer.effect(
    Discovery.Discovery,
    Effect.map(FileSystem.FileSystem, (files) => ({
      source: path,
      list: files.readFileString(path).pipe(
        Effect.catchAll(({ message }) => new Discovery.DiscoveryError({ reason: "unreachable", message })),
        Effect.flatMap((text) =>
          Effect.catchAll(
            Schema.decode(Entries)(text),
            ({ message }) => new Discovery.DiscoveryError({ reason: "malformed", message }),
          ),
        ),
        Effect.map((entries) => ({
          instances: entries.map(({ id, host, port }) => ({ id, address: { host, port } })),
          skipped: [],
        })),
      ),
    })),
  );

/** The balancer as one Layer. Its clients are drained when the scope it was built in closes. */
export const balancer = (options: { readonly backends: string; readonly port: number }) =>
  LoadBalancer.layer({
    host: "127.0.0.1",
    port: options.port,
    connectTimeout: "2 seconds",
    connectRetries: 1,
    drainTimeout: "10 seconds",
  }).pipe(
    Layer.provide([
      HealthChecker.layer({ interval: "1 second", timeout: "500 millis" }),
      DiscoverySync.layer({ interval: "1 second" }).pipe(Layer.provide(fileDiscovery(options.backends))),
    ]),
    Layer.provideMerge(BackendRegistry.layer({ algorithm: primaryStandby, rise: 1, fall: 1 })),
    Layer.provide(NodeTransport.layer),
  );
