import { once } from "node:events";
import { FileSystem } from "@effect/platform";
import { NodeContext } from "@effect/platform-node";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Logger, Stream } from "effect";
import { BackendRegistry, LoadBalancer, Pool } from "zeitwork-load-balancer";
import { dial, serve } from "../support/Sockets.js";
import { balancer } from "./PrimaryStandby.js";

const greeting = (name: string) => serve((socket) => socket.write(name));

/** Waits until this is true of the pool. */
const poolIs = (so: (pool: Pool.Pool) => boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      const registry = yield* BackendRegistry.BackendRegistry;
      const events = yield* registry.events;
      yield* Stream.concat(Stream.void, events).pipe(
        Stream.mapEffect(() => registry.pool),
        Stream.takeUntil(so),
        Stream.runDrain,
      );
    }),
  );

const whoAnswers = Effect.gen(function* () {
  const { address } = yield* LoadBalancer.LoadBalancer;
  const client = yield* dial(address.port);
  const [chunk] = yield* Effect.promise(() => once(client, "data"));
  client.resetAndDestroy();
  return String(chunk);
}).pipe(Effect.scoped);

describe("the example in docs/library.md", () => {
  it.scopedLive(
    "serves from the primary, and from the standby once the file no longer names the primary",
    () =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem;
        const path = yield* files.makeTempFileScoped();
        const [primary, standby] = yield* Effect.all([greeting("primary"), greeting("standby")]);
        const entry = (id: string, { port }: { readonly port: number }) => ({ id, host: "127.0.0.1", port });
        const list = (entries: ReadonlyArray<unknown>) =>
          files.writeFileString(path, JSON.stringify(entries));

        yield* list([entry("p", primary), entry("s", standby)]);
        yield* Effect.gen(function* () {
          yield* poolIs((pool) => Pool.healthy(pool) === 2);
          assert.deepStrictEqual(yield* Effect.replicateEffect(whoAnswers, 5), Array(5).fill("primary"));

          yield* list([entry("s", standby)]);
          yield* poolIs((pool) => pool.listed === 1);
          assert.deepStrictEqual(yield* Effect.replicateEffect(whoAnswers, 5), Array(5).fill("standby"));
        }).pipe(Effect.provide(balancer({ backends: path, port: 0 })));
      }).pipe(Effect.provide([NodeContext.layer, Logger.remove(Logger.defaultLogger)])),
  );
});
