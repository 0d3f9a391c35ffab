import { type EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import * as net from "node:net";
import { FetchHttpClient, type HttpClient } from "@effect/platform";
import { NodeHttpClient } from "@effect/platform-node";
import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, Either, FastCheck, type Layer, Redacted } from "effect";
import { type Answer, Discovery } from "../../src/discovery/Discovery.js";
import * as OperatorDiscovery from "../../src/discovery/OperatorDiscovery.js";
import { format } from "../../src/net/SocketAddress.js";
import * as CapturedLog from "../support/CapturedLog.js";
import * as Ports from "../support/Ports.js";

const token = "t0ken";
const secret = "s3cret";

const listening = <Server extends net.Server>(server: Server, end: () => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      // Of a server that listens on TCP.
      const { port } = server.address() as net.AddressInfo;
      return new URL(`http://127.0.0.1:${port}`);
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void));
        end();
      }),
  );

/** A real HTTP server for as long as the scope is open. */
const serving = (handler: RequestListener) =>
  Effect.suspend(() => {
    const server = createServer(handler);
    return listening(server, () => server.closeAllConnections());
  });

/** A real TCP server that answers so, whatever it is asked, and then ends the connection as it is told. */
const answering = (answer: (socket: net.Socket) => void) =>
  Effect.suspend(() => {
    const sockets = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      sockets.add(socket.on("error", () => undefined));
      socket.once("data", () => answer(socket));
    });
    return listening(server, () => {
      for (const socket of sockets) socket.destroy();
    });
  });

/** Waits until it is gone, in order or not. */
const closed = (one: EventEmitter): Promise<void> =>
  new Promise((resolve) => {
    one.on("error", () => undefined);
    one.once("close", () => resolve());
  });

const json =
  (body: unknown): RequestListener =>
  (_, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(body));
  };

const instance = (id: string, more: Readonly<Record<string, unknown>> = {}) => ({
  id,
  region_id: "r",
  state: "running",
  resources: { vcpu: 1, memory: 1024 },
  default_port: 3000,
  ip_address: "10.0.0.1",
  environment_variables: JSON.stringify({ KEY: secret }),
  created_at: "2025-08-23T12:48:09.123456Z",
  deleted_at: null,
  ...more,
});

const ask = (url: URL, options: Partial<OperatorDiscovery.Options> = {}) =>
  Effect.flatMap(Discovery, ({ list }) => list).pipe(
    Effect.provide(
      OperatorDiscovery.layer({ url, token: undefined, timeout: Duration.seconds(20), ...options }),
    ),
  );

const instances = (answer: Answer) => answer.instances.map(({ id, address }) => `${id} ${format(address)}`);
const skipped = (answer: Answer) => answer.skipped.map(({ entry, why }) => `${entry}: ${why}`);

const clients: ReadonlyArray<readonly [string, Layer.Layer<HttpClient.HttpClient>]> = [
  ["node:http", NodeHttpClient.layer],
  ["undici", NodeHttpClient.layerUndici],
  ["fetch", FetchHttpClient.layer],
];

