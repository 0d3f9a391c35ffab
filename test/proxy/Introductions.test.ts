/**
 * Clients that are named by a PROXY header, over real sockets.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Logger, type Scope } from "effect";
import * as CidrSet from "../../src/net/CidrSet.js";
import { dial, eventually, receive, serve } from "../support/Sockets.js";
import { lines, type StartedBalancer, start } from "../support/StartedBalancer.js";
import { transports } from "../support/Transports.js";

const test = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(title, () => Effect.orDie(Effect.provide(body, Logger.remove(Logger.defaultLogger))));

/** Sends everything back; `sockets` are who was connected. */
const echo = Effect.gen(function* () {
  let connected = 0;
  const { port } = yield* serve((socket) => {
    connected += 1;
    socket.pipe(socket);
  });
  return { port, connected: () => connected };
});

/** A client that sends this and its end, and what it gets. */
const exchange = (port: number, text: string) =>
  Effect.gen(function* () {
    const client = yield* dial(port);
    const answer = receive(client);
    client.end(text);
    return yield* Effect.promise(() => answer);
  });

const cidrs = (text: string) => {
  const set = CidrSet.parse(text);
  return set instanceof CidrSet.CidrSet ? set : assert.fail(set.wrong);
};

const header = (host: string): string => `PROXY TCP4 ${host} 192.0.2.1 4711 443\r\n`;

const ended = ({ log }: StartedBalancer) => lines(log, "connection").map(({ annotations }) => annotations);

describe.each(Object.entries(transports))("a PROXY header (%s)", (_name, transport) => {
  test(
    "names the client, and what stands behind it is relayed",
    Effect.gen(function* () {
      const backend = yield* echo;
      const started = yield* start({
        ports: [backend.port],
        transport,
        options: { accessLog: "all", proxyProtocolFrom: cidrs("127.0.0.0/8") },
      });
      const hello = yield* exchange(started.port, `${header("203.0.113.9")}hello`);
      assert.deepStrictEqual([hello.bytes.toString(), hello.end], ["hello", "fin"]);
      yield* eventually(() => ended(started).length === 1);
      assert.deepInclude(ended(started)[0], {
        client: "203.0.113.9:4711",
        code: "client/relaying",
        received: 5,
        sent: 5,
      });
      // Nobody is named: the peer it is.
      yield* exchange(started.port, "PROXY UNKNOWN\r\nhello");
      yield* eventually(() => ended(started).length === 2);
      assert.match(String(ended(started)[1]?.["client"]), /^127\.0\.0\.1:/);
    }),
  );

  test(
    "that is wrong, cut off or does not come ends the connection with a reset before there is a backend",
    Effect.gen(function* () {
      const backend = yield* echo;
      const started = yield* start({
        ports: [backend.port],
        transport,
        options: {
          accessLog: "all",
          proxyProtocolFrom: cidrs("127.0.0.0/8"),
          proxyProtocolTimeout: "200 millis",
        },
      });
      const wrong = ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.1.1.1 1.1.1.2 0x1 2\r\n", "PROXY TCP4 1.1"];
      for (const text of wrong) {
        const { bytes, end } = yield* exchange(started.port, text);
        assert.deepStrictEqual([bytes.length, end], [0, "reset"], text);
      }
      const silent = yield* dial(started.port);
      assert.strictEqual((yield* Effect.promise(() => receive(silent))).end, "reset");
      assert.strictEqual(started.metrics.refusalsByReason.get("proxy-header"), 4);
      assert.strictEqual(backend.connected(), 0);
      yield* eventually(() => ended(started).length === 4);
      for (const { code } of ended(started)) assert.strictEqual(code, "proxy-header/choosing");
      const [refused] = lines(started.log, "connection refused");
      assert.strictEqual(
        refused?.annotations["why"],
        "its PROXY header is wrong: the connection does not begin with one",
      );
    }),
  );
});

describe("a PROXY header", () => {
  test(
    "is asked for only where a connection comes from those who send one, whatever its bytes are",
    Effect.gen(function* () {
      const backend = yield* echo;
      const { port } = yield* start({
        ports: [backend.port],
        options: { proxyProtocolFrom: cidrs("192.0.2.0/24") },
      });
      const text = `${header("203.0.113.9")}hello`;
      assert.strictEqual((yield* exchange(port, text)).bytes.toString(), text);
    }),
  );

  test(
    "has whom it names pass lists and limits, and the peer itself where it names nobody",
    Effect.gen(function* () {
      const backend = yield* echo;
      const started = yield* start({
        ports: [backend.port],
        options: {
          accessLog: "all",
          proxyProtocolFrom: cidrs("127.0.0.1"),
          allowClients: cidrs("203.0.113.0/24"),
          denyClients: cidrs("203.0.113.66"),
          maxConnectionsPerClient: 1,
        },
      });
      const { metrics, port } = started;
      // The peer is on no list of the allowed, and counts against no limit: two of its connections are served.
      const [one, other] = [yield* dial(port), yield* dial(port)];
      for (const [client, host] of [
        [one, "203.0.113.1"],
        [other, "203.0.113.2"],
      ] as const) {
        client.write(`${header(host)}a`);
        yield* Effect.promise(() => once(client, "data"));
      }
      const turnedAway = [
        header("203.0.113.66"),
        header("198.51.100.1"),
        header("203.0.113.1"),
        "PROXY UNKNOWN\r\n",
      ];
      for (const text of turnedAway) assert.strictEqual((yield* exchange(port, text)).end, "reset", text);
      assert.strictEqual(metrics.refusalsByReason.get("denied"), 3);
      assert.strictEqual(metrics.refusalsByReason.get("client-limit"), 1);
      one.destroy();
      yield* eventually(() => ended(started).length === 5);
      const again = yield* exchange(port, `${header("203.0.113.1")}again`);
      assert.strictEqual(again.bytes.toString(), "again");
    }),
  );

  test(
    "is not waited for from a peer that is denied",
    Effect.gen(function* () {
      const backend = yield* echo;
      const { metrics, port } = yield* start({
        ports: [backend.port],
        options: { proxyProtocolFrom: cidrs("127.0.0.1"), denyClients: cidrs("127.0.0.0/8") },
      });
      const { end } = yield* Effect.promise(() => receive(connect({ host: "127.0.0.1", port })));
      assert.strictEqual(end, "reset");
      assert.strictEqual(metrics.refusalsByReason.get("denied"), 1);
    }),
  );

  test(
    "that is awaited counts as a connection, and a drain does not wait for it longer than it may",
    Effect.gen(function* () {
      const started = yield* start({
        ports: [],
        options: { accessLog: "all", proxyProtocolFrom: cidrs("127.0.0.1"), drainTimeout: "100 millis" },
      });
      const client = yield* dial(started.port);
      const answer = receive(client);
      yield* Effect.repeat(started.balancer.open, { until: (open) => open === 1 });
      assert.strictEqual(yield* started.balancer.drain, 1);
      assert.strictEqual((yield* Effect.promise(() => answer)).end, "reset");
      assert.strictEqual(ended(started)[0]?.["code"], "drain-timeout/choosing");
    }),
  );
});
