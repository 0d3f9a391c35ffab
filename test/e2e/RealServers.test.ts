import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, get, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import * as tls from "node:tls";
import { assert, describe, it } from "@effect/vitest";
import { Cause, Effect, Exit } from "effect";
import { checkedAgain } from "../support/Backends.js";
import * as Namespace from "../support/Namespace.js";
import * as Ports from "../support/Ports.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import { dial, serve } from "../support/Sockets.js";

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

const behind = (transport: string, ...ports: ReadonlyArray<number>) =>
  Effect.tap(
    Program.start(transport, { BACKENDS: ports.map((port) => `127.0.0.1:${port}`).join(",") }),
    ({ healthy }) => healthy(ports.length),
  );

const skippable = (
  packages: Readonly<Record<string, string>>,
  why: string | undefined = Real.missing(packages),
) => {
  return (title: string, body: Parameters<typeof it.scopedLive>[1], timeout = 60_000) =>
    why === undefined ? it.scopedLive(title, body, timeout) : it.skip(`${title} (${why})`, () => {});
};

for (const transport of Program.transports) {
  describe(`in front of real servers, on ${transport}`, () => {
    skippable({ initdb: "postgresql", psql: "postgresql-client" })(
      "PostgreSQL answers psql: queries, bulk both ways, and a notification that comes by itself",
      () =>
        Effect.gen(function* () {
          const data = yield* Real.folder;
          const port = yield* Ports.unused;
          yield* Real.give("postgres", data);
          const [init, ...initArgs] = Real.unprivileged("postgres", "initdb", [
            "-D",
            data,
            "-U",
            "me",
            "-A",
            "trust",
            "-N",
          ]);
          yield* Real.run(init, initArgs);
          const [command, ...args] = Real.unprivileged("postgres", "postgres", [
            ...["-D", data, "-k", data, "-h", "127.0.0.1", "-p", String(port), "-F"],
          ]);
          yield* Real.serving(command, args, port);
          const program = yield* behind(transport, port);
          const psql = (sql: string) =>
            Real.run("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"], {
              input: sql,
              env: {
                PGHOST: "127.0.0.1",
                PGPORT: String(program.port),
                PGUSER: "me",
                PGDATABASE: "postgres",
              },
            });
          assert.strictEqual(yield* psql("select 6 * 7;"), "42\n");
          const large = yield* psql("select repeat('x', 10000000);");
          assert.strictEqual(large, `${"x".repeat(10_000_000)}\n`);
          const rows = Array.from({ length: 100_000 }, (_, n) => n).join("\n");
          const copied = yield* psql(
            `create table t (n int);\ncopy t from stdin;\n${rows}\n\\.\nselect sum(n) from t;\n`,
          );
          assert.strictEqual(copied, "4999950000\n");
          assert.include(
            yield* psql("listen news;\nselect pg_notify('news', 'hello');\n"),
            'payload "hello"',
          );
        }),
    );

    skippable({ "redis-server": "redis-server", "redis-cli": "redis-tools" })(
      "Redis answers redis-cli: a pipeline of thousands, ten megabytes, and a message that is pushed",
      () =>
        Effect.gen(function* () {
          const port = yield* Ports.unused;
          const data = yield* Real.folder;
          yield* Real.serving(
            "redis-server",
            ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", data],
            port,
          );
          const program = yield* behind(transport, port);
          const redis = (args: ReadonlyArray<string>, input = "") =>
            Real.run("redis-cli", ["-p", String(program.port), ...args], { input });
          assert.strictEqual(yield* redis(["ping"]), "PONG\n");
          const commands = Array.from({ length: 5_000 }, (_, n) => `SET key${n} ${n}\r\n`).join("");
          assert.match(yield* redis(["--pipe"], commands), /errors: 0, replies: 5000/);
          assert.strictEqual(yield* redis(["get", "key4999"]), "4999\n");
          const value = randomBytes(5_000_000).toString("hex");
          assert.strictEqual(yield* redis(["-x", "set", "large"], value), "OK\n");
          assert.strictEqual(yield* redis(["get", "large"]), `${value}\n`);

          const subscriber = yield* dial(program.port);
          subscriber.write("SUBSCRIBE news\r\n");
          yield* Effect.promise(() => once(subscriber, "data"));
          const pushed = Effect.promise(() => once(subscriber, "data"));
          const [, [message]] = yield* Effect.all([redis(["publish", "news", "hello"]), pushed], {
            concurrency: "unbounded",
          });
          assert.include(String(message), "hello");
        }),
    );

    const mariadb = { mariadbd: "mariadb-server", mariadb: "mariadb-client" };
    skippable(
      mariadb,
      transport === "node"
        ? "node's health checks are connections like others, which MariaDB counts"
        : Namespace.available
          ? Real.missing(mariadb)
          : "it takes a network namespace, and so root",
    )("MariaDB blocks no host whose health checks it would count as broken connections", () =>
      Effect.gen(function* () {
        // It counts no connection from loopback, and none from an address that has no name.
        const host = "10.79.0.1";
        yield* Namespace.isolated;
        yield* Namespace.run(`ip address add ${host}/32 dev lo`);
        const data = yield* Real.folder;
        const [tables, socket, hosts] = [join(data, "tables"), join(data, "socket"), join(data, "hosts")];
        writeFileSync(hosts, `127.0.0.1 localhost\n${host} balancer\n`);
        yield* Real.give("mysql", data);
        const [install, ...installArgs] = Real.unprivileged("mysql", "mariadb-install-db", [
          ...["--no-defaults", `--datadir=${tables}`, "--auth-root-authentication-method=normal"],
        ]);
        yield* Real.run(install, installArgs);
        const port = yield* Ports.unused;
        const most = 10;
        const server = Real.unprivileged("mysql", "mariadbd", [
          ...["--no-defaults", `--datadir=${tables}`, `--socket=${socket}`, `--pid-file=${tables}/pid`],
          ...[`--port=${port}`, "--bind-address=0.0.0.0", `--max-connect-errors=${most}`],
        ]);
        yield* Real.serving(
          "unshare",
          ["-m", "sh", "-c", `mount --bind ${hosts} /etc/hosts && exec "$0" "$@"`, ...server],
          port,
        );
        const query = (sql: string, ...where: ReadonlyArray<string>) =>
          Real.run("mariadb", ["--no-defaults", "-N", ...where, "-e", sql]);
        yield* query("create user me@'%'", "-S", socket, "-u", "root");

        const address = `${host}:${port}`;
        const program = yield* Program.start(transport, { BACKENDS: address });
        yield* program.healthy(1);
        const ask = query("select 42", "-h", "127.0.0.1", "-P", String(program.port), "-u", "me");
        yield* checkedAgain(program, address, 3 * most);
        assert.strictEqual(yield* ask, "42\n");

        // It does block one that connects and leaves so often.
        const leave = Effect.promise(async () => {
          for (let n = 0; n <= most; n++) {
            const client = connect({ host, port, localAddress: host });
            await once(client, "connect");
            client.destroy();
          }
        });
        const refusal = yield* Program.until(
          Effect.map(Effect.zipRight(leave, Effect.exit(ask)), (exit) =>
            Exit.isFailure(exit) ? Cause.pretty(exit.cause) : undefined,
          ),
        );
        assert.include(refusal, "is blocked");
      }),
    );

    skippable({ nginx: "nginx" })("nginx answers many requests over one connection, and 50 MB whole", () =>
      Effect.gen(function* () {
        const data = yield* Real.folder;
        const port = yield* Ports.unused;
        const large = randomBytes(50 * 1024 * 1024);
        writeFileSync(join(data, "large"), large);
        writeFileSync(join(data, "small"), "small");
        writeFileSync(
          join(data, "nginx.conf"),
          [
            `pid ${data}/pid;`,
            "daemon off;",
            `error_log ${data}/error.log;`,
            "events {}",
            "http {",
            "  access_log off;",
            `  client_body_temp_path ${data}/body; proxy_temp_path ${data}/proxy; fastcgi_temp_path ${data}/f;`,
            `  uwsgi_temp_path ${data}/u; scgi_temp_path ${data}/s;`,
            `  server { listen 127.0.0.1:${port}; root ${data}; keepalive_requests 10000; }`,
            "}",
          ].join("\n"),
        );
        yield* Effect.sync(() => process.getuid?.() === 0).pipe(
          Effect.flatMap((root) => (root ? Real.run("chmod", ["755", data]) : Effect.void)),
        );
        yield* Real.serving(
          "nginx",
          ["-p", data, "-c", join(data, "nginx.conf"), "-e", join(data, "start.log")],
          port,
        );
        const program = yield* behind(transport, port);
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()));
        const locals = new Set<number | undefined>();
        const fetched = (path: string) =>
          Effect.promise(
            () =>
              new Promise<Buffer>((resolve, reject) => {
                get({ host: "127.0.0.1", port: program.port, path, agent }, (answer) => {
                  locals.add(answer.socket.localPort);
                  const chunks: Array<Buffer> = [];
                  answer.on("data", (chunk: Buffer) => chunks.push(chunk));
                  answer.on("end", () => resolve(Buffer.concat(chunks)));
                  answer.on("error", reject);
                }).on("error", reject);
              }),
          );
        for (let n = 0; n < 200; n++) assert.strictEqual(String(yield* fetched("/small")), "small");
        assert.strictEqual(sha256(yield* fetched("/large")), sha256(large));
        assert.strictEqual(locals.size, 1, "all of them over one connection");
      }),
    );

    skippable({ openssl: "openssl" })(
      "TLS passes through untouched: the client sees the backend's own certificate",
      () =>
        Effect.gen(function* () {
          const data = yield* Real.folder;
          const [key, cert] = [join(data, "key"), join(data, "cert")];
          yield* Real.run("openssl", [
            ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            ...["-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=backend.test"],
            ...["-addext", "subjectAltName=DNS:backend.test"],
          ]);
          const port = yield* Ports.unused;
          yield* Real.serving(
            "openssl",
            ["s_server", "-accept", `127.0.0.1:${port}`, "-key", key, "-cert", cert, "-rev", "-quiet"],
            port,
          );
          const program = yield* behind(transport, port);
          const socket = yield* Effect.acquireRelease(
            Effect.promise(async () => {
              const client = tls.connect({
                host: "127.0.0.1",
                port: program.port,
                servername: "backend.test",
                ca: readFileSync(cert),
              });
              await once(client, "secureConnect");
              return client;
            }),
            (client) => Effect.sync(() => client.destroy()),
          );
          assert.isTrue(socket.authorized);
          assert.strictEqual(socket.getPeerCertificate().subject.CN, "backend.test");
          socket.write("stressed\n");
          const [answer] = yield* Effect.promise(() => once(socket, "data"));
          assert.strictEqual(String(answer), "desserts\n");
        }),
    );

    it.scopedLive("a WebSocket is opened, and carries frames both ways for as long as it lasts", () =>
      Effect.gen(function* () {
        const key = randomBytes(16).toString("base64");
        const accept = (given: string) =>
          createHash("sha1").update(`${given}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
        // RFC 6455: the handshake, then a frame of its own accord, then every frame back as it came.
        const backend = yield* serve((socket) => {
          socket.once("data", (head) => {
            const given = /^Sec-WebSocket-Key: (.+)\r$/im.exec(String(head))?.[1] ?? "";
            socket.write(
              `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(given)}\r\n\r\n`,
            );
            socket.write(Buffer.from([0x81, 5, ...Buffer.from("hello")]));
            socket.on("data", (chunk) => socket.write(chunk));
          });
          socket.on("end", () => socket.end());
        });
        const program = yield* behind(transport, backend.port);
        const [upgraded, socket, first] = yield* Effect.promise(async () => {
          const opening = request({
            host: "127.0.0.1",
            port: program.port,
            headers: {
              connection: "Upgrade",
              upgrade: "websocket",
              "sec-websocket-key": key,
              "sec-websocket-version": "13",
            },
          });
          opening.end();
          const [answer, open, head] = await once(opening, "upgrade");
          return [answer, open, head];
        });
        yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()));
        assert.strictEqual(upgraded.headers["sec-websocket-accept"], accept(key));
        const read = async (size: number, had: Buffer): Promise<Buffer> => {
          let bytes = had;
          while (bytes.length < size) {
            const [chunk] = await once(socket, "data");
            bytes = Buffer.concat([bytes, chunk]);
          }
          return bytes;
        };
        assert.strictEqual(String((yield* Effect.promise(() => read(7, first))).subarray(2)), "hello");
        const length = Buffer.alloc(8);
        length.writeBigUInt64BE(1_000_000n);
        // A mask of zeros leaves the payload as it is.
        const frame = Buffer.concat([
          Buffer.from([0x82, 0xff]),
          length,
          Buffer.alloc(4),
          randomBytes(1_000_000),
        ]);
        socket.write(frame);
        const echoed = yield* Effect.promise(() => read(frame.length, Buffer.alloc(0)));
        assert.isTrue(echoed.equals(frame));
      }),
    );

    skippable({ nc: "netcat-openbsd", bash: "bash" })(
      "the three-nc recipe of README.md does what it says",
      () =>
        Effect.gen(function* () {
          const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
          const recipe = readme.split("## Try it with nc\n")[1]?.split("\n## ")[0] ?? "";
          const blocks = [...recipe.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block.trim());
          const servers = blocks.filter((block) => block.startsWith("nc -l"));
          const [balancer = ""] = blocks.filter((block) => block.includes("./load-balancer"));
          const [clients = ""] = blocks.filter((block) => block.startsWith("echo"));
          assert.lengthOf(servers, 3);
          // The ports of the recipe may be in use here: others in their place, and nothing else is changed.
          const ports = new Map<string, number>();
          for (const [port] of blocks.join("\n").matchAll(/\b8\d\d\d\b/g)) {
            if (!ports.has(port)) ports.set(port, yield* Ports.unused);
          }
          const placed = (command: string) =>
            command.replace(/\b8\d\d\d\b/g, (port) => String(ports.get(port) ?? port));
          const files: Array<string> = [];
          const data = yield* Real.folder;
          for (const [n, command] of servers.entries()) {
            const file = join(data, String(n));
            files.push(file);
            const listening = Number(/\d+$/.exec(placed(command))?.[0]);
            yield* Real.serving("bash", ["-c", `exec ${placed(command)} > ${file}`], listening);
          }
          const settings = Object.fromEntries(
            [...placed(balancer).matchAll(/(\w+)=(\S+)/g)].map(([, name = "", value = ""]) => [name, value]),
          );
          const program = yield* Program.start(transport, settings);
          yield* program.healthy(3);
          const printed = yield* Real.run("bash", ["-c", placed(clients)]);
          assert.lengthOf(JSON.parse(printed.slice(printed.indexOf("["))), 3);
          const heard = () => files.map((file) => readFileSync(file, "utf8")).sort();
          yield* Program.untilTrue(Effect.sync(() => heard().every((text) => text !== "")));
          assert.deepStrictEqual(heard(), ["first\n", "second\n", "third\n"]);
        }),
    );
  });
}
