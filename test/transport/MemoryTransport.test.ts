import { assert, describe, it } from "@effect/vitest";
import { Effect, Exit, Fiber, type Scope, TestClock } from "effect";
import * as MemoryTransport from "../../src/transport/MemoryTransport.js";
import { type RelayOutcome, Transport } from "../../src/transport/Transport.js";
import { eventually } from "../support/Sockets.js";

const target = { host: "10.0.0.1", port: 80 };
const options = { timeoutMillis: 1_000 };
const bytes = (text: string) => new TextEncoder().encode(text);

/** What a peer has heard. */
const listening = (peer: MemoryTransport.Peer) => {
  const heard = { text: "", end: "" };
  peer.onData((part) => {
    heard.text += new TextDecoder().decode(part);
  });
  peer.onEnd((end) => {
    heard.end += end;
  });
  return heard;
};

const test = (
  title: string,
  body: (network: MemoryTransport.Network) => Effect.Effect<void, unknown, Scope.Scope | Transport>,
) =>
  it.scoped(title, () => {
    const network = new MemoryTransport.Network();
    return Effect.provide(body(network), MemoryTransport.layer(network));
  });

/** What the beginning of each client of a port is read as; it is as long as its first byte says. */
const beginnings = Effect.gen(function* () {
  const transport = yield* Transport;
  const heads: Array<string> = [];
  const lengthOf = (bytes: Uint8Array): number => bytes[0] ?? 0;
  const listener = yield* transport.listen({
    host: undefined,
    port: 0,
    backlog: 1,
    onAcceptError: () => {},
    onConnection: (client) => {
      const head = transport.head(client, { timeoutMillis: 1_000, most: 9, lengthOf }).pipe(
        Effect.match({
          onSuccess: (bytes) => Buffer.from(bytes).toString("latin1"),
          onFailure: ({ reason }) => reason,
        }),
      );
      const counts = { received: 0, sent: 0 };
      Effect.runFork(
        Effect.tap(head, (text) => Effect.sync(() => heads.push(text))).pipe(
          Effect.zipRight(transport.forward(client, target, { timeoutMillis: 1_000 }, counts)),
        ),
      );
    },
  });
  return { heads, port: listener.address.port };
});

/** A relay from a port to the target. */
const relayed = (network: MemoryTransport.Network) =>
  Effect.gen(function* () {
    const transport = yield* Transport;
    const servers: Array<MemoryTransport.Peer> = [];
    network.serve(target, (peer) => servers.push(peer));
    const counts = { received: 0, sent: 0 };
    const fibers: Array<Fiber.RuntimeFiber<RelayOutcome, unknown>> = [];
    const listener = yield* transport.listen({
      host: undefined,
      port: 0,
      backlog: 16,
      onAcceptError: () => {},
      onConnection: (client) =>
        fibers.push(Effect.runFork(transport.forward(client, target, options, counts))),
    });
    const client = network.dial(listener.address.port);
    assert(client !== undefined);
    const [fiber] = fibers;
    assert(fiber !== undefined);
    client.write(bytes("early"));
    yield* eventually(() => servers.length !== 0);
    const [server] = servers;
    assert(server !== undefined);
    return { client, server, fiber, counts, listener };
  });

describe("MemoryTransport", () => {
  test("relays both ways, keeps half-close, and ends when both have", (network) =>
    Effect.gen(function* () {
      const { client, server, fiber, counts } = yield* relayed(network);
      const atServer = listening(server);
      const atClient = listening(client);
      client.end();
      yield* eventually(() => atServer.end !== "");
      assert.deepStrictEqual(atServer, { text: "early", end: "fin" });
      server.write(bytes("answer"));
      server.end();
      assert.deepStrictEqual(yield* Fiber.join(fiber), { end: "client-closed", received: 5, sent: 6 });
      assert.deepStrictEqual(atClient, { text: "answer", end: "fin" });
      assert.deepStrictEqual<unknown>(counts, { received: 5, sent: 6, halfClosed: true });
    }));

  test("reads a beginning in pieces, and leaves what stands behind it, in its order, to what is relayed", (network) =>
    Effect.gen(function* () {
      const servers: Array<MemoryTransport.Peer> = [];
      network.serve(target, (peer) => servers.push(peer));
      const { heads, port } = yield* beginnings;
      const client = network.dial(port);
      for (const part of ["\x05he", "adA", "B", "C"]) client?.write(bytes(part));
      client?.end();
      yield* eventually(() => servers.length > 0);
      const atServer = servers[0] === undefined ? assert.fail("nobody came") : listening(servers[0]);
      yield* eventually(() => atServer.end !== "");
      assert.deepStrictEqual(heads, ["\x05head"]);
      assert.deepStrictEqual(atServer, { text: "ABC", end: "fin" });
    }));

  test("gives a beginning up at the deadline of the clock, and at the client's end", (network) =>
    Effect.gen(function* () {
      const { heads, port } = yield* beginnings;
      network.dial(port)?.write(bytes("\x05he"));
      network.dial(port)?.end();
      network.dial(port)?.reset();
      yield* eventually(() => heads.length === 2);
      assert.deepStrictEqual(heads, ["closed", "reset"]);
      yield* TestClock.adjust("1 second");
      yield* eventually(() => heads.length === 3);
      assert.strictEqual(heads[2], "timeout");
    }));

  test("makes a reset of one side one of the other", (network) =>
    Effect.gen(function* () {
      const { client, server, fiber } = yield* relayed(network);
      const atServer = listening(server);
      yield* eventually(() => atServer.text !== "");
      client.reset();
      assert.strictEqual((yield* Fiber.join(fiber)).end, "client-reset");
      assert.strictEqual(atServer.end, "reset");
    }));

  test("resets both when it is interrupted", (network) =>
    Effect.gen(function* () {
      const { client, server, fiber } = yield* relayed(network);
      const both = [listening(client), listening(server)];
      yield* eventually(() => both[1]?.text !== "");
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)));
      assert.deepStrictEqual(
        both.map(({ end }) => end),
        ["reset", "reset"],
      );
    }));

  test("refuses where nobody listens, is silent until the deadline of the clock, and probes without being seen", (network) =>
    Effect.gen(function* () {
      const transport = yield* Transport;
      const reasonOf = Effect.map(Effect.flip(transport.connect(target, options)), ({ reason }) => reason);
      assert.strictEqual(yield* reasonOf, "refused");
      network.serve(target, "silence");
      const silent = yield* Effect.fork(reasonOf);
      yield* TestClock.adjust(999);
      assert.isNull(silent.unsafePoll());
      yield* TestClock.adjust(1);
      assert.strictEqual(yield* Fiber.join(silent), "timeout");
      network.serve(target, () => assert.fail("a probe was seen"));
      yield* transport.probe(target, options);
    }));

  test("listens on a port once, until it is closed", (network) =>
    Effect.gen(function* () {
      const { listener } = yield* relayed(network);
      const { port } = listener.address;
      const transport = yield* Transport;
      const again = transport.listen({
        host: undefined,
        port,
        backlog: 1,
        onConnection: () => {},
        onAcceptError: () => {},
      });
      assert.include((yield* Effect.flip(again)).message, "in use");
      yield* listener.close;
      assert.isUndefined(network.dial(port));
      yield* again;
    }));
});
