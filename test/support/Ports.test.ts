import { once } from "node:events";
import { createServer } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { vi } from "vitest";
import * as Ports from "./Ports.js";

describe("the ports for tests", () => {
  it.effect("are never the same twice, for whoever asks (the three-nc recipe failed of it)", () =>
    Effect.gen(function* () {
      // Another process has its own copy of what is imported.
      vi.resetModules();
      const { unused } = yield* Effect.promise(() => import("./Ports.js"));
      const ports = yield* Effect.all(
        [Effect.replicateEffect(Ports.unused, 200), Effect.replicateEffect(unused, 200)],
        { concurrency: "unbounded" },
      );
      assert.strictEqual(new Set(ports.flat()).size, 400);
    }),
  );

  it.scoped("leave out what somebody listens on", () =>
    Effect.gen(function* () {
      const next = (yield* Ports.unused) + 1;
      yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = createServer().listen(next, "127.0.0.1");
          // Or somebody else listens there, which is as good.
          await Promise.race([once(server, "listening"), once(server, "error")]);
          return server;
        }),
        (server) => Effect.sync(() => server.close()),
      );
      assert.isAbove(yield* Ports.unused, next);
    }),
  );
});
