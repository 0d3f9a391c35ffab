import { createServer } from "node:net";
import { Effect, Either } from "effect";
import { describe, expect, it } from "vitest";
import { answerLength, due, steady, turnOf } from "../bench/Client.js";
import { parse } from "../bench/Load.js";
import { parseLimits, parseVersion } from "../bench/Machine.js";
import { smallBytes } from "../bench/Origin.js";
import { logged } from "../bench/Peer.js";

describe("what the tools print", () => {
  it("reads wrk's outcome, in seconds and milliseconds", () => {
    const output =
      'Running 1s test\n  2 threads\noutcome: {"requests":10,"bytes":4096,"micros":2000000,"errors":1,"p50":500,"p99":1500,"p999":2500}\n';
    expect(parse(output)).toEqual(
      Either.right({ requests: 10, bytes: 4096, seconds: 2, errors: 1, p50: 0.5, p99: 1.5, p999: 2.5 }),
    );
  });

  it("says so where there is none, or half of one", () => {
    expect(Either.isLeft(parse("unable to connect"))).toBe(true);
    expect(Either.isLeft(parse('outcome: {"requests":10}'))).toBe(true);
  });

  it("finds versions and limits", () => {
    expect(parseVersion("HAProxy version 2.6.12-1+deb12u4 2026/10/17")).toBe("2.6.12-1+deb12u4");
    expect(parseVersion("nginx version: nginx/1.22.1\n")).toBe("1.22.1");
    expect(parseVersion("")).toBe("not installed");
    expect(parseLimits("Max processes 1 2 processes\nMax open files    1024   524288   files\n")).toBe(
      "1024 / 524288",
    );
  });

  it("finds a line of the log by its message", () => {
    const log =
      'not JSON\n{"message":"settings"}\n{"message":"listening","annotations":{"transport":"node"}}\n';
    expect(logged(log, "listening")).toEqual({ transport: "node" });
    expect(logged(log, "draining")).toBeUndefined();
  });
});

describe("the steady rate", () => {
  it("is due by the clock, not by the answers", () => {
    expect([0, 1, 250].map((index) => due(500, index))).toEqual([0, 2, 500]);
  });

  it("lets each port have so many requests in turn", () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((index) => turnOf(index, 2, 3))).toEqual([0, 0, 1, 1, 2, 2, 0, 0]);
  });

  it("gives the latencies of each port by itself", async () => {
    const answer = `HTTP/1.1 200 OK\r\n\r\n${"x".repeat(smallBytes)}`;
    const counts = { a: 0, b: 0 };
    const serving = (name: keyof typeof counts) =>
      Effect.acquireRelease(
        Effect.async<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((socket) => {
            socket.on("error", () => undefined);
            socket.on("data", (requests) => {
              for (const _ of requests.toString().matchAll(/GET/g)) {
                counts[name] += 1;
                socket.write(answer);
              }
            });
          }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)));
        }),
        (server) => Effect.sync(() => server.close()),
      );
    const latencies = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const servers = [yield* serving("a"), yield* serving("b")];
          const ports = servers.map((server) => Number(Object(server.address()).port));
          return yield* steady(ports, { rate: 200, connections: 4, seconds: 0.2, inTurn: 10 });
        }),
      ),
    );
    expect(latencies.map(({ length }) => length)).toEqual([40, 40]);
    for (const each of latencies.flat()) expect(each).toBeGreaterThan(0);
    // One for each connection when it is opened.
    expect(counts).toEqual({ a: 44, b: 44 });
  });

  it("knows how long an answer is once its head is there", () => {
    expect(answerLength(Buffer.from("HTTP/1.1 200 OK\r\nA: b\r\n"))).toBeUndefined();
    expect(answerLength(Buffer.from("HTTP/1.1 200 OK\r\n\r\nxx"))).toBe(19 + smallBytes);
  });
});
