import { once } from "node:events";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Fiber } from "effect";
import { layerThreads } from "../../../src/transport/linux/LinuxTransport.js";
import { Transport } from "../../../src/transport/Transport.js";
import { dataThreadFile } from "../../support/DataThreadFile.js";
import { dial, eventually, serve } from "../../support/Sockets.js";

const file = await dataThreadFile();

/** A server that speaks first, and one client of a relay to it that has heard that. Answers the fiber, and what it was told. */
const greeted = Effect.gen(function* () {
  const transport = yield* Transport;
  const backend = yield* serve((socket) => socket.write("220 ready"));
  const told: Array<number | undefined> = [];
  const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = [];
  const target = { host: "127.0.0.1", port: backend.port };
  const options = { timeoutMillis: 5_000, connected: (millis?: number) => void told.push(millis) };
  const listener = yield* transport.listen({
    host: "127.0.0.1",
    port: 0,
    backlog: 10,
    onAcceptError: () => {},
    onConnection: (client) => {
      const forwarded = transport.forward(client, target, options, { received: 0, sent: 0 });
      fibers.push(Effect.runFork(forwarded));
    },
  });
  const client = yield* dial(listener.address.port);
  yield* Effect.promise(() => once(client, "data"));
  return { client, fibers, told };
});

const withThread = Effect.provide(layerThreads({ threads: 1, file }));

describe("that a data thread has connected", () => {
  it.scopedLive("is told of a connection that goes on, once, with the time that it took", () =>
    Effect.gen(function* () {
      const { client, fibers, told } = yield* greeted;
      yield* eventually(() => told.length === 1);
      const [millis = -1] = told;
      assert.isTrue(millis >= 0 && millis < 5_000, `${millis} ms`);
      client.end("bye");
      yield* Effect.all(fibers.map(Fiber.interrupt));
      assert.lengthOf(told, 1);
    }).pipe(withThread, Effect.orDie),
  );

  it.scopedLive("is told of a connection that is cut at once", () =>
    Effect.gen(function* () {
      const { fibers, told } = yield* greeted;
      yield* Effect.all(fibers.map(Fiber.interrupt));
      assert.lengthOf(told, 1);
    }).pipe(withThread, Effect.orDie),
  );
});
