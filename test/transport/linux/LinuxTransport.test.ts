import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import * as net from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Exit, Fiber, Layer, Logger, type Scope } from "effect";
import koffi from "koffi";
import { type HostLoop, Libc } from "../../../src/transport/linux/ContextTags.js";
import {
  AF_INET6,
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EINTR,
  EMFILE,
  errnoName,
  IPPROTO_TCP,
  type Service as LibcService,
  TCP_NODELAY,
  TCP_QUICKACK,
} from "../../../src/transport/linux/Libc.js";
import { layer, layerIoUring, layerSystem, layerWith } from "../../../src/transport/linux/LinuxTransport.js";
import {
  type AcceptError,
  type Connection,
  type RelayOutcome,
  Transport,
} from "../../../src/transport/Transport.js";
import { descriptors, dial, eventually, receive, serve } from "../../support/Sockets.js";
import { blackHole } from "../../support/StoppableServer.js";
import { conformance } from "../conformance.js";

conformance("Linux", layer, { probesUnseen: true });

/** With epoll alone, and with io_uring beside it. */
const both = [
  ["Linux", layer],
  ["io_uring", layerIoUring],
] as const;

const second = 1_000;

const listening = { host: "127.0.0.1", port: 0, backlog: 4096, onAcceptError: () => {} } as const;

/** The system with some of its calls replaced. */
const altered = (change: (libc: LibcService) => Partial<LibcService>): Layer.Layer<Libc | HostLoop> =>
  Layer.merge(
    layerSystem,
    Layer.provide(
      Layer.effect(
        Libc,
        Effect.map(Libc, (libc) => ({ ...libc, ...change(libc) })),
      ),
      layerSystem,
    ),
  ).pipe(Layer.orDie);

const over = (libc: Layer.Layer<Libc | HostLoop>, capacity = 1_000) =>
  Layer.orDie(Layer.provide(layerWith({ capacity }), libc));

/** A relay on a fresh port, with the outcomes of what went through it. */
const relayTo = (backendPort: number, onAcceptError: (error: AcceptError) => void = () => {}) =>
  Effect.gen(function* () {
    const transport = yield* Transport;
    const outcomes: Array<RelayOutcome> = [];
    const fibers: Array<Fiber.RuntimeFiber<void>> = [];
    const backend = { host: "127.0.0.1", port: backendPort };
    const counts = { received: 0, sent: 0 };
    // By turns: forwarded, and connected and relayed.
    const relayed = (client: Connection) =>
      fibers.length % 2 === 0
        ? transport.forward(client, backend, { timeoutMillis: 5 * second }, counts)
        : Effect.flatMap(transport.connect(backend, { timeoutMillis: 5 * second }), (made) =>
            transport.relay(client, made, counts),
          );
    const serveClient = (client: Connection) =>
      Effect.matchCause(relayed(client), {
        onSuccess: (outcome) => {
          outcomes.push(outcome);
        },
        onFailure: () => client.reset(),
      }).pipe(Effect.uninterruptible);
    const listener = yield* Effect.orDie(
      transport.listen({
        ...listening,
        onAcceptError,
        onConnection: (client) => fibers.push(Effect.runFork(serveClient(client))),
      }),
    );
    yield* Effect.addFinalizer(() => Fiber.interruptAll(fibers));
    return { port: listener.address.port, outcomes, fibers, counts };
  });

const test = <E>(
  title: string,
  transport: Layer.Layer<Transport, E>,
  body: Effect.Effect<void, never, Scope.Scope | Transport>,
) =>
  it.scopedLive(
    title,
    () => Effect.orDie(Effect.provide(body, Layer.provide(transport, Logger.remove(Logger.defaultLogger)))),
    60 * second,
  );

/** Sends blocks to the end and answers the hash of what it sent. */
const send = async (socket: net.Socket, blocks: ReadonlyArray<Buffer>): Promise<string> => {
  const hash = createHash("sha256");
  for (const block of blocks) {
    hash.update(block);
    if (!socket.write(block)) await once(socket, "drain");
  }
  socket.end();
  return hash.digest("hex");
};

const hashOf = (socket: net.Socket): Promise<string> =>
  new Promise((resolve) => {
    const hash = createHash("sha256");
    socket.on("data", (chunk) => hash.update(chunk));
    socket.once("close", () => resolve("broken off"));
    socket.once("end", () => resolve(hash.digest("hex")));
  });

