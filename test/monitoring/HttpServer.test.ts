import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { connect, type Socket } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Exit, Logger } from "effect";
import * as HttpServer from "../../src/monitoring/HttpServer.js";
import { dial } from "../support/Sockets.js";

const limits = { kept: 8, most: 16 };

/** More than the kernel holds for a client that does not read. */
const much = Buffer.alloc(64 * 1024 * 1024);

/** Answers shortly, with a byte every now and then without end, or with much at once. */
const handler: RequestListener = (request, response) => {
  if (request.url === "/much") response.end(much);
  else if (request.url === "/endless") {
    response.write(".");
    const timer = setInterval(() => response.write("."), 20);
    response.once("close", () => clearInterval(timer));
  } else response.end("short");
};

/** The port of a server with few places. */
const start = Effect.map(
  HttpServer.make({ host: "127.0.0.1", port: 0, limits }, handler, Effect.void),
  ({ port }) => port,
).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)));

/** Asks on a connection of its own. */
const answered = (port: number) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/short`, { headers: { connection: "close" } });
    assert.strictEqual(await answer.text(), "short");
  });

/** A client that has got the first bytes of its answer. */
const client = (port: number, path: string) =>
  Effect.gen(function* () {
    const socket = yield* dial(port);
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
    yield* Effect.promise(() => once(socket, "readable"));
    return socket;
  });

const reader = (port: number) => Effect.map(client(port, "/endless"), (socket) => socket.resume());

const hears = (socket: Socket) => Effect.promise(() => once(socket, "data"));

const closed = (socket: Socket) =>
  Effect.promise(async () => {
    if (socket.readableEnded || socket.destroyed) return;
    await new Promise((resolve) => socket.once("end", resolve).once("close", resolve).resume());
  });

describe("the server of monitoring, when its places run out", () => {
  it.scopedLive.skipIf(process.platform !== "linux")("lets a burst wait that it has not accepted yet", () =>
    Effect.gen(function* () {
      const port = yield* start;
      const sockets = Array.from({ length: 600 }, () => connect({ host: "127.0.0.1", port }));
      for (const socket of sockets) socket.on("error", () => {});
      // They are connected to in this turn, in which nobody accepts; the kernel has answered those that may wait.
      yield* Effect.promise(() => new Promise<void>((resolve) => process.nextTick(resolve)));
      const there = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
      const states = readFileSync("/proc/net/tcp", "utf8")
        .split("\n")
        .map((line) => line.trim().split(/\s+/))
        .filter(([, , remote]) => remote === there)
        .map(([, , , state]) => state);
      for (const socket of sockets) socket.destroy();
      assert.isAtLeast(states.length, sockets.length);
      assert.notInclude(states, "02", "still waiting for an answer to its SYN");
    }),
  );

  it.scopedLive("answers among 2,000 half-sent requests, and leaves those who read their answers alone", () =>
    Effect.gen(function* () {
      const port = yield* start;
      const readers = yield* Effect.forEach(Array.from({ length: limits.kept - 1 }), () => reader(port));
      for (let n = 0; n < 2_000; n++) {
        const socket = yield* dial(port);
        socket.write("GET /short HTTP/1.1\r\nhost:");
        if (n % 200 === 0) yield* answered(port);
      }
      yield* answered(port);
      yield* Effect.forEach(readers, hears, { concurrency: "unbounded" });
    }),
  );

  it.scopedLive("answers among 600 endless answers, and goes on with the newest of them", () =>
    Effect.gen(function* () {
      const port = yield* start;
      const readers = yield* Effect.forEach(Array.from({ length: 600 }), () => reader(port));
      for (let n = 0; n < 20; n++) yield* answered(port);
      yield* Effect.forEach(readers.slice(-limits.kept), hears, { concurrency: "unbounded" });
      yield* Effect.forEach(readers.slice(0, -limits.kept), closed, { concurrency: "unbounded" });
    }),
  );

  it.scopedLive("closes those that do not read their answers before older ones that do", () =>
    Effect.gen(function* () {
      const port = yield* start;
      const first = yield* reader(port);
      const others = yield* Effect.forEach(Array.from({ length: limits.kept - 1 }), () =>
        client(port, "/much"),
      );
      const newest = yield* Effect.forEach(others, () => reader(port));
      yield* Effect.forEach(others, closed, { concurrency: "unbounded" });
      yield* Effect.forEach([first, ...newest], hears, { concurrency: "unbounded" });
    }),
  );
});

describe("requests that are sent without waiting for answers", () => {
  const asked = (paths: ReadonlyArray<string>) =>
    paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join("");

  /** A server that tells which answers it has begun. */
  const recording = Effect.gen(function* () {
    const begun: Array<string> = [];
    const over = yield* Deferred.make<void>();
    const { port } = yield* HttpServer.make(
      { host: "127.0.0.1", port: 0, limits },
      (request, response) => {
        begun.push(request.url ?? "");
        response.once("close", () => Deferred.unsafeDone(over, Exit.void));
        if (request.url === "/endless") response.write(".");
        else response.end(`${request.url}\n`);
      },
      Effect.void,
    );
    return { port, begun, over: Deferred.await(over) };
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)));

  it.scopedLive("are answered one after the other, in their order", () =>
    Effect.gen(function* () {
      const { begun, port } = yield* recording;
      const paths = [
        "/first",
        ...Array.from({ length: 10 }, (_, n) => `/${n}`),
        "/health",
        "/endless",
        "/never",
      ];
      const socket = yield* dial(port);
      socket.write(asked(paths));
      let text = "";
      yield* Effect.promise(async () => {
        for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
          text += String(chunk);
          if (text.endsWith("1\r\n.\r\n")) return;
        }
      });
      assert.deepStrictEqual(begun, paths.slice(0, -1));
      assert.deepStrictEqual(text.match(/^\/\w+/gm), paths.slice(0, -2));
    }),
  );

  it.scopedLive("cost no answer behind one without end, and are forgotten with their client", () =>
    Effect.gen(function* () {
      const { begun, over, port } = yield* recording;
      const socket = yield* dial(port);
      socket.write(asked(Array.from({ length: 10 }, () => "/endless")));
      yield* Effect.promise(() => once(socket, "readable"));
      assert.deepStrictEqual(begun, ["/endless"]);
      socket.destroy();
      yield* over;
      assert.deepStrictEqual(begun, ["/endless"]);
    }),
  );

  it.scopedLive("have nothing written into an answer that is under way, also by one that is malformed", () =>
    Effect.gen(function* () {
      const { port } = yield* recording;
      const socket = yield* dial(port);
      let text = "";
      socket.on("data", (chunk) => {
        text += String(chunk);
      });
      socket.write(asked(["/first", "/endless"]));
      yield* Effect.promise(async () => {
        while (!text.endsWith("1\r\n.\r\n")) await once(socket, "data");
      });
      const before = text;
      socket.write("no request\r\n\r\n");
      yield* closed(socket);
      assert.strictEqual(text, before);
    }),
  );

  it.scopedLive("close the connection when they are hundreds", () =>
    Effect.gen(function* () {
      const { begun, port } = yield* recording;
      const socket = yield* dial(port);
      socket.write(asked(Array.from({ length: 500 }, () => "/endless")));
      yield* closed(socket);
      assert.isAtMost(begun.length, 1);
    }),
  );
});

describe("the body of a request", () => {
  /** A server whose handler reads the bodies of requests to /body, and tells how many bytes each had. */
  const reading = Effect.map(
    HttpServer.make(
      { host: "127.0.0.1", port: 0, limits },
      (request, response) => {
        let text = "";
        if (request.url === "/endless") handler(request, response);
        else if (request.url !== "/body") response.end(`none of ${request.url}\n`);
        else
          request
            .setEncoding("utf8")
            .on("data", (chunk: string) => {
              text += chunk;
            })
            .once("end", () => response.end(`${text.length} of ${text.slice(0, 3)}\n`));
      },
      Effect.void,
      ({ url }) => url === "/body",
    ),
    ({ port }) => port,
  ).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)));

  const head = (path: string, header: string) => `POST ${path} HTTP/1.1\r\nhost: x\r\n${header}\r\n\r\n`;
  const whole = (path: string, body: string) => head(path, `content-length: ${body.length}`) + body;
  const chunks = (path: string, ...parts: ReadonlyArray<string>) =>
    head(path, "transfer-encoding: chunked") +
    [...parts, ""].map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join("");
  const last = "GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

  /** Sends these pieces, each in a packet of its own, and answers what came back: statuses and texts. */
  const sent = (port: number, ...pieces: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const socket = yield* dial(port);
      socket.setNoDelay(true);
      let text = "";
      socket.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      const end = closed(socket);
      for (const piece of pieces) {
        yield* Effect.promise(() => new Promise((resolve) => socket.write(piece, resolve)));
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
      }
      yield* end;
      return (text.match(/^HTTP\/1\.1 \d+|^(?:none|\d+) of .*|"error":.*$/gm) ?? []).map((line) =>
        line.replace("HTTP/1.1 ", ""),
      );
    });

  const most = "y".repeat(HttpServer.largestBody);

  it.scopedLive("is there for the handler that has a use for it, however it comes", () =>
    Effect.gen(function* () {
      const port = yield* reading;
      const answers = ["200", "7 of abc", "200", "none of /last"];
      for (const request of [whole("/body", "abcdefg"), chunks("/body", "a", "bcdef", "g")]) {
        assert.deepStrictEqual(yield* sent(port, request + last), answers);
        assert.deepStrictEqual(yield* sent(port, ...request, last), answers, "torn");
      }
      const many = ["200", `${most.length} of yyy`, "200", "none of /last"];
      assert.deepStrictEqual(yield* sent(port, whole("/body", most) + last), many);
      const parts = [most.slice(0, 9_000), most.slice(9_000)];
      assert.deepStrictEqual(yield* sent(port, chunks("/body", ...parts) + last), many);
      // The end of the chunks, alone.
      const chunked = chunks("/body", most);
      assert.deepStrictEqual(yield* sent(port, chunked.slice(0, -5), chunked.slice(-5), last), many);
    }),
  );

  it.scopedLive("is each request's own, where many are sent without waiting for answers", () =>
    Effect.gen(function* () {
      const port = yield* reading;
      const requests = [
        whole("/body", "one"),
        chunks("/body", "th", "ree"),
        whole("/other", "forgotten"),
        chunks("/other", "forgotten"),
        whole("/body", "fours"),
        last,
      ];
      const answers = [
        "3 of one",
        "5 of thr",
        "none of /other",
        "none of /other",
        "5 of fou",
        "none of /last",
      ];
      const expected = answers.flatMap((answer) => ["200", answer]);
      assert.deepStrictEqual(yield* sent(port, requests.join("")), expected);
      assert.deepStrictEqual(yield* sent(port, ...requests), expected);
    }),
  );

  it.scopedLive("is refused where it is too large or empty, and never reaches the handler", () =>
    Effect.gen(function* () {
      const port = yield* reading;
      const refused = ["413", '"error":"the request is too large"}'];
      for (const path of ["/body", "/other"]) {
        assert.deepStrictEqual(yield* sent(port, whole(path, `${most}z`)), refused);
        assert.deepStrictEqual(yield* sent(port, chunks(path, most, "z")), refused);
      }
      assert.deepStrictEqual(yield* sent(port, chunks("/body")), [
        "400",
        '"error":"the body of the request is empty"}',
      ]);
    }),
  );

  it.scopedLive("takes no place of those who are answered while it is awaited", () =>
    Effect.gen(function* () {
      const port = yield* reading;
      const readers = yield* Effect.forEach(Array.from({ length: limits.kept - 1 }), () => reader(port));
      for (let n = 0; n < 50; n++) {
        const socket = yield* dial(port);
        socket.write(whole("/body", "abc").slice(0, -1));
      }
      assert.deepStrictEqual(yield* sent(port, whole("/body", "abc") + last), [
        "200",
        "3 of abc",
        "200",
        "none of /last",
      ]);
      yield* Effect.forEach(readers, hears, { concurrency: "unbounded" });
    }),
  );
});
