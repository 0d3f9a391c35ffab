/**
 * Who may come, and who is named to whom: the built program behind HAProxy, and in front of HAProxy and nginx, which
 * speak the PROXY protocol as they do.
 */
import { writeFileSync } from "node:fs";
import { get } from "node:http";
import { connect, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { assert, describe, it } from "@effect/vitest";
import { Effect, type Scope } from "effect";
import { exchange, listOf, named } from "../support/Backends.js";
import * as Ports from "../support/Ports.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";

const servers = { haproxy: "haproxy", nginx: "nginx" };

const skippable = (why: string | undefined, title: string, body: Effect.Effect<void, never, Scope.Scope>) =>
  why === undefined ? it.scopedLive(title, () => body) : it.skip(`${title} (${why})`, () => {});

const loopbacks = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
/** Of the clients that HAProxy names: where they connect to, and from. */
const families: ReadonlyArray<{ readonly host: string; readonly from: string }> = [
  { host: "127.0.0.1", from: "127.0.0.7" },
  ...(loopbacks.some(({ address }) => address === "::1") ? [{ host: "::1", from: "::1" }] : []),
];

/** As HAProxy, nginx and this program write an address in their settings and logs. */
const pair = (host: string, port: number) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);

const haproxy = (port: number, ...sections: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const file = join(yield* Real.folder, "haproxy.cfg");
    const head = [
      ...["global", "  maxconn 100", "defaults", "  retries 0"],
      ...["connect", "client", "server"].map((what) => `  timeout ${what} 100s`),
    ];
    writeFileSync(file, [...head, ...sections, ""].join("\n"));
    yield* Real.serving("haproxy", ["-db", "-f", file], port);
  });

/** The address that the HAProxy in front comes from. */
const front = "127.0.0.2";

/** HAProxy in front of a port: two ports of its own, by the version of the header that it sends. */
const haproxyInFront = (port: number) =>
  Effect.gen(function* () {
    const ports = { v1: yield* Ports.unused, v2: yield* Ports.unused };
    const ready = yield* Ports.unused;
    const listen = (version: "v1" | "v2", option: string) => [
      `listen ${version}`,
      "  mode tcp",
      ...families.map(({ host }) => `  bind ${pair(host, ports[version])}`),
      `  server balancer 127.0.0.1:${port} source ${front} ${option}`,
    ];
    yield* haproxy(
      ready,
      ...listen("v1", "send-proxy"),
      ...listen("v2", "send-proxy-v2"),
      // Whether it has started is asked here, where it makes no connection to the program.
      ...["frontend ready", "  mode tcp", `  bind 127.0.0.1:${ready}`, "  tcp-request connection reject"],
    );
    return ports;
  });

/** HAProxy that expects a header, and answers who it was told that the client is, and where that connected to. */
const haproxyBehind = Effect.gen(function* () {
  const port = yield* Ports.unused;
  yield* haproxy(
    port,
    ...["listen backend", "  mode http", `  bind 127.0.0.1:${port} accept-proxy`],
    '  http-request return status 200 content-type text/plain lf-string "haproxy: %[src] %[src_port] to %[dst] %[dst_port]"',
  );
  return { port };
});

/** The same of nginx. */
const nginxBehind = Effect.gen(function* () {
  const data = yield* Real.folder;
  const port = yield* Ports.unused;
  const told = ["addr", "port", "server_addr", "server_port"].map((what) => `$proxy_protocol_${what}`);
  writeFileSync(
    join(data, "nginx.conf"),
    [
      `pid ${data}/pid;`,
      "daemon off;",
      `error_log ${data}/error.log;`,
      "events {}",
      "http {",
      "  access_log off;",
      ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
        (what) => `  ${what}_temp_path ${data}/${what};`,
      ),
      "  server {",
      `    listen 127.0.0.1:${port} proxy_protocol;`,
      `    return 200 "nginx: ${told[0]} ${told[1]} to ${told[2]} ${told[3]}";`,
      "  }",
      "}",
    ].join("\n"),
  );
  yield* Real.serving(
    "nginx",
    ["-p", data, "-c", join(data, "nginx.conf"), "-e", join(data, "start.log")],
    port,
  );
  return { port };
});

/** One request by a connection of its own: from which port, and what was answered. */
const request = (host: string, port: number, localAddress: string) =>
  Effect.promise(
    () =>
      new Promise<{ readonly from: number; readonly text: string }>((resolve, reject) => {
        let from = 0;
        get({ host, port, localAddress, agent: false }, (answer) => {
          let text = "";
          answer.setEncoding("utf8").on("data", (chunk: string) => {
            text += chunk;
          });
          answer.on("end", () => resolve({ from, text }));
          answer.on("error", reject);
        })
          .on("socket", (socket) => {
            socket.once("connect", () => {
              from = socket.localPort ?? 0;
            });
          })
          .on("error", reject);
      }),
  );

/** A client that says hello: whether it is answered, or how its connection ends instead. It stays for the scope. */
const come = (port: number, localAddress: string) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly socket: Socket; readonly outcome: "answered" | "fin" | "reset" }>(
          (resolve, reject) => {
            const socket = connect({ host: "127.0.0.1", port, localAddress });
            socket.once("connect", () => socket.write("hello"));
            socket.once("data", () => resolve({ socket, outcome: "answered" }));
            socket.once("end", () => resolve({ socket, outcome: "fin" }));
            socket.on("error", (error: NodeJS.ErrnoException) => {
              if (error.code === "ECONNREFUSED") reject(error);
              else resolve({ socket, outcome: "reset" });
            });
          },
        ),
    ),
    ({ socket }) => Effect.sync(() => socket.destroy()),
  );