/** A byte of urgent data, for which Node has no call. */
const sendUrgent = (socket: net.Socket): void => {
  const fd: unknown = Reflect.get(Reflect.get(socket, "_handle"), "fd");
  const urgent = 1; // MSG_OOB
  const send = koffi.load(null).func("int send(int, const char *, size_t, int)");
  assert.strictEqual(send(fd, "!", 1, urgent), 1);
};

for (const [name, layer] of both) {
  describe(`${name} transport: bytes`, () => {
    // Small, then far more than any buffer on the way, then small again: both ways of moving bytes, and both changes.
    const blocks = [
      ...Array.from({ length: 50 }, () => randomBytes(randomInt(1, 2_000))),
      ...Array.from({ length: 40 }, () => randomBytes(1_000_000)),
      ...Array.from({ length: 50 }, () => randomBytes(randomInt(1, 2_000))),
    ];

    test(
      "a flow that turns bulky and small again arrives byte for byte, both ways at once",
      layer,
      Effect.gen(function* () {
        let far: Promise<readonly [sent: string, got: string]> | undefined;
        const backend = yield* serve((socket) => {
          far = Promise.all([send(socket, blocks), hashOf(socket)]);
        });
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const gotDown = hashOf(client);
        const sentUp = yield* Effect.promise(() => send(client, blocks));
        const downwards = yield* Effect.promise(() => gotDown);
        assert.deepStrictEqual(yield* Effect.promise(async () => await far), [downwards, sentUp]);
      }),
    );

    test(
      "urgent data among bulk is left out, as from any socket that does not ask for it, and nothing else",
      layer,
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const answer = receive(client);
        const half = randomBytes(10_000_000);
        yield* Effect.promise(() => new Promise((resolve) => client.write(half, resolve)));
        sendUrgent(client);
        client.end(half);
        const { bytes, end } = yield* Effect.promise(() => answer);
        assert.strictEqual(end, "fin");
        assert.isTrue(bytes.equals(Buffer.concat([half, half])));
      }),
    );

    test(
      "a client that has shut its side and then breaks off is noticed at once, however silent its backend is",
      layer,
      Effect.gen(function* () {
        let ended = false;
        const backend = yield* serve((socket) => {
          socket.resume();
          socket.once("end", () => {
            ended = true;
          });
        });
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        client.end("request");
        yield* eventually(() => ended);
        client.resetAndDestroy();
        yield* eventually(() => relay.outcomes.length === 1);
        assert.strictEqual(relay.outcomes[0]?.end, "client-reset");
      }),
    );

    test(
      "a hundred bulky flows at once share the pipes, and arrive byte for byte",
      layer,
      Effect.gen(function* () {
        const block = randomBytes(2_000_000);
        const backend = yield* serve((socket) => socket.end(block));
        const relay = yield* relayTo(backend.port);
        const clients = yield* Effect.all(
          Array.from({ length: 100 }, () => dial(relay.port)),
          { concurrency: "unbounded" },
        );
        // All wait for their reader at the same time, with bytes in whatever holds them.
        yield* eventually(() => relay.counts.sent >= 100 * 100_000);
        yield* Effect.forEach(
          clients,
          (client) =>
            Effect.promise(async () => {
              const answer = receive(client);
              client.end();
              assert.isTrue((await answer).bytes.equals(block));
            }),
          { concurrency: "unbounded" },
        );
      }),
    );

    test(
      "calls that are interrupted and writes that are cut short lose nothing",
      over(
        altered((libc) => {
          let calls = 0;
          const odd = () => ++calls % 3 === 0;
          return {
            read: (fd, block, offset, length) => (odd() ? -EINTR : libc.read(fd, block, offset, length)),
            write: (fd, block, offset, length) =>
              odd() ? -EINTR : libc.write(fd, block, offset, Math.max(1, length >> 1)),
            splice: (from, to, length) => (odd() ? -EINTR : libc.splice(from, to, Math.max(1, length >> 1))),
          };
        }),
      ),
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.pipe(socket));
        const relay = yield* relayTo(backend.port);
        const client = yield* dial(relay.port);
        const sent = randomBytes(300_000);
        const answer = receive(client);
        client.end(sent);
        assert.isTrue((yield* Effect.promise(() => answer)).bytes.equals(sent));
      }),
    );
  });
}