describe("OperatorDiscovery.read", () => {
  const read = (body: unknown): Answer =>
    Either.getOrThrowWith(OperatorDiscovery.read(body), (wrong) => new Error(wrong));

  it("takes null and [] for an empty list", () => {
    assert.deepStrictEqual(read(null), { instances: [], skipped: [] });
    assert.deepStrictEqual(read([]), { instances: [], skipped: [] });
  });

  it("refuses JSON that is no list", () => {
    for (const body of [{}, { instances: [] }, "[]", 0, true]) {
      assert.isTrue(Either.isLeft(OperatorDiscovery.read(body)));
    }
  });

  it("takes what it needs of an instance, and does not care for the rest", () => {
    const answer = read([
      instance("a"),
      instance("b", { ip_address: "2001:db8::5", default_port: 65535, resources: "any", brand_new: [1] }),
      { id: "c", ip_address: "10.0.0.3" },
      instance("d", { default_port: 0, state: null, deleted_at: undefined }),
      instance("e", { default_port: null, environment_variables: { not: "text" } }),
    ]);
    assert.deepStrictEqual(instances(answer), [
      "a 10.0.0.1:3000",
      "b [2001:db8::5]:65535",
      "c 10.0.0.3:8080",
      "d 10.0.0.1:8080",
      "e 10.0.0.1:8080",
    ]);
    assert.deepStrictEqual(answer.skipped, []);
  });

  it("skips each bad entry by name, and lets the rest stand", () => {
    const bad: ReadonlyArray<readonly [unknown, string]> = [
      [null, "number 2 in the list: it is not an object"],
      ["text", "number 2 in the list: it is not an object"],
      [[], "number 2 in the list: it is not an object"],
      [{}, "number 2 in the list: id is missing"],
      [{ ip_address: "10.0.0.1" }, "the one at 10.0.0.1: id is missing"],
      [instance("x", { id: 7 }), "the one at 10.0.0.1: id is not text"],
      [instance("x", { id: "" }), "the one at 10.0.0.1: id is empty"],
      [{ id: "x" }, "x: ip_address is missing"],
      [instance("x", { ip_address: null }), "x: ip_address is not text"],
      [instance("x", { ip_address: "" }), "x: ip_address is empty"],
      [instance("x", { ip_address: "web.internal" }), "x: ip_address web.internal is not an IP address"],
      [instance("x", { ip_address: "10.0.0.300" }), "x: ip_address 10.0.0.300 is not an IP address"],
      [instance("x", { ip_address: "[::1]" }), "x: ip_address [::1] is not an IP address"],
      [instance("x", { ip_address: "0.0.0.0" }), "x: ip_address 0.0.0.0 is the unspecified address"],
      [instance("x", { ip_address: "::" }), "x: ip_address :: is the unspecified address"],
      [instance("x", { default_port: 65536 }), "x: default_port 65536 is not a whole number from 0 to 65535"],
      [instance("x", { default_port: -1 }), "x: default_port -1 is not a whole number from 0 to 65535"],
      [instance("x", { default_port: 80.5 }), "x: default_port 80.5 is not a whole number from 0 to 65535"],
      [instance("x", { default_port: "80" }), "x: default_port is not a number"],
      [instance("x", { state: "stopped" }), "x: its state is stopped, not running"],
      [instance("x", { state: "pending", ip_address: null }), "x: its state is pending, not running"],
      [instance("x", { state: "" }), "x: its state is empty, not running"],
      [instance("x", { state: 1 }), "x: state is not text"],
      [instance("x", { deleted_at: "2025-08-23T12:48:09Z" }), "x: it is deleted"],
      [instance("x\n", {}), "x\ufffd: id has characters that cannot be printed"],
      [instance("x".repeat(257), {}), `${"x".repeat(80)}…: id is longer than 256 characters`],
    ];
    for (const [entry, expected] of bad) {
      const answer = read([instance("a"), entry, instance("b")]);
      assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000", "b 10.0.0.1:3000"], expected);
      assert.deepStrictEqual(skipped(answer), [expected]);
    }
  });

  it("lets the same one of a duplicate id count, in whatever order they come", () => {
    const entries = [instance("a", { ip_address: "10.0.0.2" }), instance("a"), instance("b")];
    const expected = ["a 10.0.0.1:3000", "b 10.0.0.1:3000"];
    const answer = read(entries);
    assert.deepStrictEqual(instances(answer), expected);
    assert.deepStrictEqual(skipped(answer), [
      "a: its id is listed more than once; the one at 10.0.0.1:3000 counts",
    ]);
    FastCheck.assert(
      FastCheck.property(FastCheck.shuffledSubarray(entries, { minLength: 3 }), (shuffled) => {
        assert.deepStrictEqual(instances(read(shuffled)).sort(), expected);
      }),
    );
    // One that is no backend takes nobody's place.
    assert.deepStrictEqual(skipped(read([instance("a", { state: "stopped" }), instance("a")])), [
      "a: its state is stopped, not running",
    ]);
  });

  it("never breaks and never prints environment variables, whatever the list holds", () => {
    const field = FastCheck.oneof(
      FastCheck.jsonValue(),
      FastCheck.constantFrom("running", "10.0.0.1", "::1", 80, 0, null, undefined),
    );
    const entry = FastCheck.oneof(
      FastCheck.jsonValue(),
      FastCheck.record(
        { id: field, ip_address: field, default_port: field, state: field, deleted_at: field },
        { requiredKeys: [] },
      ).map((some) => ({ ...some, environment_variables: { KEY: secret } })),
    );
    FastCheck.assert(
      FastCheck.property(FastCheck.array(entry), (entries) => {
        const answer = read(entries);
        assert.strictEqual(answer.instances.length + answer.skipped.length, entries.length);
        assert.strictEqual(new Set(answer.instances.map(({ id }) => id)).size, answer.instances.length);
        for (const line of skipped(answer)) {
          assert.notInclude(line, secret);
          assert.notMatch(line, /[\p{Cc}\p{Zl}\p{Zp}]/u);
          assert.isBelow(line.length, 400);
        }
      }),
    );
  });

  it("does not name a hundred thousand bad entries one by one", () => {
    const answer = read([...Array.from({ length: 100_000 }, () => 0), instance("a")]);
    assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000"]);
    assert.isBelow(answer.skipped.length, 2000);
    assert.strictEqual(answer.skipped.at(-1)?.entry, "others");
  });
});

