/**
 * What every implementation of the Transport tag must do, over real sockets.
 */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import * as net from "node:net";
import { networkInterfaces } from "node:os";
import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Exit, Fiber, Layer, type Scope } from "effect";
import type { ByteCounts } from "../../src/net/ByteCounts.js";
import { SourceAddresses } from "../../src/transport/SourceAddresses.js";
import {
  type AcceptError,
  type Connection,
  type RelayOutcome,
  Transport,
} from "../../src/transport/Transport.js";
import * as Namespace from "../support/Namespace.js";
import * as Ports from "../support/Ports.js";
import { descriptors, dial, eventually, receive, serve } from "../support/Sockets.js";
import { blackHole } from "../support/StoppableServer.js";

const second = 1_000;
const megabyte = randomBytes(1_000_000);

const listenOptions = {
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  onAcceptError: () => {},
} as const;

/**
 * A relay from a fresh port to a backend, with the outcomes of what went through it, in the order of their end. Its
 * connections are forwarded, and connected and relayed, by turns.
 */
const relayTo = (
  backendPort: number,
  before: Effect.Effect<void> = Effect.void,
): Effect.Effect<
  {
    readonly port: number;
    readonly outcomes: ReadonlyArray<RelayOutcome>;
    readonly counts: Readonly<ByteCounts>;
    /** How many backends were connected to. */
    readonly connected: () => number;
    /** How many clients were gone before they were accepted. */
    readonly gone: () => number;
    readonly interrupt: Effect.Effect<void>;
  },
  never,
  Scope.Scope | Transport
> =>
  Effect.gen(function* () {
    const transport = yield* Transport;
    const options = { timeoutMillis: 60 * second };
    const outcomes: Array<RelayOutcome> = [];
    const counts: ByteCounts = { received: 0, sent: 0 };
    const fibers: Array<Fiber.RuntimeFiber<void>> = [];
    const backend = { host: "127.0.0.1", port: backendPort };
    let connected = 0;
    let gone = 0;
    const ways = [
      (client: Connection) =>
        transport.forward(
          client,
          backend,
          {
            ...options,
            connected: () => {
              connected += 1;
            },
          },
          counts,
        ),
      (client: Connection) =>
        Effect.flatMap(transport.connect(backend, options), (made) => {
          connected += 1;
          return transport.relay(client, made, counts);
        }),
    ] as const;
    const serveClient = (client: Connection, which: number) =>
      Effect.uninterruptibleMask((restore) =>
        before.pipe(
          Effect.zipRight(restore((which % 2 === 0 ? ways[0] : ways[1])(client))),
          Effect.map((outcome) => outcomes.push(outcome)),
          Effect.asVoid,
          Effect.orDie,
        ),
      );
    const listener = yield* Effect.orDie(
      transport.listen({
        ...listenOptions,
        onConnection: (client) => fibers.push(Effect.runFork(serveClient(client, fibers.length))),
        onAcceptError: ({ reason }) => {
          if (reason === "client-gone") gone += 1;
        },
      }),
    );
    const interrupt = Effect.suspend(() => Fiber.interruptAll(fibers));
    yield* Effect.addFinalizer(() => interrupt);
    return {
      port: listener.address.port,
      outcomes,
      counts,
      connected: () => connected,
      gone: () => gone,
      interrupt,
    };
  });

/** Collects what each of a backend's sockets receives. */
const collecting = (handle: (socket: Socket) => void = () => {}) =>
  Effect.gen(function* () {
    const received: Array<ReturnType<typeof receive>> = [];
    const server = yield* serve((socket) => {
      received.push(receive(socket));
      handle(socket);
    });
    return { port: server.port, received, sockets: server.sockets };
  });

const hasInet6 = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ address }) => address === "::1"),
);

/** A server at a loopback address, and where those come from who connect. */
const answeringFrom = (host: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const from: Array<string | undefined> = [];
      const server = net.createServer((socket) => {
        from.push(socket.remoteAddress);
        socket.on("error", () => {});
      });
      server.listen(0, host);
      await once(server, "listening");
      const { port } = server.address() as net.AddressInfo; // it listens on a port
      return { from, port, server };
    }),
    ({ server }) => Effect.sync(() => server.close()),
  );

const first = <A>(promises: ReadonlyArray<Promise<A>>) =>
  Effect.flatMap(
    eventually(() => promises.length > 0),
    () => Effect.promise(() => promises[0] as Promise<A>),
  );

/** Nothing runs in this thread for so long. */
const block = (millis: number): Effect.Effect<void> =>
  Effect.sync(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis);
  });

/** Connects so often from another process, and resets each, while nothing runs in this one. */
const connectAndReset = (port: number, times: number): Effect.Effect<void> =>
  Effect.sync(() => {
    const script = `
      const net = require("node:net");
      for (let i = 0; i < ${times}; i++) {
        const socket = net.connect(${port}, "127.0.0.1", () => socket.resetAndDestroy());
      }`;
    assert.strictEqual(spawnSync(process.execPath, ["-e", script]).status, 0);
  });