for (const [name, layer] of both) {
  describe(`${name} transport: ends`, () => {
    test(
      "a reset right behind the last bytes is no end for a client that has shut its side, 100 times",
      layer,
      Effect.gen(function* () {
        const backend = yield* serve((socket) => {
          socket.resume();
          socket.once("end", () => socket.write("a part of the answer", () => socket.resetAndDestroy()));
        });
        const relay = yield* relayTo(backend.port);
        for (let i = 1; i <= 100; i++) {
          const client = yield* dial(relay.port);
          client.on("error", () => {});
          client.resume();
          client.end("hello");
          yield* eventually(() => relay.outcomes.length === i);
        }
        assert.deepStrictEqual(
          relay.outcomes.map(({ end }) => end).filter((end) => end !== "backend-reset"),
          [],
        );
      }),
    );

    test(
      "clients and backends that reset at random moments leave no descriptor, and each relay is told of once",
      layer,
      Effect.gen(function* () {
        const block = randomBytes(200_000);
        const backend = yield* serve((socket) => {
          socket.pipe(socket);
          if (randomInt(3) === 0) setTimeout(() => socket.resetAndDestroy(), randomInt(20));
        });
        const relay = yield* relayTo(backend.port);
        yield* Effect.promise(() => new Promise(setImmediate));
        const before = descriptors();
        const client = Effect.gen(function* () {
          const socket = yield* dial(relay.port);
          const closed = new Promise((resolve) => socket.once("close", resolve));
          socket.resume();
          for (let i = randomInt(6); i > 0; i--) socket.write(block);
          if (randomInt(2) === 0) socket.end();
          setTimeout(() => socket.resetAndDestroy(), randomInt(20));
          yield* Effect.promise(() => closed);
        });
        yield* Effect.all(
          Array.from({ length: 300 }, () => Effect.scoped(client)),
          { concurrency: 50, discard: true },
        );
        yield* eventually(() => relay.outcomes.length === relay.fibers.length);
        // Up to eight pipes may be kept for the next ones.
        yield* eventually(() => backend.sockets.size === 0 && descriptors() <= before + 16);
      }),
    );

    test(
      "interrupting at any moment of a connection leaves no descriptor",
      layer,
      Effect.gen(function* () {
        const transport = yield* Transport;
        const backend = yield* serve((socket) => socket.write("greeting"));
        yield* Effect.promise(() => new Promise(setImmediate));
        const before = descriptors();
        for (let turns = 0; turns < 200; turns++) {
          const fiber = yield* Effect.fork(
            Effect.uninterruptible(
              transport.connect({ host: "127.0.0.1", port: backend.port }, { timeoutMillis: second }),
            ),
          );
          for (let i = turns % 8; i > 0; i--) {
            yield* Effect.promise(
              () => new Promise<void>((resolve) => (i % 2 ? setImmediate(resolve) : resolve())),
            );
          }
          const exit = yield* Fiber.interrupt(fiber);
          if (Exit.isSuccess(exit)) exit.value.reset();
        }
        yield* eventually(() => backend.sockets.size === 0 && descriptors() <= before);
      }),
    );

    test(
      "a connection that was interrupted with others waiting leaves their deadlines alone",
      layer,
      Effect.gen(function* () {
        const transport = yield* Transport;
        const port = yield* blackHole;
        const address = { host: "127.0.0.1", port };
        const slow = yield* Effect.fork(transport.connect(address, { timeoutMillis: 60 * second }));
        const quick = yield* Effect.fork(Effect.flip(transport.connect(address, { timeoutMillis: 150 })));
        const quicker = yield* Effect.fork(Effect.flip(transport.connect(address, { timeoutMillis: 100 })));
        yield* Effect.yieldNow();
        yield* Fiber.interrupt(slow);
        assert.strictEqual((yield* Effect.orDie(Fiber.join(quicker))).reason, "timeout");
        assert.strictEqual((yield* Effect.orDie(Fiber.join(quick))).reason, "timeout");
      }),
    );

    it.scopedLive("ending the transport ends what is connected, and leaves no descriptor", () =>
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.write("greeting"));
        yield* Effect.scoped(Effect.provide(Effect.asVoid(Transport), layer));
        const before = descriptors();
        const ready = yield* Deferred.make<net.Socket>();
        const running = yield* Effect.fork(
          Effect.scoped(
            Effect.gen(function* () {
              const relay = yield* relayTo(backend.port);
              const client = net.connect(relay.port, "127.0.0.1");
              client.on("error", () => {});
              yield* Effect.promise(() => once(client, "data"));
              yield* Deferred.succeed(ready, client);
              yield* Effect.never;
            }),
          ).pipe(Effect.provide(layer)),
        );
        const client = yield* Deferred.await(ready);
        const closed = new Promise((resolve) => client.once("close", resolve));
        yield* Fiber.interrupt(running);
        yield* Effect.promise(() => closed);
        yield* eventually(() => backend.sockets.size === 0 && descriptors() <= before);
      }).pipe(Effect.orDie),
    );
  });
}

