import { get } from "node:http";
import { createServer } from "node:net";
import { FetchHttpClient } from "@effect/platform";
import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect } from "effect";
import * as EmbeddedBackend from "../../src/demo/EmbeddedBackend.js";
import * as EmbeddedOperator from "../../src/demo/EmbeddedOperator.js";
import * as LoopbackServer from "../../src/demo/LoopbackServer.js";
import { Discovery } from "../../src/discovery/Discovery.js";
import * as OperatorDiscovery from "../../src/discovery/OperatorDiscovery.js";
import * as Ports from "../support/Ports.js";

/** What a server says over a connection of its own; on failure the system's word. */
const ask = (port: number): Effect.Effect<string, string> =>
  Effect.async((resume) => {
    const request = get({ host: "127.0.0.1", port, agent: false, timeout: 120_000 }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resume(Effect.succeed(body)));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error.code ?? error.message)));
  });

describe("an embedded backend", () => {
  it.scopedLive("says who it is, dies, and returns where it was", () =>
    Effect.gen(function* () {
      const backend = yield* EmbeddedBackend.make("backend-7", yield* Ports.unused);
      const { port } = backend.instance.address;
      assert.strictEqual(yield* ask(port), "hello from backend-7\n");
      yield* backend.die;
      yield* backend.die;
      assert.strictEqual(yield* Effect.flip(ask(port)), "ECONNREFUSED");
      yield* backend.comeBack;
      assert.strictEqual(yield* ask(port), "hello from backend-7\n");
    }),
  );

  it.scopedLive("takes another port when the preferred one is taken", () =>
    Effect.gen(function* () {
      const first = yield* EmbeddedBackend.make("one", 0);
      const second = yield* EmbeddedBackend.make("two", first.instance.address.port);
      assert.notStrictEqual(second.instance.address.port, first.instance.address.port);
      assert.strictEqual(yield* ask(second.instance.address.port), "hello from two\n");
    }),
  );

  it.scopedLive("says so when its port was taken while it was dead", () =>
    Effect.gen(function* () {
      const backend = yield* EmbeddedBackend.make("one", yield* Ports.unused);
      const { port } = backend.instance.address;
      yield* backend.die;
      yield* LoopbackServer.serve((_, response) => response.end("somebody else"), port);
      const error = yield* Effect.flip(backend.comeBack);
      assert.strictEqual(error.code, "EADDRINUSE");
      assert.include(error.message, `127.0.0.1:${port}`);
    }),
  );

  it.live("is gone when its scope closes, whatever connections are open", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(
        Effect.gen(function* () {
          const backend = yield* EmbeddedBackend.make("one", yield* Ports.unused);
          // Never answered, so it would be open for ever.
          yield* LoopbackServer.serve(() => {}, 0).pipe(
            Effect.tap((silent) => Effect.forkScoped(Effect.ignore(ask(silent)))),
          );
          return backend.instance.address.port;
        }),
      );
      // The port is free again: somebody else can have it.
      yield* Effect.async<void>((resume) => {
        const server = createServer().listen(port, "127.0.0.1", () => {
          server.close(() => resume(Effect.void));
        });
      });
    }),
  );
});

describe("an embedded Operator", () => {
  it.scopedLive("is understood by the discovery that asks real ones", () =>
    Effect.gen(function* () {
      const instances = [
        { id: "backend-1", address: { host: "127.0.0.1", port: 9001 } },
        { id: "backend-2", address: { host: "::1", port: 9002 } },
      ];
      const { url } = yield* EmbeddedOperator.make(instances);
      const answer = yield* Effect.flatMap(Discovery, ({ list }) => list).pipe(
        Effect.provide(OperatorDiscovery.layer({ url, token: undefined, timeout: Duration.seconds(5) })),
        Effect.provide(FetchHttpClient.layer),
      );
      const unsaid = { weight: undefined, limit: undefined, role: undefined };
      assert.deepStrictEqual(answer, {
        instances: instances.map((instance) => ({ ...instance, ...unsaid })),
        skipped: [],
        ignored: [],
      });
    }),
  );
});