export const conformance = <E>(
  name: string,
  layer: Layer.Layer<Transport, E>,
  /** What only some of them can. */
  { probesUnseen }: { readonly probesUnseen: boolean },
): void => {
  // What one hangs in is cut off; none is meant to take long.
  const limit = 180 * second;
  const test = (title: string, body: Effect.Effect<void, never, Scope.Scope | Transport>) =>
    it.scopedLive(title, () => Effect.orDie(Effect.provide(body, layer)), limit);
  const isolated = (title: string, body: Effect.Effect<void, never, Scope.Scope | Transport>) =>
    Namespace.available ? test(title, Effect.zipRight(Namespace.isolated, body)) : it.skip(title);

  /** With source addresses to connect from; in a network of its own, where it takes away what others have there. */
  const connecting = (
    sources: ReadonlyArray<string>,
    title: string,
    body: Effect.Effect<void, never, Scope.Scope | Transport>,
    needs: { readonly inet6?: boolean; readonly aNetwork?: boolean } = {},
  ) => {
    const sourced = Layer.provide(layer, Layer.succeed(SourceAddresses, sources));
    const run = Effect.orDie(Effect.provide(body, sourced));
    if (process.platform !== "linux" || (needs.inet6 && !hasInet6)) it.skip(title);
    else if (needs.aNetwork && !Namespace.available) it.skip(title);
    else it.scopedLive(title, () => (needs.aNetwork ? Effect.zipRight(Namespace.isolated, run) : run), limit);
  };

  describe(`${name} transport`, () => {
    test(
      "relays both ways, and ends in order when both sides have",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const answer = receive(client);
        client.end(megabyte);
        const { bytes, end } = yield* Effect.promise(() => answer);
        assert.isTrue(bytes.equals(megabyte));
        assert.strictEqual(end, "fin");
        yield* eventually(() => relay.outcomes.length === 1);
        assert.deepStrictEqual(relay.outcomes[0], {
          end: "client-closed",
          received: megabyte.length,
          sent: megabyte.length,
        });
      }),
    );

    test(
      "connects each of many clients that are forwarded at once to its own backend",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backends = yield* Effect.forEach(["a", "b", "c"], (name) =>
          serve((socket) => socket.end(name)),
        );
        const clients: Array<Connection> = [];
        const listener = yield* Effect.orDie(
          transport.listen({ ...listenOptions, onConnection: (client) => clients.push(client) }),
        );
        const answers: Array<Promise<{ readonly bytes: Buffer }>> = [];
        for (let n = 0; n < 30; n++) {
          const socket = yield* dial(listener.address.port);
          answers.push(receive(socket));
          socket.end();
          yield* eventually(() => clients.length === n + 1);
        }
        // Begun in one turn of the loop: what is told to other threads, or to the kernel, is told of all at once.
        yield* Effect.forEach(
          clients,
          (client, n) =>
            transport.forward(
              client,
              { host: "127.0.0.1", port: backends[n % 3]?.port ?? 0 },
              { timeoutMillis: 60 * second },
              { received: 0, sent: 0 },
            ),
          { concurrency: "unbounded", discard: true },
        ).pipe(Effect.orDie);
        const names = yield* Effect.promise(() => Promise.all(answers));
        assert.strictEqual(names.map(({ bytes }) => bytes.toString()).join(""), "abc".repeat(10));
      }),
    );

    test(
      "half-close: a backend answers a megabyte one second after the client has shut its side",
      Effect.gen(function* () {
        const backend = yield* collecting((socket) =>
          socket.once("end", () => setTimeout(() => socket.end(megabyte), second)),
        );
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const answer = receive(client);
        client.end("request");
        const { bytes, end } = yield* Effect.promise(() => answer);
        assert.isTrue(bytes.equals(megabyte));
        assert.strictEqual(end, "fin");
        assert.strictEqual((yield* first(backend.received)).bytes.toString(), "request");
      }),
    );

    test(
      "half-close: a client sends a megabyte one second after the backend has shut its side",
      Effect.gen(function* () {
        const backend = yield* collecting((socket) => socket.end("greeting"));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const answer = receive(client);
        client.once("end", () => setTimeout(() => client.end(megabyte), second));
        const { bytes, end } = yield* Effect.promise(() => answer);
        assert.strictEqual(bytes.toString(), "greeting");
        assert.strictEqual(end, "fin");
        const received = yield* first(backend.received);
        assert.isTrue(received.bytes.equals(megabyte));
        assert.strictEqual(received.end, "fin");
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "backend-closed");
        assert.deepStrictEqual(relay.counts, {
          received: megabyte.length,
          sent: "greeting".length,
          halfClosed: true,
        });
      }),
    );

    test(
      "a server may speak first",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.write("220 ready"));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const [greeting] = yield* Effect.promise(() => once(client, "data"));
        assert.strictEqual(String(greeting), "220 ready");
      }),
    );

    test(
      "what a client sends, and its end, before there is a backend is kept",
      Effect.gen(function* () {
        const backend = yield* collecting((socket) => socket.end());
        const gate = yield* Deferred.make<void>();
        const relay = yield* relayTo(backend.port, Deferred.await(gate));
        const client = yield* dial(relay.port);
        const answer = receive(client);
        client.write("early ");
        client.end("data");
        yield* Effect.promise(() => once(client, "finish"));
        yield* Deferred.succeed(gate, undefined);
        assert.strictEqual((yield* first(backend.received)).bytes.toString(), "early data");
        assert.strictEqual((yield* Effect.promise(() => answer)).end, "fin");
      }),
    );

    test(
      "a client that sends and shuts at once gets everything across, 200 times",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relay = yield* relayTo(backend.port);
        for (let i = 0; i < 200; i++) {
          const client = yield* dial(relay.port);
          const sent = randomBytes(randomInt(1, 5_000));
          const answer = receive(client);
          client.end(sent);
          const { bytes, end } = yield* Effect.promise(() => answer);
          assert.isTrue(bytes.equals(sent));
          assert.strictEqual(end, "fin");
        }
      }),
    );

    test(
      "slow readers slow their senders, and get all of 400 MB",
      Effect.gen(function* () {
        const readers = 4;
        const total = 100_000_000;
        const block = randomBytes(1_000_000);
        let written = 0;
        const backend = yield* serve((socket) => {
          let left = total;
          const more = (): void => {
            while (left > 0) {
              left -= block.length;
              written += block.length;
              if (!socket.write(block)) {
                socket.once("drain", more);
                return;
              }
            }
            socket.end();
          };
          more();
        });
        const relay = yield* relayTo(backend.port);
        const clients = yield* Effect.replicateEffect(dial(relay.port), readers);
        // What the kernels of four sockets hold is some tens of megabytes at the most; the rest must wait.
        let before = -1;
        yield* Effect.promise(async () => {
          while (written !== before) {
            before = written;
            await new Promise((resolve) => setTimeout(resolve, 500));
          }
        });
        assert.isBelow(written, readers * total);
        const read = async (client: Socket): Promise<number> => {
          let at = 0;
          for await (const chunk of client as AsyncIterable<Buffer>) {
            for (let from = 0; from < chunk.length; ) {
              const here = at % block.length;
              const length = Math.min(chunk.length - from, block.length - here);
              if (block.compare(chunk, from, from + length, here, here + length) !== 0) {
                assert.fail(`other bytes than were sent, after ${at}`);
              }
              from += length;
              at += length;
            }
          }
          return at;
        };
        const got = yield* Effect.promise(() => Promise.all(clients.map(read)));
        assert.deepStrictEqual(
          got,
          clients.map(() => total),
        );
      }),
    );

    test(
      "300 clients that do not read keep nobody else waiting",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => {
          socket.once("data", (request) => {
            if (String(request) === "echo") socket.end(request);
            else socket.write(Buffer.alloc(8_000_000));
          });
        });
        const relay = yield* relayTo(backend.port);
        for (const client of yield* Effect.replicateEffect(dial(relay.port), 300)) {
          client.pause();
          client.write("flood");
        }
        yield* eventually(
          () => backend.sockets.size === 300 && relay.counts.received === 300 * "flood".length,
        );
        const echo = Effect.gen(function* () {
          const client = yield* dial(relay.port);
          const answer = receive(client);
          client.end("echo");
          assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "echo");
          return relay.counts.sent;
        });
        // Until the flood has come to a stand, and so waits in the transport for each of them.
        let before = 0;
        let sent = yield* echo;
        while (sent > before + "echo".length) {
          before = sent;
          sent = yield* echo;
        }
        assert.isAbove(sent, 300 * 100_000);
      }),
    );

    test(
      "what is written byte by byte arrives whole, both ways",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => {
          socket.setNoDelay(true);
          socket.on("data", (chunk) => {
            for (const byte of chunk) socket.write(Buffer.of(byte));
          });
          socket.on("end", () => socket.end());
        });
        const relay = yield* relayTo(backend.port);
        const writer = Effect.gen(function* () {
          const client = yield* dial(relay.port);
          client.setNoDelay(true);
          const answer = receive(client);
          const sent = randomBytes(2_000);
          yield* Effect.promise(async () => {
            for (const byte of sent) {
              client.write(Buffer.of(byte));
              await new Promise((resolve) => setImmediate(resolve));
            }
          });
          client.end();
          const { bytes, end } = yield* Effect.promise(() => answer);
          assert.isTrue(bytes.equals(sent));
          assert.strictEqual(end, "fin");
        });
        yield* Effect.all([writer, writer, writer, writer], { concurrency: "unbounded" });
      }),
    );

    test(
      "a thousand clients at once get back what each has sent",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relay = yield* relayTo(backend.port);
        const client = Effect.gen(function* () {
          const socket = yield* dial(relay.port);
          const sent = randomBytes(randomInt(1, 100_000));
          const answer = receive(socket);
          socket.end(sent);
          assert.isTrue((yield* Effect.promise(() => answer)).bytes.equals(sent));
        });
        yield* Effect.all(
          Array.from({ length: 1_000 }, () => Effect.scoped(client)),
          { concurrency: "unbounded", discard: true },
        );
        yield* eventually(() => relay.outcomes.length === 1_000);
        assert.strictEqual(relay.connected(), 1_000);
        assert.isTrue(
          relay.outcomes.every(({ end, received, sent }) => end === "client-closed" && received === sent),
        );
      }),
    );

    test(
      "a reset by the backend is a reset for the client",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const answer = receive(client);
        client.write("hello");
        assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "backend-reset");
      }),
    );

    test(
      "a reset right behind the last bytes is no end, 100 times",
      Effect.gen(function* () {
        // A few bytes, and more than is passed on at once.
        const parts = [Buffer.alloc(20), Buffer.alloc(400_000)];
        let answers = 0;
        const backend = yield* serve((socket) => {
          socket.once("data", () => {
            answers += 1;
            socket.write(parts[answers % parts.length] ?? "", () => socket.resetAndDestroy());
          });
        });
        const relay = yield* relayTo(backend.port);
        for (let i = 1; i <= 100; i++) {
          const client = yield* dial(relay.port);
          client.on("error", () => {});
          client.resume();
          client.write("hello");
          yield* eventually(() => relay.outcomes.length === i);
        }
        assert.deepStrictEqual(
          relay.outcomes.map(({ end }) => end).filter((end) => end !== "backend-reset"),
          [],
        );
      }),
    );

    test(
      "a reset by the client is a reset for the backend",
      Effect.gen(function* () {
        const backend = yield* collecting((socket) => socket.write("greeting"));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        yield* Effect.promise(() => once(client, "data"));
        client.resetAndDestroy();
        assert.strictEqual((yield* first(backend.received)).end, "reset");
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "client-reset");
      }),
    );

    test(
      "a reset by a client that had shut its side before is a reset for the backend",
      Effect.gen(function* () {
        let ended = false;
        const backend = yield* collecting((socket) => {
          socket.once("end", () => {
            ended = true;
          });
        });
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        client.end("request");
        yield* eventually(() => ended);
        const [socket] = backend.sockets;
        const broken = new Promise((resolve) => socket?.once("close", resolve));
        client.resetAndDestroy();
        // Something to run into the reset: a kernel tells a socket that reads nothing more only when it writes.
        const writer = setInterval(() => socket?.write("answer"), 10);
        yield* Effect.promise(() => broken);
        clearInterval(writer);
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "client-reset");
      }),
    );

    test(
      "a reset by a side that had shut its direction is a reset for the other, though nobody writes",
      Effect.gen(function* () {
        const backend = yield* collecting();
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        client.end("request");
        assert.strictEqual((yield* first(backend.received)).end, "fin");
        const [socket] = backend.sockets;
        const broken = new Promise((resolve) => socket?.once("close", resolve));
        client.resetAndDestroy();
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "client-reset");
        socket?.write("answer");
        yield* Effect.promise(() => broken);
      }),
    );

    test(
      "a reset by a backend that had shut its direction is a reset for the client, though nobody writes",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.resume().end("greeting"));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        yield* Effect.promise(() => once(client.resume(), "end"));
        const broken = new Promise((resolve) => client.once("close", resolve));
        for (const socket of backend.sockets) socket.resetAndDestroy();
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "backend-reset");
        client.write("request");
        yield* Effect.promise(() => broken);
      }),
    );

    test(
      "a reset by a client that had shut its direction and does not read is noticed",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => {
          socket.resume().end(Buffer.alloc(30_000_000));
        });
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        client.pause();
        client.end("request");
        yield* eventually(() => relay.counts.received === "request".length && relay.counts.sent > 100_000);
        client.resetAndDestroy();
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "client-reset");
        yield* eventually(() => backend.sockets.size === 0);
      }),
    );

    test(
      "who had reset before it was accepted has an address, or is never handed over and counted",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const clients: Array<Connection> = [];
        const errors: Array<AcceptError> = [];
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            onConnection: (client) => clients.push(client),
            onAcceptError: (error) => errors.push(error),
          }),
        );
        yield* connectAndReset(listener.address.port, 10);
        yield* eventually(() => clients.length + errors.length === 10);
        assert.deepStrictEqual(
          clients.filter(({ remote: { host, port } }) => host !== "127.0.0.1" || port === 0),
          [],
        );
        assert.isTrue(errors.every(({ reason }) => reason === "client-gone"));
        for (const client of clients) client.reset();
      }),
    );

    test(
      "interrupting a relay resets both sides",
      Effect.gen(function* () {
        const backend = yield* collecting((socket) => socket.write("greeting"));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const answer = receive(client);
        yield* Effect.promise(() => once(client, "data"));
        yield* relay.interrupt;
        assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
        assert.strictEqual((yield* first(backend.received)).end, "reset");
      }),
    );

    test(
      "300 streams at once, of random sizes and with random pauses, arrive byte for byte",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relay = yield* relayTo(backend.port);
        const stream = Effect.gen(function* () {
          const client = yield* dial(relay.port);
          const sent = createHash("sha256");
          const got = createHash("sha256");
          client.on("data", (chunk) => got.update(chunk));
          const ended = once(client, "end");
          yield* Effect.promise(async () => {
            for (let i = randomInt(1, 12); i > 0; i--) {
              const bytes = randomBytes(randomInt(1, 60_000));
              sent.update(bytes);
              client.write(bytes);
              await new Promise((resolve) => setTimeout(resolve, randomInt(0, 30)));
            }
            client.end();
            await ended;
          });
          assert.strictEqual(got.digest("hex"), sent.digest("hex"));
        });
        yield* Effect.all(
          Array.from({ length: 300 }, () => Effect.scoped(stream)),
          {
            concurrency: "unbounded",
          },
        );
        yield* eventually(() => relay.outcomes.length === 300);
        assert.isTrue(relay.outcomes.every(({ end }) => end === "client-closed"));
      }),
    );

    test(
      "no way of ending leaves a descriptor behind",
      Effect.gen(function* () {
        const backend = yield* serve((socket) => {
          socket.on("data", (data) => {
            if (data.includes("reset")) socket.resetAndDestroy();
            else if (data.includes("close")) socket.destroy();
            else socket.end(data);
          });
          socket.on("end", () => socket.end());
        });
        const relay = yield* relayTo(backend.port);
        const behaviours: ReadonlyArray<(socket: Socket) => void> = [
          (socket) => socket.end("hello"),
          (socket) => socket.destroy(),
          (socket) => socket.resetAndDestroy(),
          (socket) => socket.write("reset"),
          (socket) => socket.write("close"),
          (socket) => socket.end("reset"),
          (socket) => {
            socket.write("hello");
            socket.resetAndDestroy();
          },
        ];
        const round = Effect.forEach(
          behaviours,
          (behave) =>
            Effect.scoped(
              Effect.gen(function* () {
                const client = yield* dial(relay.port);
                client.resume();
                client.on("end", () => client.end());
                const closed = new Promise((resolve) => client.once("close", resolve));
                behave(client);
                yield* Effect.promise(() => closed);
              }),
            ),
          { concurrency: "unbounded", discard: true },
        );
        yield* round;
        yield* eventually(
          () => relay.outcomes.length + relay.gone() === behaviours.length && backend.sockets.size === 0,
        );
        const before = descriptors();
        yield* Effect.repeatN(round, 19);
        yield* eventually(() => relay.outcomes.length + relay.gone() === behaviours.length * 21);
        yield* eventually(() => backend.sockets.size === 0 && descriptors() <= before);
      }),
    );

    test(
      "a port that nothing listens on refuses",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const port = yield* Ports.unused;
        const error = yield* Effect.flip(
          transport.connect({ host: "127.0.0.1", port }, { timeoutMillis: second }),
        ).pipe(Effect.orDie);
        assert.strictEqual(error.reason, "refused");
        assert.strictEqual(error.message, `127.0.0.1:${port} refused the connection (ECONNREFUSED)`);
      }),
    );

    test(
      "a host that does not answer is given up at the deadline, with nothing left behind",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const port = yield* blackHole;
        const before = descriptors();
        const error = yield* Effect.flip(
          transport.connect({ host: "127.0.0.1", port }, { timeoutMillis: 100 }),
        ).pipe(Effect.orDie);
        assert.strictEqual(error.reason, "timeout");
        yield* eventually(() => descriptors() <= before);
      }),
    );

    test(
      "what is no IP address with a port is refused as such",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const reasonOf = (host: string, port: number) =>
          Effect.all([
            Effect.flip(transport.connect({ host, port }, { timeoutMillis: second })),
            Effect.flip(transport.probe({ host, port }, { timeoutMillis: second })),
          ]).pipe(
            Effect.orDie,
            Effect.map(([{ reason }, probed]) => [reason, probed.reason]),
          );
        const invalid = ["invalid-address", "invalid-address"];
        assert.deepStrictEqual(yield* reasonOf("localhost", 80), invalid);
        assert.deepStrictEqual(yield* reasonOf("127.0.0.1", 91_036), invalid);
        assert.deepStrictEqual(yield* reasonOf("127.0.0.1", 0), invalid);
        assert.deepStrictEqual(yield* reasonOf("127.0.0.1", Number.NaN), invalid);
      }),
    );

    test(
      "a probe tells that a port answers, refuses, or is silent until the deadline, and leaves nothing behind",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const options = { timeoutMillis: 200 };
        const { port } = yield* serve(() => {});
        const closed = yield* Ports.unused;
        const silent = yield* blackHole;
        const before = descriptors();
        yield* Effect.orDie(transport.probe({ host: "127.0.0.1", port }, options));
        const refused = yield* Effect.flip(transport.probe({ host: "127.0.0.1", port: closed }, options));
        const timeout = yield* Effect.flip(transport.probe({ host: "127.0.0.1", port: silent }, options));
        assert.deepStrictEqual([refused.reason, timeout.reason], ["refused", "timeout"]);
        yield* eventually(() => descriptors() <= before + 1);
      }).pipe(Effect.orDie),
    );

    isolated(
      "an address without a route is unreachable, for connects and probes",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const target = { host: "10.1.1.1", port: 80 };
        const connected = yield* Effect.flip(transport.connect(target, { timeoutMillis: second }));
        const probed = yield* Effect.flip(transport.probe(target, { timeoutMillis: second }));
        assert.deepStrictEqual([connected.reason, probed.reason], ["unreachable", "unreachable"]);
      }).pipe(Effect.orDie),
    );

    isolated(
      "where this host has no address of a family, a connect and a probe say so",
      Effect.gen(function* () {
        const transport = yield* Transport;
        yield* Namespace.set("net/ipv6/conf/all/disable_ipv6", "1");
        const target = { host: "::1", port: 80 };
        const connected = yield* Effect.flip(transport.connect(target, { timeoutMillis: second }));
        const probed = yield* Effect.flip(transport.probe(target, { timeoutMillis: second }));
        assert.deepStrictEqual(
          [connected.reason, connected.code, probed.reason],
          ["no-source-address", "EADDRNOTAVAIL", "no-source-address"],
        );
      }).pipe(Effect.orDie),
    );

    isolated(
      "where this host has no free port left towards an address, a connect says so, and another address is connected to",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const full = yield* serve(() => {});
        const other = yield* serve(() => {});
        yield* Namespace.set("net/ipv4/ip_local_port_range", "20000 20000");
        const options = { timeoutMillis: second };
        const held = yield* transport.connect({ host: "127.0.0.1", port: full.port }, options);
        const error = yield* Effect.flip(transport.connect({ host: "127.0.0.1", port: full.port }, options));
        assert.deepStrictEqual([error.reason, error.code], ["no-free-port", "EADDRNOTAVAIL"]);
        const connection = yield* transport.connect({ host: "127.0.0.1", port: other.port }, options);
        connection.reset();
        held.reset();
      }).pipe(Effect.orDie),
    );

    connecting(
      ["127.0.0.2", "127.0.0.3"],
      "connects from each source address in turn, by each of its threads",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const from: Array<string | undefined> = [];
        const backend = yield* serve((socket) => {
          from.push(socket.remoteAddress);
          socket.end("x");
        });
        const relay = yield* relayTo(backend.port);
        // Half of them are forwarded, which data threads do by turns, and half are connected and relayed.
        for (let n = 0; n < 24; n++) {
          const client = yield* dial(relay.port);
          const answer = receive(client);
          client.end();
          yield* Effect.promise(() => answer);
        }
        const target = { host: "127.0.0.1", port: backend.port };
        const before = from.length;
        yield* transport.probe(target, { timeoutMillis: second });
        assert.sameMembers([...new Set(from)], ["127.0.0.2", "127.0.0.3"]);
        assert.strictEqual(from.slice(0, before).filter((address) => address === "127.0.0.2").length, 12);
      }).pipe(Effect.orDie),
    );

    connecting(
      ["127.0.0.2", "::1"],
      "connects from a source address of the backend's family",
      Effect.gen(function* () {
        const transport = yield* Transport;
        for (const [host, expected] of [
          ["127.0.0.1", "127.0.0.2"],
          ["::1", "::1"],
        ] as const) {
          const backend = yield* answeringFrom(host);
          const connection = yield* transport.connect(
            { host, port: backend.port },
            { timeoutMillis: second },
          );
          yield* eventually(() => backend.from.length > 0);
          assert.deepStrictEqual(backend.from, [expected]);
          connection.reset();
        }
      }).pipe(Effect.orDie),
      { inet6: true },
    );

    connecting(
      ["127.0.0.2"],
      "leaves the choice to the kernel where there is no source address of the backend's family",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* answeringFrom("::1");
        const target = { host: "::1", port: backend.port };
        const connection = yield* transport.connect(target, { timeoutMillis: second });
        yield* eventually(() => backend.from.length > 0);
        assert.deepStrictEqual(backend.from, ["::1"]);
        connection.reset();
      }).pipe(Effect.orDie),
      { inet6: true },
    );

    connecting(
      ["127.0.0.2", "192.0.2.7", "127.0.0.3"],
      "tries the next source address where one is out of ports, or gone, and says so when all are",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const full = yield* serve(() => {});
        yield* Namespace.set("net/ipv4/ip_local_port_range", "20000 20019");
        const options = { timeoutMillis: 10 * second };
        const target = { host: "127.0.0.1", port: full.port };
        const connect = Effect.acquireRelease(transport.connect(target, options), (made) =>
          Effect.sync(() => made.reset()),
        );
        for (let n = 0; n < 40; n++) yield* connect;
        const { code, reason } = yield* Effect.flip(connect);
        assert.strictEqual(reason, "no-free-port");
        assert.oneOf(code, ["EADDRNOTAVAIL", "EADDRINUSE"]);
      }).pipe(Effect.orDie),
      { aNetwork: true },
    );

    test(
      "a connect and a probe that were answered while this process was stalled succeed",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const { port } = yield* serve(() => {});
        const target = { host: "127.0.0.1", port };
        const waiting = yield* Effect.forkAll(
          Array.from({ length: 50 }, (_, i) =>
            i % 2 === 0
              ? transport.probe(target, { timeoutMillis: second })
              : Effect.map(transport.connect(target, { timeoutMillis: second }), (made) => made.reset()),
          ),
        );
        yield* Effect.yieldNow();
        yield* block(3 * second);
        yield* Fiber.join(waiting);
      }).pipe(Effect.orDie),
    );

    const unseen = "a program that listens never sees a probe";
    if (probesUnseen) {
      test(
        unseen,
        Effect.gen(function* () {
          const transport = yield* Transport;
          const accepted: Array<number | undefined> = [];
          const { port } = yield* serve((socket) => accepted.push(socket.remotePort));
          const target = { host: "127.0.0.1", port };
          for (let i = 0; i < 20; i++) yield* transport.probe(target, { timeoutMillis: 10 * second });
          // The queue is in order: whatever was before this one has been accepted when this one is.
          const { localPort } = yield* dial(port);
          yield* eventually(() => accepted.includes(localPort));
          assert.deepStrictEqual(accepted, [localPort]);
        }).pipe(Effect.orDie),
      );
    } else it.skip(`${unseen} (it has no option that keeps the handshake from being completed)`);

    test(
      "an interrupted connect leaves nothing behind",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const port = yield* blackHole;
        const before = descriptors();
        const fiber = yield* Effect.fork(
          transport.connect({ host: "127.0.0.1", port }, { timeoutMillis: 60 * second }),
        );
        yield* eventually(() => descriptors() > before);
        const exit = yield* Fiber.interrupt(fiber);
        assert.isTrue(Exit.isInterrupted(exit));
        yield* eventually(() => descriptors() <= before);
      }),
    );

    test(
      "closing a connection that was not relayed ends it in order",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* collecting((socket) => socket.once("end", () => socket.end()));
        const connection = yield* Effect.orDie(
          transport.connect({ host: "127.0.0.1", port: backend.port }, { timeoutMillis: second }),
        );
        connection.close();
        connection.close();
        assert.strictEqual((yield* first(backend.received)).end, "fin");
      }),
    );

    test(
      "resetting a connection that was not relayed breaks it off",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* collecting();
        const connection = yield* Effect.orDie(
          transport.connect({ host: "127.0.0.1", port: backend.port }, { timeoutMillis: second }),
        );
        yield* eventually(() => backend.received.length === 1);
        connection.reset();
        connection.reset();
        assert.strictEqual((yield* first(backend.received)).end, "reset");
      }),
    );

    test(
      "tells who the client is, and where it listens",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const clients: Array<Connection> = [];
        const listener = yield* Effect.orDie(
          transport.listen({ ...listenOptions, onConnection: (client) => clients.push(client) }),
        );
        const client = yield* dial(listener.address.port);
        yield* eventually(() => clients.length === 1);
        assert.deepStrictEqual(
          { ...clients[0]?.remote },
          { host: client.localAddress ?? "", port: client.localPort ?? 0 },
        );
        assert.strictEqual(listener.address.host, "127.0.0.1");
        clients[0]?.reset();
      }),
    );

    test(
      "without an address it listens on IPv4 too, and such a client has its IPv4 address",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const clients: Array<Connection> = [];
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            host: undefined,
            onConnection: (client) => clients.push(client),
          }),
        );
        const { localPort } = yield* dial(listener.address.port);
        yield* eventually(() => clients.length === 1);
        assert.deepStrictEqual(clients[0]?.remote, { host: "127.0.0.1", port: localPort });
        clients[0]?.reset();
      }),
    );

    test(
      "a taken port is told as such",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const { port } = yield* serve(() => {});
        const error = yield* Effect.flip(
          transport.listen({ ...listenOptions, port, onConnection: () => {} }),
        ).pipe(Effect.orDie);
        assert(error._tag === "ListenError");
        assert.strictEqual(error.reason, "in-use");
        assert.include(error.message, `127.0.0.1:${port}`);
      }),
    );

    test(
      "a connection that is made in the moment of an interruption is nobody's, and gone",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* serve((socket) => socket.resume().on("end", () => socket.end()));
        const before = descriptors();
        for (let n = 0; n < 200; n++) {
          // Interrupted after so many turns of the event loop: before, while and after it is connected.
          const fiber = yield* transport
            .connect({ host: "127.0.0.1", port: backend.port }, { timeoutMillis: second })
            .pipe(
              Effect.tap((connection) => connection.reset()),
              Effect.uninterruptible,
              Effect.fork,
            );
          for (let turn = 0; turn < n % 10; turn++) {
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
          }
          yield* Fiber.interrupt(fiber);
        }
        yield* eventually(() => backend.sockets.size === 0 && descriptors() === before);
      }),
    );

    test(
      "who waits to be accepted when the listener closes is accepted first",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const accepted: Array<number> = [];
        const backend = yield* serve((socket) => socket.pipe(socket));
        const target = { host: "127.0.0.1", port: backend.port };
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            onConnection: (client) => {
              accepted.push(client.remote.port);
              const counts = { received: 0, sent: 0 };
              Effect.runFork(transport.forward(client, target, { timeoutMillis: 30 * second }, counts));
            },
          }),
        );
        const clients = Array.from({ length: 100 }, () => {
          const socket = net.connect({ host: "127.0.0.1", port: listener.address.port, allowHalfOpen: true });
          return { socket, answer: receive(socket) };
        });
        // They are connected by the kernel in the next tick; the loop looks at its input only after that.
        yield* Effect.promise(() => new Promise((resolve) => process.nextTick(resolve)));
        assert.deepStrictEqual(accepted, []);
        yield* listener.close;
        assert.lengthOf(accepted, clients.length);
        yield* Effect.promise(async () => {
          for (const { socket } of clients) socket.end("hello");
          for (const { answer } of clients) {
            const { bytes, end } = await answer;
            assert.deepStrictEqual([bytes.toString(), end], ["hello", "fin"]);
          }
        });
        const refused = yield* Effect.flip(transport.connect(listener.address, { timeoutMillis: second }));
        assert.strictEqual(refused.reason, "refused");
      }).pipe(Effect.orDie),
    );

    /** What became of the beginning of each client, which is as long as its first byte says, and of what was relayed then. */
    const introduced = (timeoutMillis: number) =>
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* collecting((socket) => socket.end());
        const heads: Array<string> = [];
        const outcomes: Array<RelayOutcome> = [];
        const target = { host: "127.0.0.1", port: backend.port };
        let seen = 0;
        const lengthOf = (bytes: Uint8Array): number => {
          seen = bytes.length;
          return bytes[0] === 0 ? -1 : (bytes[0] ?? 0);
        };
        const run = (client: Connection) =>
          transport.head(client, { timeoutMillis, most: 200, lengthOf }).pipe(
            Effect.match({
              onSuccess: (bytes) => Buffer.from(bytes).toString("latin1"),
              onFailure: ({ reason }) => reason,
            }),
            Effect.tap((head) => Effect.sync(() => heads.push(head))),
            Effect.zipRight(
              transport.forward(client, target, { timeoutMillis: 60 * second }, { received: 0, sent: 0 }),
            ),
            Effect.map((outcome) => outcomes.push(outcome)),
          );
        const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = [];
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            onConnection: (client) => fibers.push(Effect.runFork(run(client))),
          }),
        );
        yield* Effect.addFinalizer(() => Fiber.interruptAll(fibers));
        /** Of the client that came last: how many bytes of its beginning had come when that was last looked at. */
        return { port: listener.address.port, backend, heads, outcomes, seen: () => seen };
      });

    test(
      "the beginning of a connection is read without a byte of what stands behind it, which is relayed and counted",
      Effect.gen(function* () {
        const { backend, heads, outcomes, port } = yield* introduced(60 * second);
        const client = yield* dial(port);
        client.end(Buffer.concat([Buffer.from("\x05head"), megabyte]));
        const { bytes, end } = yield* first(backend.received);
        assert.deepStrictEqual(heads, ["\x05head"]);
        assert.isTrue(bytes.equals(megabyte));
        assert.strictEqual(end, "fin");
        yield* eventually(() => outcomes.length === 1);
        assert.strictEqual(outcomes[0]?.received, megabyte.length);
      }),
    );

    test(
      "a beginning that comes byte by byte is read when it is whole, and nothing but it",
      Effect.gen(function* () {
        const { backend, heads, port } = yield* introduced(60 * second);
        const client = yield* dial(port);
        client.setNoDelay(true);
        for (const byte of Buffer.from("\x08headers and more")) {
          client.write(Buffer.from([byte]));
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)));
        }
        client.end();
        const { bytes } = yield* first(backend.received);
        assert.deepStrictEqual(heads, ["\x08headers"]);
        assert.strictEqual(bytes.toString(), " and more");
      }),
    );

    test(
      "a beginning that does not come in time is given up, and what has come is relayed as ever",
      Effect.gen(function* () {
        const { backend, heads, outcomes, port } = yield* introduced(200);
        const client = yield* dial(port);
        client.write("\x09abc");
        yield* eventually(() => heads.length === 1);
        assert.deepStrictEqual(heads, ["timeout"]);
        client.end("def");
        const { bytes } = yield* first(backend.received);
        assert.strictEqual(bytes.toString(), "\x09abcdef");
        yield* eventually(() => outcomes.length === 1);
        assert.strictEqual(outcomes[0]?.received, 7);
      }),
    );

    test(
      "what is no beginning is answered and stays unread",
      Effect.gen(function* () {
        const { backend, heads, port } = yield* introduced(60 * second);
        const client = yield* dial(port);
        client.end("\0no head");
        const { bytes } = yield* first(backend.received);
        assert.match(heads[0] ?? "", /^\0/);
        assert.strictEqual(bytes.toString(), "\0no head");
      }),
    );

    test(
      "a client that ends or breaks off before its beginning is whole is told apart",
      Effect.gen(function* () {
        const { heads, port, seen } = yield* introduced(60 * second);
        const ends = yield* dial(port);
        ends.end("\x09abc");
        yield* eventually(() => heads.length === 1);
        const silent = yield* dial(port);
        silent.end();
        yield* eventually(() => heads.length === 2);
        const breaks = yield* dial(port);
        breaks.write("\x0aabcd");
        yield* eventually(() => seen() === 5);
        breaks.resetAndDestroy();
        yield* eventually(() => heads.length === 3);
        assert.deepStrictEqual(heads, ["closed", "closed", "reset"]);
      }),
    );

    test(
      "interrupting the wait for a beginning leaves the client to the caller, and nothing behind",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const accepted = yield* Deferred.make<Connection>();
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            onConnection: (client) => Deferred.unsafeDone(accepted, Exit.succeed(client)),
          }),
        );
        const client = yield* dial(listener.address.port);
        const end = receive(client);
        const connection = yield* Deferred.await(accepted);
        const waiting = yield* Effect.fork(
          transport.head(connection, { timeoutMillis: 60 * second, most: 10, lengthOf: () => 0 }),
        );
        yield* Effect.yieldNow();
        yield* Fiber.interrupt(waiting);
        connection.close();
        assert.strictEqual((yield* Effect.promise(() => end)).end, "fin");
      }),
    );

    /** Clients that are watched until they break off, and are forwarded in the end by `forward`. */
    const watched = Effect.gen(function* () {
      const transport = yield* Transport;
      const backend = yield* collecting((socket) => socket.end("answer"));
      const target = { host: "127.0.0.1", port: backend.port };
      const accepted: Array<{ readonly client: Connection; readonly stop: () => void; broken: number }> = [];
      const outcomes: Array<RelayOutcome> = [];
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = [];
      const listener = yield* Effect.orDie(
        transport.listen({
          ...listenOptions,
          onConnection: (client) => {
            const one = {
              client,
              broken: 0,
              stop: transport.watch(client, () => {
                one.broken += 1;
              }),
            };
            accepted.push(one);
          },
        }),
      );
      yield* Effect.addFinalizer(() => Fiber.interruptAll(fibers));
      const forward = (client: Connection) =>
        fibers.push(
          Effect.runFork(
            transport
              .forward(client, target, { timeoutMillis: 60 * second }, { received: 0, sent: 0 })
              .pipe(Effect.map((outcome) => outcomes.push(outcome))),
          ),
        );
      return { port: listener.address.port, accepted, backend, forward, outcomes };
    });

    test(
      "a client that is watched and breaks off is told at once, silent or not, also after its FIN",
      Effect.gen(function* () {
        const { accepted, port } = yield* watched;
        const silent = yield* dial(port);
        yield* eventually(() => accepted.length === 1);
        silent.resetAndDestroy();
        yield* eventually(() => accepted[0]?.broken === 1);
        const speaks = yield* dial(port);
        speaks.write("hello");
        yield* eventually(() => accepted.length === 2);
        speaks.resetAndDestroy();
        yield* eventually(() => accepted[1]?.broken === 1);
        const shut = yield* dial(port);
        shut.end();
        yield* eventually(() => accepted.length === 3);
        yield* eventually(() => shut.writableFinished);
        shut.resetAndDestroy();
        yield* eventually(() => accepted[2]?.broken === 1);
        for (const { client, stop } of accepted) {
          stop();
          client.reset();
        }
        assert.deepStrictEqual(
          accepted.map(({ broken }) => broken),
          [1, 1, 1],
        );
      }),
    );

    test(
      "a client that has sent and shut its side is watched on, and all of that is relayed and counted",
      Effect.gen(function* () {
        const { accepted, backend, forward, outcomes, port } = yield* watched;
        for (const [n, sent] of ["", "hello", megabyte].entries()) {
          const client = yield* dial(port);
          const answer = receive(client);
          client.end(sent);
          yield* eventually(() => accepted.length === n + 1);
          // What it has sent by now has been looked at.
          for (let turn = 0; turn < 5; turn++) {
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
          }
          const one = accepted[n] ?? assert.fail();
          one.stop();
          forward(one.client);
          yield* eventually(() => backend.received.length === n + 1);
          const { bytes, end } = yield* Effect.promise(() => backend.received[n] ?? assert.fail());
          assert.strictEqual(end, "fin");
          assert.isTrue(bytes.equals(Buffer.from(sent)));
          assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "answer");
          yield* eventually(() => outcomes.length === n + 1);
          assert.strictEqual(outcomes[n]?.received, sent.length);
          assert.strictEqual(one.broken, 0);
        }
      }),
    );

    test(
      "a client that is watched no longer is not told of, and is the caller's",
      Effect.gen(function* () {
        const { accepted, port } = yield* watched;
        const [leaves, stays] = yield* Effect.all([dial(port), dial(port)]);
        const end = receive(stays);
        yield* eventually(() => accepted.length === 2);
        for (const { stop } of accepted) stop();
        leaves.resetAndDestroy();
        for (const { client } of accepted) client.close();
        assert.strictEqual((yield* Effect.promise(() => end)).end, "fin");
        assert.deepStrictEqual(
          accepted.map(({ broken }) => broken),
          [0, 0],
        );
      }),
    );

    test(
      "a preface reaches the backend as soon as it is connected, before all that the client sends, and is not counted",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* serve((socket) => socket.pipe(socket));
        const target = { host: "127.0.0.1", port: backend.port };
        const preface = Buffer.from("preface, and ");
        const options = { timeoutMillis: 60 * second, preface };
        const outcomes: Array<RelayOutcome> = [];
        const ways = [
          (client: Connection) => transport.forward(client, target, options, { received: 0, sent: 0 }),
          (client: Connection) =>
            Effect.flatMap(transport.connect(target, options), (made) =>
              transport.relay(client, made, { received: 0, sent: 0 }),
            ),
        ];
        let came = 0;
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            onConnection: (client) => {
              const way = ways[came++ % 2] ?? assert.fail("there are two");
              Effect.runFork(Effect.map(way(client), (outcome) => outcomes.push(outcome)));
            },
          }),
        );
        for (let i = 1; i <= 6; i++) {
          const client = yield* dial(listener.address.port);
          // The backend hears it, and answers, before the client has said a word.
          const [answer] = yield* Effect.promise(() => once(client, "data"));
          assert.strictEqual(String(answer), "preface, and ");
          const rest = receive(client);
          client.end("what the client says");
          assert.strictEqual((yield* Effect.promise(() => rest)).bytes.toString(), "what the client says");
          yield* eventually(() => outcomes.length === i);
          assert.deepInclude(outcomes[i - 1], { end: "client-closed", received: 20, sent: 33 });
        }
      }),
    );

    test(
      "tells which of this host's addresses a client is connected to",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const locals: Array<Connection["local"]> = [];
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            host: "0.0.0.0",
            onConnection: (client) => {
              locals.push(client.local);
              client.reset();
            },
          }),
        );
        const client = net.connect({ host: "127.0.0.3", port: listener.address.port });
        yield* Effect.promise(() => receive(client));
        assert.deepStrictEqual(locals, [{ host: "127.0.0.3", port: listener.address.port }]);
      }),
    );

    test(
      "a listener with a limit serves no more than that at a time, and the next one once one has left",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* serve((socket) => socket.pipe(socket));
        const served: Array<Connection> = [];
        let full = 0;
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            maxConnections: 3,
            onFull: () => {
              full += 1;
            },
            onConnection: (client) => {
              served.push(client);
              const target = { host: "127.0.0.1", port: backend.port };
              const counts = { received: 0, sent: 0 };
              Effect.runFork(transport.forward(client, target, { timeoutMillis: 60 * second }, counts));
            },
            onRefused: () => assert.fail("nobody waits for so long"),
          }),
        );
        const echoed = (text: string) =>
          Effect.gen(function* () {
            const client = yield* dial(listener.address.port);
            client.write(text);
            yield* Effect.promise(() => once(client, "data"));
            return client;
          });
        const inside = yield* Effect.all([echoed("a"), echoed("b"), echoed("c")]);
        assert.strictEqual(full, 0);
        const ended: Array<Socket> = [];
        const later = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, i) => `later ${i}`),
          (text) => Effect.tap(echoed(text), (client) => Effect.sync(() => ended.push(client))),
          { concurrency: "unbounded", discard: true },
        ).pipe(Effect.fork);
        yield* eventually(() => full > 0);
        // Each who leaves makes place for one.
        for (let left = 0; left < 12; left++) {
          assert.deepStrictEqual([served.length, ended.length], [3 + left, left]);
          const client = inside[left] ?? ended[left - 3];
          if (left % 2 === 0) client?.resetAndDestroy();
          else client?.end();
          yield* eventually(() => ended.length > left);
        }
        yield* Fiber.join(later);
        assert.lengthOf(served, 15);
      }),
    );

    test(
      "where to listen is checked",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const optionOf = (options: {
          readonly host?: string;
          readonly port?: number;
          readonly backlog?: number;
        }) =>
          Effect.map(
            Effect.flip(transport.listen({ ...listenOptions, ...options, onConnection: () => {} })),
            (error) => (error._tag === "InvalidOption" ? error.option : error._tag),
          );
        assert.strictEqual(yield* optionOf({ port: 70_000 }), "port");
        assert.strictEqual(yield* optionOf({ port: Number.NaN }), "port");
        assert.strictEqual(yield* optionOf({ host: "localhost" }), "host");
        assert.strictEqual(yield* optionOf({ backlog: 0 }), "backlog");
      }).pipe(Effect.orDie),
    );

    isolated(
      "an address that is not this host's is refused with what helps",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const listen = (host: string) => transport.listen({ ...listenOptions, host, onConnection: () => {} });
        const error = yield* Effect.flip(listen("10.1.1.1"));
        assert(error._tag === "ListenError");
        assert.strictEqual(error.reason, "no-such-address");
        assert.include(error.message, "10.1.1.1 is not an address of this host");
        assert.include(error.message, "net.ipv4.ip_nonlocal_bind");
        yield* Namespace.set("net/ipv4/ip_nonlocal_bind", "1");
        assert.strictEqual((yield* listen("10.1.1.1")).address.host, "10.1.1.1");
        assert.include((yield* Effect.flip(listen("2001:db8::1"))).message, "net.ipv6.ip_nonlocal_bind");
      }).pipe(Effect.orDie),
    );

    test(
      "a closed listener refuses, and what it had accepted lives on",
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relayed: Array<Fiber.RuntimeFiber<RelayOutcome, unknown>> = [];
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listenOptions,
            onConnection: (client) =>
              relayed.push(
                Effect.runFork(
                  transport
                    .connect({ host: "127.0.0.1", port: backend.port }, { timeoutMillis: second })
                    .pipe(
                      Effect.flatMap((server) => transport.relay(client, server, { received: 0, sent: 0 })),
                    ),
                ),
              ),
          }),
        );
        const client = yield* dial(listener.address.port);
        yield* eventually(() => relayed.length === 1);
        yield* listener.close;
        const refused = yield* Effect.flip(
          transport.connect(listener.address, { timeoutMillis: second }),
        ).pipe(Effect.orDie);
        assert.strictEqual(refused.reason, "refused");
        const answer = receive(client);
        client.end("still here");
        assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "still here");
      }),
    );
  });
};
