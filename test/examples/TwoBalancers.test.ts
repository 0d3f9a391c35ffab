import { once } from "node:events";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Layer, Logger } from "effect";
import { Pool } from "zeitwork-load-balancer";
import * as CapturedLog from "../support/CapturedLog.js";
import { dial, serve } from "../support/Sockets.js";
import { type Balancer, balancers, Database, Web } from "./TwoBalancers.js";

const greeting = (name: string) => serve((socket) => socket.write(name));

const healthy = ({ registry }: Balancer, count: number) =>
  registry.until((pool) => Pool.healthy(pool) === count);

const whoAnswers = ({ listener }: Balancer) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* dial(listener.address.port);
      const [chunk] = yield* Effect.promise(() => once(client, "data"));
      client.resetAndDestroy();
      return String(chunk);
    }),
  );

describe("two balancers in one program", () => {
  it.scopedLive("have each a pool, an algorithm, metrics, log annotations and an end of their own", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      const servers = yield* Effect.all({
        web1: greeting("web1"),
        web2: greeting("web2"),
        db: greeting("db"),
      });
      const at = ({ port }: { readonly port: number }) => ({ host: "127.0.0.1", port });
      const layer = balancers({
        web: { port: 0, backends: [at(servers.web1), at(servers.web2)] },
        database: { port: 0, backends: [at(servers.db)] },
      });
      yield* Effect.gen(function* () {
        const web = yield* Web;
        const database = yield* Database;
        yield* healthy(web, 2);
        yield* healthy(database, 1);
        const pools = yield* Effect.all([web.registry.pool, database.registry.pool]);
        assert.deepStrictEqual(
          pools.map(({ algorithm, listed }) => [algorithm.name, listed]),
          [
            ["round-robin", 2],
            ["least-connections", 1],
          ],
        );

        const answers = yield* Effect.replicateEffect(whoAnswers(web), 4);
        assert.deepStrictEqual([...answers].sort(), ["web1", "web1", "web2", "web2"]);
        assert.strictEqual(yield* whoAnswers(database), "db");
        assert.deepStrictEqual([web.metrics.total, database.metrics.total], [4, 1]);

        // One ends, and the other serves on.
        yield* web.listener.drain;
        assert.strictEqual(yield* whoAnswers(database), "db");
        assert.deepStrictEqual(yield* Effect.all([web.listener.phase, database.listener.phase]), [
          "draining",
          "listening",
        ]);
      }).pipe(
        Effect.provide(layer),
        Effect.provide(Layer.merge(log.layer, Logger.remove(Logger.defaultLogger))),
      );
      const annotated = (message: string) =>
        log.lines
          .filter((line) => line.message === message)
          .map(({ annotations }) => annotations["balancer"])
          .sort();
      assert.deepStrictEqual(annotated("listening"), ["database", "web"]);
      assert.deepStrictEqual(annotated("drained"), ["database", "web"]);
      // Of the sessions, too, whose fibers start with nothing.
      assert.deepStrictEqual([...new Set(annotated("connection"))], ["database", "web"]);
    }),
  );
});
