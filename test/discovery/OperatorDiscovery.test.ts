import { type EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import * as net from "node:net";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import { FetchHttpClient, type HttpClient } from "@effect/platform";
import { NodeHttpClient } from "@effect/platform-node";
import { assert, describe, it } from "@effect/vitest";
import { Config, ConfigProvider, Duration, Effect, Either, Exit, Fiber, type Layer, Redacted } from "effect";
import { type Answer, Discovery } from "../../src/discovery/Discovery.js";
import * as OperatorDiscovery from "../../src/discovery/OperatorDiscovery.js";
import { format } from "../../src/net/SocketAddress.js";
import * as CapturedLog from "../support/CapturedLog.js";
import * as LoopTurns from "../support/LoopTurns.js";
import { instance, secret } from "../support/OperatorEntry.js";
import * as Ports from "../support/Ports.js";
import * as SingleSteps from "../support/SingleSteps.js";

const codeOf = (cause: unknown): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;

const token = "t0ken";

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

for (const [name, client] of clients) {
  describe(`OperatorDiscovery over ${name}`, () => {
    const run = (url: URL, options?: Partial<OperatorDiscovery.Options>) =>
      Effect.provide(ask(url, options), client);
    const failing = (url: URL, options?: Partial<OperatorDiscovery.Options>) =>
      Effect.flatMap(Effect.flip(run(url, options)), (error) =>
        error._tag === "DiscoveryError" ? Effect.succeed(error) : Effect.die(error),
      );

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

    it.scopedLive("gives no advice about redirects where an answer is none", () =>
      Effect.gen(function* () {
        const url = yield* serving((_, response) => {
          response.writeHead(304).end();
        });
        const error = yield* failing(url);
        assert.strictEqual(error.reason, "status");
        assert.match(error.message, /it answered 304 Not Modified$/);
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
        assert.isBelow(written, 2 * OperatorDiscovery.limits.bytes);
      }),
    );

    it.scopedLive("reads an answer of exactly 16 MiB, and none that is a byte longer", () =>
      Effect.gen(function* () {
        const body = JSON.stringify([instance("a")]);
        for (const extra of [0, 1]) {
          const url = yield* serving((_, response) => {
            response.write(" ".repeat(OperatorDiscovery.limits.bytes - body.length + extra));
            response.end(body);
          });
          const answer = yield* Effect.either(run(url));
          if (extra === 0) assert.lengthOf(Either.getOrThrow(answer).instances, 1);
          else assert.propertyVal(Either.getOrThrow(Either.flip(answer)), "reason", "too-large");
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
          [`<html>${secret}</html>`, "is not JSON (19 bytes read, text/html)"],
          [`[{"environment_variables": "${secret}"`, "is not JSON"],
          ["", "is not JSON (0 bytes read"],
          [Buffer.from([0x22, 0xff, 0x22]), "is not JSON"],
          [`{"environment_variables": "${secret}"}`, "is neither a JSON list nor null"],
          [`"${secret}"`, "is neither a JSON list nor null"],
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
  });
}

describe("OperatorDiscovery and a hostile Operator", () => {
  const run = (url: URL, options?: Partial<OperatorDiscovery.Options>) =>
    Effect.provide(ask(url, options), NodeHttpClient.layer);

  const body =
    (text: string | Buffer, headers: Readonly<Record<string, string>> = {}): RequestListener =>
    (_, response) => {
      response.writeHead(200, headers).end(text);
    };

  /** What became of an answer: the ids that it lists, or why it is refused. */
  const outcome = (text: string | Buffer, headers?: Readonly<Record<string, string>>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const answer = yield* Effect.either(run(yield* serving(body(text, headers))));
        if (Either.isRight(answer)) return answer.right.instances.map(({ id }) => id).join("");
        return answer.left._tag === "DiscoveryError" ? answer.left : yield* Effect.die(answer.left);
      }),
    );

  it.live("lists 100,000 entries, and fails on one more", () =>
    Effect.gen(function* () {
      const entry = JSON.stringify({ ip_address: "10.0.0.1" });
      const list = (entries: number) =>
        `[${`${entry},`.repeat(entries - 1)}${JSON.stringify(instance("a"))}]`;
      assert.strictEqual(yield* outcome(list(100_000)), "a");
      const error = yield* outcome(list(100_001));
      assert.deepInclude(error, { reason: "too-large" });
      assert.include(String(error), "more than 100000 entries");
    }),
  );

  it.live("takes an entry that is nested 100 deep, and fails on one that is deeper", () =>
    Effect.gen(function* () {
      // The list and the entry are two of them.
      const deep = (depth: number) =>
        JSON.stringify([instance("a", { resources: 0 })]).replace(
          '"resources":0',
          `"resources":${"[".repeat(depth - 2)}${"]".repeat(depth - 2)}`,
        );
      assert.strictEqual(yield* outcome(deep(100)), "a");
      const error = yield* outcome(deep(101));
      assert.deepInclude(error, { reason: "too-large" });
      assert.include(String(error), "nested deeper than 100");
      // What would overflow a recursive parser's stack.
      assert.deepInclude(yield* outcome("[".repeat(15_000_000)), { reason: "too-large" });
      assert.deepInclude(yield* outcome('{"a":'.repeat(3_000_000)), { reason: "malformed" });
    }),
  );

  it.live("leaves out an entry longer than 128 KiB, and takes the others", () =>
    Effect.gen(function* () {
      const huge = instance("b", { environment_variables: "x".repeat(1_000_000) });
      const url = yield* serving(json([instance("a"), huge, instance("c")]));
      const answer = yield* run(url);
      assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000", "c 10.0.0.1:3000"]);
      assert.deepStrictEqual(skipped(answer), ["number 2 in the list: it is longer than 128 KiB"]);
    }).pipe(Effect.scoped),
  );

  it.live("turns the event loop while it reads a long list", () =>
    Effect.gen(function* () {
      // Nothing but slices lets the loop turn: the whole body is there before it is read.
      const text = `[${"{},".repeat(99_999)}{}]`;
      const url = yield* serving(body(text));
      const turns = yield* LoopTurns.counted;
      const fiber = yield* Effect.fork(run(url));
      const answer = yield* Fiber.join(fiber);
      assert.lengthOf(answer.instances, 0);
      // A step has 64 entries at most.
      assert.isAtLeast(turns(), 100_000 / 64);
    }).pipe(Effect.scoped, SingleSteps.inEachTurn),
  );

  it.live("reads a list that begins with a byte order mark, and one that comes a byte at a time", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* outcome(`\ufeff${JSON.stringify([instance("a")])}`), "a");
      const url = yield* serving((_, response) => {
        response.writeHead(200);
        for (const character of JSON.stringify([instance("a"), instance("b")])) response.write(character);
        response.end();
      });
      assert.strictEqual((yield* run(url)).instances.map(({ id }) => id).join(""), "ab");
    }).pipe(Effect.scoped),
  );

  it.live("does not unpack what nobody asked to be packed, and says so", () =>
    Effect.gen(function* () {
      const error = yield* outcome(gzipSync(JSON.stringify([instance("a")])), { "content-encoding": "gzip" });
      assert.deepInclude(error, { reason: "malformed" });
      assert.include(String(error), "content-encoding gzip");
    }),
  );

  it.live("reads no more than 16 MiB of what a client unpacks", () =>
    Effect.gen(function* () {
      const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, " "));
      const url = yield* serving(body(bomb, { "content-encoding": "gzip" }));
      const error = yield* Effect.flip(Effect.provide(ask(url), FetchHttpClient.layer));
      assert.propertyVal(error, "reason", "too-large");
    }).pipe(Effect.scoped),
  );

  it.live("is not led astray by prototypes, numbers beyond bounds and other oddities of JSON", () =>
    Effect.gen(function* () {
      const odd = [
        '{"__proto__":{"id":"p","ip_address":"10.0.0.1"}}',
        '{"id":"n","ip_address":"10.0.0.1","default_port":1e400}',
        '{"id":"m","ip_address":"10.0.0.1","default_port":-0}',
        '{"id":"d","id":"e","ip_address":"10.0.0.1"}',
        '{"id":"\\u0000","ip_address":"10.0.0.1"}',
        '{"id":"\\ud800","ip_address":"10.0.0.1"}',
        '{"id":"c","ip_address":"10.0.0.1","constructor":null,"toString":1}',
      ];
      assert.strictEqual(yield* outcome(`[${odd.join(",")}]`), "mec");
    }),
  );

  it.live("does not count a stall of this process as the Operator's slowness", () =>
    Effect.gen(function* () {
      const url = yield* serving((request, response) => {
        // This process stands still for longer than the timeout, the test's server with it.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
        setTimeout(() => json([instance("a")])(request, response), 10);
      });
      const answer = yield* run(url, { timeout: Duration.seconds(1) });
      assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000"]);
    }).pipe(Effect.scoped),
  );
});