/** Connections that were refused, by reason, where there were any. */
const refusals = ({ healthPort }: Program.Program) =>
  Effect.promise(async () => {
    const text = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
    const counters = [...text.matchAll(/^lb_connections_refused_total\{reason="(.*)"\} (\d+)$/gm)];
    return Object.fromEntries(
      counters
        .map(([, reason, count]) => [String(reason), Number(count)] as const)
        .filter(([, count]) => count > 0),
    );
  });

/** Waits until the backends have so many connections in all. */
const untilOpen = (program: Program.Program, count: number) =>
  Program.untilTrue(
    Effect.map(
      program.backends,
      (list) => list.reduce((sum, { connections }) => sum + connections, 0) === count,
    ),
  );

for (const [name, transport, threads] of Program.transportsAndThreads) {
  describe(`the PROXY protocol on ${name}`, () => {
    for (const version of ["v1", "v2"] as const) {
      skippable(
        Real.missing(servers),
        `nginx and HAProxy are told by ${version} who the client is of HAProxy in front`,
        Effect.gen(function* () {
          const program = yield* Program.start(transport, {
            ...threads,
            BACKENDS: listOf(yield* nginxBehind, yield* haproxyBehind),
            PROXY_PROTOCOL_FROM: front,
            PROXY_PROTOCOL_TO: version,
            ACCESS_LOG: "all",
          });
          yield* program.healthy(2);
          const ports = yield* haproxyInFront(program.port);
          const ways = [
            ...families.flatMap((family) => [
              { ...family, port: ports.v1 },
              { ...family, port: ports.v2 },
            ]),
            // Who comes without HAProxy speaks for himself.
            { host: "127.0.0.1", from: "127.0.0.7", port: program.port },
          ];
          for (const { from, host, port } of ways) {
            const servers: Array<string> = [];
            for (let n = 0; n < 4; n++) {
              const answer = yield* request(host, port, from);
              const [server, told] = answer.text.split(": ");
              servers.push(String(server));
              assert.strictEqual(told, `${from} ${answer.from} to ${host} ${port}`);
              const line = yield* program.awaitLogged("connection", { client: pair(from, answer.from) });
              assert.notStrictEqual(line.annotations["backend"], null);
            }
            assert.deepStrictEqual(servers.sort(), ["haproxy", "haproxy", "nginx", "nginx"]);
          }
          assert.deepStrictEqual(yield* refusals(program), {});
        }),
      );
    }

    it.scopedLive("resets who has to name a client and does not, and says so", () =>
      Effect.gen(function* () {
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: listOf(yield* named("a")),
          PROXY_PROTOCOL_FROM: "127.0.0.1",
          PROXY_PROTOCOL_TIMEOUT: "300ms",
        });
        yield* program.healthy(1);
        for (const text of ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", undefined]) {
          const { bytes, end } = yield* exchange(program.port, text);
          assert.deepStrictEqual([bytes.length, end], [0, "reset"]);
        }
        yield* Program.untilTrue(Effect.sync(() => program.logged("connection").length === 2));
        for (const { annotations } of program.logged("connection")) {
          assert.deepInclude(annotations, { code: "proxy-header/choosing", backend: null });
        }
        assert.deepStrictEqual(yield* refusals(program), { "proxy-header": 2 });
        const [refused] = program.logged("connection refused");
        assert.include(String(refused?.annotations["why"]), "PROXY header");
      }),
    );
  });

  for (const behind of [false, true]) {
    describe(`who may come ${behind ? "through HAProxy " : ""}on ${name}`, () => {
      skippable(
        behind ? Real.missing({ haproxy: "haproxy" }) : undefined,
        "are clients that no file denies, within the limits for each of them",
        Effect.gen(function* () {
          const denied = join(yield* Real.folder, "denied");
          writeFileSync(denied, "# Who is denied\n127.0.0.64/30 # four\n\n2001:db8::/32\n");
          const program = yield* Program.start(transport, {
            ...threads,
            ...(behind ? { PROXY_PROTOCOL_FROM: front } : {}),
            BACKENDS: listOf(yield* named("a")),
            DENY_CLIENTS: `@${denied}`,
            MAX_CONNECTIONS_PER_CLIENT: "2",
            // The next one would be 20 seconds after three that came at once.
            MAX_CONNECTION_RATE_PER_CLIENT: "3/m",
          });
          yield* program.healthy(1);
          const port = behind ? (yield* haproxyInFront(program.port)).v2 : program.port;
          const served = (client: string) =>
            Effect.tap(come(port, client), ({ outcome }) =>
              Effect.sync(() => assert.strictEqual(outcome, "answered", client)),
            );
          // HAProxy ends in order what was reset behind it.
          const turnedAway = (client: string) =>
            Effect.tap(come(port, client), ({ outcome }) =>
              Effect.sync(() => assert.include(behind ? ["fin", "reset"] : ["reset"], outcome, client)),
            );

          yield* turnedAway("127.0.0.66");
          assert.deepStrictEqual(yield* refusals(program), { denied: 1 });

          const first = yield* served("127.0.0.10");
          yield* served("127.0.0.10");
          yield* turnedAway("127.0.0.10");
          assert.deepStrictEqual(yield* refusals(program), { denied: 1, "client-limit": 1 });
          first.socket.end();
          yield* untilOpen(program, 1);
          yield* served("127.0.0.10");

          for (let n = 0; n < 3; n++) {
            yield* Effect.scoped(served("127.0.0.11"));
            yield* untilOpen(program, 2);
          }
          yield* turnedAway("127.0.0.11");
          assert.deepStrictEqual(yield* refusals(program), {
            denied: 1,
            "client-limit": 1,
            "client-rate": 1,
          });
          assert.isNotEmpty(program.logged("clients turned away"));
        }),
      );
    });
  }
}
