import { randomBytes } from "node:crypto";
import { assert, describe, it } from "@effect/vitest";
import { Context, Effect, Layer, Logger } from "effect";
import koffi from "koffi";
import { Libc } from "../../../src/transport/linux/ContextTags.js";
import type { Engine } from "../../../src/transport/linux/Engine.js";
import { KernelRing } from "../../../src/transport/linux/KernelRing.js";
import * as KoffiLibc from "../../../src/transport/linux/KoffiLibc.js";
import { EINVAL, EPERM } from "../../../src/transport/linux/Libc.js";
import { layerIoUring, layerSystem, layerWith } from "../../../src/transport/linux/LinuxTransport.js";
import { params, type Uring } from "../../../src/transport/linux/Uring.js";
import { Transport } from "../../../src/transport/Transport.js";
import { descriptors, dial, receive, serve } from "../../support/Sockets.js";
import { conformance } from "../conformance.js";

conformance("io_uring", layerIoUring, { probesUnseen: true });

const on = (uring: Uring) => ({
  capacity: 1_000,
  ring: (engine: Engine) => new KernelRing(uring, engine),
});

describe("io_uring transport: what it leaves to epoll", () => {
  it.scopedLive("bulk never leaves the kernel, and small traffic is not spliced", () =>
    Effect.gen(function* () {
      let spliced = 0;
      const counting = Layer.effect(
        Libc,
        Effect.map(Libc, (libc) => ({
          ...libc,
          splice: (from: number, to: number, length: number) => {
            const result = libc.splice(from, to, length);
            if (result > 0) spliced += result;
            return result;
          },
        })),
      );
      const transport = layerWith(on(KoffiLibc.makeUring(koffi))).pipe(
        Layer.provide(Layer.merge(layerSystem, Layer.provide(counting, layerSystem))),
      );
      const { forward, listen } = yield* Layer.build(transport).pipe(
        Effect.map((built) => Context.get(built, Transport)),
      );
      const backend = yield* serve((socket) => socket.pipe(socket));
      const listener = yield* listen({
        host: "127.0.0.1",
        port: 0,
        backlog: 16,
        onAcceptError: () => {},
        onConnection: (client) => {
          const counts = { received: 0, sent: 0 };
          Effect.runFork(
            forward(client, { host: "127.0.0.1", port: backend.port }, { timeoutMillis: 5_000 }, counts),
          );
        },
      });
      const echoed = (bytes: Buffer) =>
        Effect.gen(function* () {
          const client = yield* dial(listener.address.port);
          const answer = receive(client);
          client.end(bytes);
          return (yield* Effect.promise(() => answer)).bytes.equals(bytes);
        });
      spliced = 0;
      assert.isTrue(yield* echoed(randomBytes(10_000)));
      assert.strictEqual(spliced, 0);
      const size = 20_000_000;
      assert.isTrue(yield* echoed(randomBytes(size)));
      // In and out of a pipe, for each of both directions; the first buffers were copied.
      assert.isAbove(spliced, 3 * size);
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)), Effect.orDie),
  );
});

describe("io_uring transport: availability", () => {
  const real = KoffiLibc.makeUring(koffi);

  const unavailable = (uring: Uring) =>
    Effect.flip(Layer.build(Layer.provide(layerWith(on(uring)), layerSystem))).pipe(
      Effect.tap((error) => assert.strictEqual(error.reason, "no-io_uring")),
      Effect.map(({ detail }) => detail),
    );

  it.scopedLive("a kernel that does not allow io_uring is told as such", () =>
    Effect.gen(function* () {
      const before = descriptors();
      assert.include(yield* unavailable({ ...real, setup: () => -EPERM }), "io_uring_setup failed (EPERM)");
      assert.strictEqual(descriptors(), before);
    }).pipe(Effect.orDie),
  );

  it.scopedLive("a kernel that knows less of it than is needed is told, and leaves no descriptor", () =>
    Effect.gen(function* () {
      const before = descriptors();
      const setup: Uring["setup"] = (entries, block) => {
        const result = real.setup(entries, block);
        block.bytes.fill(0, params.features, params.features + 4);
        return result;
      };
      assert.include(yield* unavailable({ ...real, setup }), "lacks what is needed");
      assert.include(yield* unavailable({ ...real, register: () => -EINVAL }), "registering buffers");
      assert.strictEqual(descriptors(), before);
    }).pipe(Effect.orDie),
  );
});