describe("Linux transport: listening", () => {
  test(
    "tells IPv6 clients by their address",
    layer,
    Effect.gen(function* () {
      const transport = yield* Transport;
      const clients: Array<Connection> = [];
      const listener = yield* Effect.orDie(
        transport.listen({ ...listening, host: "::1", onConnection: (client) => clients.push(client) }),
      );
      assert.strictEqual(listener.address.host, "::1");
      const connection = yield* Effect.orDie(transport.connect(listener.address, { timeoutMillis: second }));
      yield* eventually(() => clients.length === 1);
      assert.strictEqual(clients[0]?.remote.host, "::1");
      connection.close();
      clients[0]?.close();
    }),
  );

  for (const errno of [EAFNOSUPPORT, EADDRNOTAVAIL]) {
    test(
      `listens on every IPv4 address of a host that has no IPv6 (${errnoName(errno)})`,
      over(
        altered((libc) => ({
          socket: (family) => (family === AF_INET6 && errno === EAFNOSUPPORT ? -errno : libc.socket(family)),
          bind: (fd, address, length) =>
            address.bytes[0] === AF_INET6 ? -errno : libc.bind(fd, address, length),
        })),
      ),
      Effect.gen(function* () {
        const transport = yield* Transport;
        const clients: Array<Connection> = [];
        const before = descriptors();
        const listener = yield* Effect.orDie(
          transport.listen({
            ...listening,
            host: undefined,
            onConnection: (client) => clients.push(client),
          }),
        );
        assert.strictEqual(descriptors(), before + 1);
        assert.strictEqual(listener.address.host, "0.0.0.0");
        yield* dial(listener.address.port);
        yield* eventually(() => clients.length === 1);
        assert.strictEqual(clients[0]?.remote.host, "127.0.0.1");
        clients[0]?.reset();
      }),
    );
  }

  test(
    "lets several listen on one port when all ask for it, and not otherwise",
    layer,
    Effect.gen(function* () {
      const transport = yield* Transport;
      const options = { ...listening, onConnection: (client: Connection) => client.reset() };
      const first = yield* Effect.orDie(transport.listen({ ...options, reusePort: true }));
      const { port } = first.address;
      yield* Effect.orDie(transport.listen({ ...options, port, reusePort: true }));
      const error = yield* Effect.orDie(Effect.flip(transport.listen({ ...options, port })));
      assert(error._tag === "ListenError");
      assert.strictEqual(error.reason, "in-use");
    }),
  );

  let refusals = 0;
  test(
    "out of descriptors it tells so, pauses without spinning, and goes on",
    over(
      altered((libc) => ({
        accept: (fd, address) => {
          if (refusals === 0) return libc.accept(fd, address);
          refusals -= 1;
          return -EMFILE;
        },
      })),
    ),
    Effect.gen(function* () {
      const errors: Array<AcceptError> = [];
      const backend = yield* serve((socket) => socket.pipe(socket));
      const relay = yield* relayTo(backend.port, (error) => errors.push(error));
      refusals = 3;
      const client = yield* dial(relay.port);
      const answer = receive(client);
      client.end("hello");
      assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "hello");
      assert.deepStrictEqual(
        errors.map(({ code }) => code),
        ["EMFILE", "EMFILE", "EMFILE"],
      );
    }),
  );

  test(
    "at its capacity it lets the next client wait until one has gone",
    over(
      altered(() => ({})),
      1,
    ),
    Effect.gen(function* () {
      const errors: Array<AcceptError> = [];
      const backend = yield* serve((socket) => socket.pipe(socket));
      const relay = yield* relayTo(backend.port, (error) => errors.push(error));
      const first = yield* dial(relay.port);
      first.write("first");
      yield* Effect.promise(() => once(first, "data"));
      const waiting = yield* dial(relay.port);
      const answer = receive(waiting);
      waiting.end("second");
      yield* eventually(() => errors.length > 0);
      assert.strictEqual(relay.fibers.length, 1);
      first.resetAndDestroy();
      assert.strictEqual((yield* Effect.promise(() => answer)).bytes.toString(), "second");
    }),
  );

  test(
    "a callback that throws loses its connection, and nothing else",
    layer,
    Effect.gen(function* () {
      const transport = yield* Transport;
      const clients: Array<Connection> = [];
      const listener = yield* Effect.orDie(
        transport.listen({
          ...listening,
          onConnection: (client) => {
            clients.push(client);
            if (clients.length === 1) throw new Error("a defect");
            client.close();
          },
        }),
      );
      const broken = yield* dial(listener.address.port);
      assert.strictEqual((yield* Effect.promise(() => receive(broken))).end, "reset");
      const next = yield* dial(listener.address.port);
      assert.strictEqual((yield* Effect.promise(() => receive(next))).end, "fin");
      assert.strictEqual(transport.faults(), 1);
    }),
  );

  let faulty = 0;
  test(
    "a fault while bytes are moved resets that connection, is told and counted, and others go on",
    over(
      altered((libc) => ({
        shutdown: (fd) => {
          if (faulty-- > 0) throw new Error("a defect");
          return libc.shutdown(fd);
        },
      })),
    ),
    Effect.gen(function* () {
      const backend = yield* serve((socket) => socket.pipe(socket));
      const relay = yield* relayTo(backend.port);
      const other = yield* dial(relay.port);
      other.write("before");
      yield* Effect.promise(() => once(other, "data"));
      const client = yield* dial(relay.port);
      client.write("hello");
      yield* Effect.promise(() => once(client, "data"));
      faulty = 1;
      const answer = receive(client);
      client.end();
      assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
      yield* eventually(() => relay.outcomes.length === 1);
      const rest = receive(other);
      other.end("after");
      assert.strictEqual((yield* Effect.promise(() => rest)).bytes.toString(), "after");
      assert.strictEqual((yield* Transport).faults(), 1);
    }),
  );
});

