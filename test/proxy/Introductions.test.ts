/**
 * PROXY headers over real sockets: those that name clients to the balancer, and those by which it names them to backends.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Logger, type Scope } from "effect";
import * as CidrSet from "../../src/net/CidrSet.js";
import * as ProxyHeader from "../../src/net/ProxyHeader.js";
import * as Ports from "../support/Ports.js";
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

describe.each(Object.entries(transports))("PROXY headers to backends (%s)", (_name, transport) => {
  /** A backend that says what it was sent first, however that came, and then sends all else back. */
  const telling = (length: (bytes: Buffer) => number) =>
    Effect.gen(function* () {
      const headers: Array<Buffer> = [];
      const { port } = yield* serve((socket) => {
        let head: Buffer | undefined;
        let bytes = Buffer.alloc(0);
        socket.on("data", (chunk) => {
          if (head !== undefined) {
            socket.write(chunk);
            return;
          }
          bytes = Buffer.concat([bytes, chunk]);
          const end = length(bytes);
          if (end === 0 || end > bytes.length) return;
          head = bytes.subarray(0, end);
          headers.push(head);
          // It speaks first.
          socket.write("welcome ");
          socket.write(bytes.subarray(end));
        });
        socket.on("end", () => socket.end());
      });
      return { port, headers };
    });

  const said = (bytes: Buffer | undefined) => ProxyHeader.parse(bytes ?? Buffer.alloc(0));

  for (const version of ["v1", "v2"] as const) {
    test(
      `name the client and where it connected to, before it says a word (${version})`,
      Effect.gen(function* () {
        const backend = yield* telling(ProxyHeader.lengthOf);
        const { log, port } = yield* start({
          ports: [backend.port],
          transport,
          options: { accessLog: "all", proxyProtocolTo: version },
        });
        const client = yield* dial(port);
        const [welcome] = yield* Effect.promise(() => once(client, "data"));
        assert.strictEqual(String(welcome), "welcome ");
        assert.deepStrictEqual(said(backend.headers[0]), {
          addresses: {
            source: { host: "127.0.0.1", port: client.localPort ?? 0 },
            destination: { host: "127.0.0.1", port },
          },
        });
        assert.strictEqual(backend.headers[0]?.length, version === "v2" ? 28 : backend.headers[0]?.length);
        const rest = receive(client);
        client.end("hello");
        assert.strictEqual((yield* Effect.promise(() => rest)).bytes.toString(), "hello");
        yield* eventually(() => lines(log, "connection").length === 1);
        assert.deepInclude(lines(log, "connection")[0]?.annotations, { received: 5, sent: 13 });
      }),
    );
  }

  test(
    "pass on what a header that came in says, also to the backend that is tried after another",
    Effect.gen(function* () {
      const backend = yield* telling(ProxyHeader.lengthOf);
      const { port } = yield* start({
        ports: [yield* Ports.unused, backend.port],
        transport,
        options: { proxyProtocolFrom: cidrs("127.0.0.1"), proxyProtocolTo: "v2" },
      });
      const { bytes } = yield* exchange(port, "PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\nhello");
      assert.strictEqual(bytes.toString(), "welcome hello");
      assert.deepStrictEqual(said(backend.headers[0]), {
        addresses: {
          source: { host: "2001:db8::9", port: 4711 },
          destination: { host: "2001:db8::1", port: 443 },
        },
      });
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