describe("OperatorDiscovery's options", () => {
  const built = (options: OperatorDiscovery.Options) =>
    Effect.flip(OperatorDiscovery.make(options)).pipe(Effect.provide(NodeHttpClient.layer));

  it.effect("are checked where it is built", () =>
    Effect.gen(function* () {
      for (const [options, option] of [
        [{ url: new URL("ftp://user:s3cret@operator") }, "url"],
        [{ token: Redacted.make("") }, "token"],
        [{ token: Redacted.make(`${token}\nx`) }, "token"],
        [{ timeout: Duration.infinity }, "timeout"],
        [{ timeout: "25 days" }, "timeout"],
        [{ timeout: 0 }, "timeout"],
      ] as const) {
        const error = yield* built(options);
        assert.strictEqual(error.option, option);
        assert.notMatch(String(error), new RegExp(`${token}|${secret}`));
      }
    }),
  );

  it.effect("have defaults, and are read from a ConfigProvider", () =>
    Effect.gen(function* () {
      const source = (layer: Layer.Layer<Discovery, unknown, HttpClient.HttpClient>) =>
        Effect.map(Discovery, (discovery) => discovery.source).pipe(
          Effect.provide(layer),
          Effect.provide(NodeHttpClient.layer),
        );
      assert.strictEqual(
        yield* source(OperatorDiscovery.layer()),
        "http://localhost:8080/api/v1/instances?state=running",
      );
      const configured = OperatorDiscovery.layerConfig({
        url: Config.url("OPERATOR"),
        timeout: Config.duration("WAIT"),
      });
      const read = (values: ReadonlyArray<readonly [string, string]>) =>
        Effect.withConfigProvider(source(configured), ConfigProvider.fromMap(new Map(values)));
      assert.strictEqual(
        yield* read([
          ["OPERATOR", "http://x:1/y"],
          ["WAIT", "1 second"],
        ]),
        "http://x:1/y/api/v1/instances?state=running",
      );
      assert.isTrue(Exit.isFailure(yield* Effect.exit(read([["OPERATOR", "http://x:1"]]))));
    }),
  );

  it.live("lead to errors that carry the system's error, and nothing of a token", () =>
    Effect.gen(function* () {
      const url = new URL(`http://127.0.0.1:${yield* Ports.unused}`);
      for (const [, client] of clients) {
        const error = yield* Effect.flip(Effect.provide(ask(url, { token: Redacted.make(token) }), client));
        assert.propertyVal(error, "_tag", "DiscoveryError");
        assert.strictEqual("cause" in error && codeOf(error.cause), "ECONNREFUSED");
        assert.notInclude(inspect(error, { depth: 10, showHidden: true }), token);
      }
    }),
  );
});