describe("Linux transport: a listening socket of others", () => {
  test(
    "is told of a connection once that has sent something",
    layer,
    Effect.gen(function* () {
      const heard: Array<string> = [];
      const server = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = net.createServer((socket) => {
            socket.on("error", () => {}).on("data", (chunk) => heard.push(String(chunk)));
          });
          await once(server.listen(0, "127.0.0.1"), "listening");
          return server;
        }),
        (server) => Effect.sync(() => server.close()),
      );
      let accepted = 0;
      server.on("connection", () => {
        accepted += 1;
      });
      const transport = yield* Transport;
      transport.deferAccept?.(Reflect.get(Reflect.get(server, "_handle"), "fd"), 5 * second);
      const { port } = server.address() as net.AddressInfo /* it listens on TCP */;
      const silent = yield* Effect.replicateEffect(dial(port), 3);
      (yield* dial(port)).write("first");
      yield* eventually(() => heard.length === 1);
      assert.strictEqual(accepted, 1);
      for (const socket of silent) socket.write("then");
      yield* eventually(() => heard.length === 4);
      assert.deepStrictEqual(heard, ["first", "then", "then", "then"]);
    }),
  );
});

describe("Linux transport: what a backend's socket is asked for", () => {
  /** The options that were set since, by their numbers. */
  const set: Array<string> = [];
  const watched = over(
    altered((libc) => ({
      setOption: (fd, level, option, value) => {
        if (level === IPPROTO_TCP) set.push(`${option} ${value}`);
        return libc.setOption(fd, level, option, value);
      },
    })),
  );
  const noDelay = `${TCP_NODELAY} 1`;
  const delayedAcknowledgement = `${TCP_QUICKACK} 0`;

  /** Accepts one client, and forwards it when `ready` has ended. */
  const forwardWhen = (backendPort: number, ready: (client: net.Socket) => Promise<unknown>) =>
    Effect.gen(function* () {
      const transport = yield* Transport;
      const accepted = yield* Deferred.make<Connection>();
      const listener = yield* Effect.orDie(
        transport.listen({
          ...listening,
          onConnection: (client) => Deferred.unsafeDone(accepted, Exit.succeed(client)),
        }),
      );
      const client = yield* dial(listener.address.port);
      const connection = yield* Deferred.await(accepted);
      yield* Effect.promise(() => ready(client));
      set.length = 0;
      const backend = { host: "127.0.0.1", port: backendPort };
      const forwarded = yield* transport
        .forward(connection, backend, { timeoutMillis: 5 * second }, { received: 0, sent: 0 })
        .pipe(Effect.forkScoped);
      return { client, forwarded };
    });

  /** What is written is in the other socket's queue when the kernel has taken it. */
  const written = (text: string) => (client: net.Socket) =>
    new Promise((resolve) => client.write(text, resolve));

  test(
    "the handshake's last packet waits for a client that has spoken",
    watched,
    Effect.gen(function* () {
      const backend = yield* serve((socket) => socket.pipe(socket));
      const { client } = yield* forwardWhen(backend.port, written("hello"));
      const [answer] = yield* Effect.promise(() => once(client, "data"));
      assert.strictEqual(String(answer), "hello");
      assert.deepStrictEqual(set, [delayedAcknowledgement]);
    }),
  );

  test(
    "it waits for nobody where the backend may have to speak first",
    watched,
    Effect.gen(function* () {
      const backend = yield* serve((socket) => void socket.write("220 ready"));
      const { client } = yield* forwardWhen(backend.port, () => Promise.resolve());
      const [greeting] = yield* Effect.promise(() => once(client, "data"));
      assert.strictEqual(String(greeting), "220 ready");
      assert.deepStrictEqual(set, []);
    }),
  );

  test(
    "to send at once, from the second write on",
    watched,
    Effect.gen(function* () {
      const backend = yield* serve((socket) => socket.pipe(socket));
      const { client } = yield* forwardWhen(backend.port, () => Promise.resolve());
      const asked: Array<number> = [];
      for (const text of ["one", "two", "three"]) {
        client.write(text);
        yield* Effect.promise(() => once(client, "data"));
        asked.push(set.filter((option) => option === noDelay).length);
      }
      assert.deepStrictEqual(asked, [0, 1, 1]);
    }),
  );

  test(
    "a client that has broken off by then is not taken for one that has closed",
    watched,
    Effect.gen(function* () {
      const backend = yield* serve((socket) => socket.pipe(socket));
      const { forwarded } = yield* forwardWhen(backend.port, async (client) => {
        client.resetAndDestroy();
        await once(client, "close");
      });
      assert.strictEqual((yield* Effect.orDie(Fiber.join(forwarded))).end, "client-reset");
    }),
  );
});