for (const [name, client] of clients) {
  describe(`OperatorDiscovery over ${name}`, () => {
    const run = (url: URL, options?: Partial<OperatorDiscovery.Options>) =>
      Effect.provide(ask(url, options), client);
    const failing = (url: URL, options?: Partial<OperatorDiscovery.Options>) =>
      Effect.flip(run(url, options));

    it.scopedLive("asks for running instances as the Operator expects it", () =>
      Effect.gen(function* () {
        const requests: Array<IncomingMessage> = [];
        const url = yield* serving((request, response) => {
          requests.push(request);
          json([instance("a")])(request, response);
        });
        const answer = yield* run(url, { token: Redacted.make(token) });
        assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000"]);
        const [request] = requests;
        assert.strictEqual(request?.method, "GET");
        assert.strictEqual(request?.url, "/api/v1/instances?state=running");
        assert.strictEqual(request?.headers.authorization, `Bearer ${token}`);
        assert.strictEqual(request?.headers.accept, "application/json");
      }),
    );

    it.scopedLive("keeps a path prefix, with or without a slash at its end", () =>
      Effect.gen(function* () {
        const paths: Array<string | undefined> = [];
        const url = yield* serving((request, response) => {
          paths.push(request.url);
          json(null)(request, response);
        });
        yield* run(new URL("/zone/a", url));
        yield* run(new URL("/zone/a/", url));
        const expected = "/zone/a/api/v1/instances?state=running";
        assert.deepStrictEqual(paths, [expected, expected]);
      }),
    );

    it.scopedLive("sends credentials of the URL, and shows them nowhere", () =>
      Effect.gen(function* () {
        const headers: Array<string | undefined> = [];
        const url = yield* serving((request, response) => {
          headers.push(request.headers.authorization);
          response.writeHead(500).end();
        });
        url.username = "user";
        url.password = "s3%40cret";
        const error = yield* failing(url);
        assert.deepStrictEqual(headers, [`Basic ${Buffer.from("user:s3@cret").toString("base64")}`]);
        assert.notMatch(error.message, /user|cret/);
        const source = yield* Effect.map(Discovery, (discovery) => discovery.source).pipe(
          Effect.provide(OperatorDiscovery.layer({ url, token: undefined, timeout: Duration.seconds(1) })),
          Effect.provide(client),
        );
        assert.notMatch(source, /user|cret/);
        assert.include(source, url.host);
      }),
    );

    it.scopedLive("tells of a refused connection", () =>
      Effect.gen(function* () {
        const url = new URL(`http://127.0.0.1:${yield* Ports.unused}`);
        const error = yield* failing(url);
        assert.strictEqual(error.reason, "unreachable");
        assert.strictEqual(
          error.message,
          `GET ${url.origin}/api/v1/instances?state=running: ` +
            `the connection was refused; is the Operator running there? (ECONNREFUSED)`,
        );
      }),
    );

    it.scopedLive("gives up at the deadline when there is no answer", () =>
      Effect.gen(function* () {
        const url = yield* serving(() => undefined);
        const error = yield* failing(url, { timeout: Duration.millis(100) });
        assert.strictEqual(error.reason, "timeout");
        assert.include(error.message, "no whole answer within 100ms");
      }),
    );

    it.scopedLive("gives up at the deadline when the answer does not end, and hangs up", () =>
      Effect.gen(function* () {
        let gone: Promise<void> = Promise.resolve();
        const url = yield* serving((_, response) => {
          gone = closed(response);
          response.write("[");
        });
        const error = yield* failing(url, { timeout: Duration.millis(200) });
        assert.strictEqual(error.reason, "timeout");
        yield* Effect.promise(() => gone);
      }),
    );

    it.scopedLive("takes no status but 2xx, and hangs up", () =>
      Effect.gen(function* () {
        for (const status of [400, 401, 404, 500, 503, 304]) {
          let gone: Promise<void> = Promise.resolve();
          const url = yield* serving((request, response) => {
            gone = closed(request.socket);
            response.writeHead(status, { "content-type": "application/json" });
            if (status === 304) response.end();
            else response.write(JSON.stringify([instance("a")]));
          });
          const error = yield* failing(url, { token: Redacted.make(token) });
          assert.strictEqual(error.reason, "status");
          assert.include(error.message, `it answered ${status} `);
          if (status !== 304) yield* Effect.promise(() => gone);
        }
      }),
    );

    it.scopedLive("does not follow a redirect, and keeps its token to itself", () =>
      Effect.gen(function* () {
        let led = 0;
        const other = yield* serving((request, response) => {
          led += 1;
          json([instance("a")])(request, response);
        });
        const url = yield* serving((_, response) => {
          response.writeHead(302, { location: other.href }).end();
        });
        const error = yield* failing(url, { token: Redacted.make(token) });
        assert.strictEqual(error.reason, "status");
        assert.include(error.message, "it answered 302 Found; redirects are not followed");
        assert.strictEqual(led, 0);
      }),
    );

    it.scopedLive("tells of a body that is cut off", () =>
      Effect.gen(function* () {
        const body = JSON.stringify([instance("a")]);
        const cut = (response: ServerResponse) => response.write(body, () => response.destroy());
        for (const headers of [{ "content-length": body.length + 10 }, {}]) {
          const url = yield* serving((_, response) => {
            response.writeHead(200, headers);
            cut(response);
          });
          const error = yield* failing(url);
          assert.strictEqual(error.reason, "unreachable");
          assert.include(error.message, "the connection was broken off");
        }
      }),
    );

    it.scopedLive("reads no more than 16 MiB of an endless answer", () =>
      Effect.gen(function* () {
        let gone: Promise<void> = Promise.resolve();
        let written = 0;
        const url = yield* serving((request, response) => {
          gone = closed(request.socket);
          const chunk = " ".repeat(64 * 1024);
          const more = () => {
            while (!response.destroyed && response.write(chunk)) written += chunk.length;
            if (!response.destroyed) written += chunk.length;
          };
          response.on("drain", more);
          more();
        });
        const error = yield* failing(url);
        assert.strictEqual(error.reason, "too-large");
        assert.include(error.message, "longer than 16 MiB");
        yield* Effect.promise(() => gone);
        // What it read, and what the sockets in between may have held.
        assert.isBelow(written, 2 * OperatorDiscovery.longestBody);
      }),
    );

    it.scopedLive("reads an answer of exactly 16 MiB, and none that is a byte longer", () =>
      Effect.gen(function* () {
        const body = JSON.stringify([instance("a")]);
        for (const extra of [0, 1]) {
          const url = yield* serving((_, response) => {
            response.write(" ".repeat(OperatorDiscovery.longestBody - body.length + extra));
            response.end(body);
          });
          const answer = yield* Effect.either(run(url));
          if (extra === 0) assert.lengthOf(Either.getOrThrow(answer).instances, 1);
          else assert.strictEqual(Either.getOrThrow(Either.flip(answer)).reason, "too-large");
        }
      }),
    );

    it.scopedLive("is not taken in by a content-length", () =>
      Effect.gen(function* () {
        const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        const tooLong = yield* answering((socket) =>
          socket.write(`${head}content-length: 99999999999\r\n\r\n[`),
        );
        assert.strictEqual((yield* failing(tooLong)).reason, "too-large");
        const tooShort = yield* answering((socket) => socket.end(`${head}content-length: 1\r\n\r\n[]`));
        assert.include(["malformed", "unreachable"], (yield* failing(tooShort)).reason);
      }),
    );

    it.scopedLive("tells of what is not HTTP", () =>
      Effect.gen(function* () {
        const url = yield* answering((socket) => socket.end("220 mail ESMTP\r\n"));
        const error = yield* failing(url);
        assert.strictEqual(error.reason, "unreachable");
        assert.include(error.message, "what answers does not speak HTTP");
      }),
    );

    it.scopedLive("tells of an answer that is not JSON, or JSON of another shape, without quoting it", () =>
      Effect.gen(function* () {
        const bodies: ReadonlyArray<readonly [string | Buffer, string]> = [
          [`<html>${secret}</html>`, "is not JSON (19 bytes, text/html)"],
          [`[{"environment_variables": "${secret}"`, "is not JSON"],
          ["", "is not JSON (0 bytes"],
          [Buffer.from([0x22, 0xff, 0x22]), "is not JSON"],
          [`{"environment_variables": "${secret}"}`, "is JSON, but neither a list nor null"],
          [`"${secret}"`, "is JSON, but neither a list nor null"],
        ];
        for (const [body, expected] of bodies) {
          const url = yield* serving((_, response) => {
            response.setHeader("content-type", "text/html");
            response.end(body);
          });
          const error = yield* failing(url);
          assert.strictEqual(error.reason, "malformed");
          assert.include(error.message, expected);
          assert.notInclude(error.message, secret);
        }
      }),
    );

    it.scopedLive("logs neither the token nor an environment variable, at any level", () =>
      Effect.gen(function* () {
        const log = yield* CapturedLog.make;
        const bad = instance("b", { ip_address: { environment_variables: secret }, default_port: [secret] });
        const url = yield* serving(
          json([
            instance("a"),
            bad,
            { ...bad, id: [secret] },
            instance("c", { default_port: secret }),
            instance("d", { state: [secret] }),
          ]),
        );
        const options = { token: Redacted.make(token) };
        const answer = yield* run(url, options).pipe(Effect.provide(log.layer));
        const down = new URL(`http://127.0.0.1:${yield* Ports.unused}`);
        const error = yield* failing(down, options).pipe(Effect.provide(log.layer));
        const all = [
          ...log.lines.map(({ text }) => text),
          ...skipped(answer),
          error.message,
          String(error),
          JSON.stringify(error),
        ];
        for (const line of all) assert.notMatch(line, new RegExp(`${token}|${secret}`));
        assert.lengthOf(answer.skipped, 4);
      }),
    );

    it.scopedLive("does not show a token that the client refuses to send", () =>
      Effect.gen(function* () {
        const url = yield* serving(json(null));
        const error = yield* failing(url, { token: Redacted.make(`${token}\nx`) });
        assert.strictEqual(error.reason, "unreachable");
        assert.notInclude(error.message, token);
      }),
    );
  });
}