describe("Linux transport: availability", () => {
  const unavailable = (change: (libc: LibcService) => Partial<LibcService>) =>
    Effect.flip(Effect.scoped(Layer.build(Layer.provide(layerWith({ capacity: 10 }), altered(change)))));

  it.scopedLive("a system that delivers other bytes than were sent fails the self-test", () =>
    Effect.gen(function* () {
      let spoiled = false;
      const error = yield* unavailable((libc) => ({
        write: (fd, block, offset, length) => {
          if (!spoiled) block.bytes[offset] = (block.bytes[offset] ?? 0) ^ 1;
          spoiled = true;
          return libc.write(fd, block, offset, length);
        },
      }));
      assert.strictEqual(error.reason, "self-test-failed");
      assert.include(error.message, "other bytes came back than were sent");
    }),
  );

  it.scopedLive("a system without epoll is told as one that cannot be called", () =>
    Effect.gen(function* () {
      const error = yield* unavailable(() => ({ epollCreate: () => -EMFILE }));
      assert.strictEqual(error.reason, "not-callable");
      assert.include(error.message, "EMFILE");
    }),
  );

  it.scopedLive("a failed self-test leaves no descriptor", () =>
    Effect.gen(function* () {
      const failing = unavailable(() => ({
        listen: () => -EMFILE,
      }));
      yield* failing;
      const before = descriptors();
      const error = yield* failing;
      assert.strictEqual(error.reason, "self-test-failed");
      yield* eventually(() => descriptors() <= before);
    }),
  );
});
