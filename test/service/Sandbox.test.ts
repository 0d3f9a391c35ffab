import { once } from "node:events";
import * as net from "node:net";
import { assert, describe, layer } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import * as Namespace from "../support/Namespace.js";
import { Host, unavailable, withPackage } from "./Host.js";
import { configured, unit } from "./Service.js";

/** A server that says its name, at a link-local address of an interface of its own. */
const linkLocal = (name: string) =>
  Effect.gen(function* () {
    yield* Effect.acquireRelease(Namespace.run("ip link add zone0 type veth peer name zone1"), () =>
      Namespace.run("ip link delete zone0"),
    );
    for (const each of ["zone0", "zone1"]) yield* Namespace.run(`ip link set ${each} up`);
    yield* Namespace.run("ip address add fe80::1/64 dev zone0 nodad");
    const server = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const server = net.createServer((socket) => {
          socket.on("error", () => {});
          socket.once("data", () => socket.end(`${name}\n`));
        });
        server.listen(0, "fe80::1%zone0");
        await once(server, "listening");
        return server;
      }),
      (server) => Effect.sync(() => server.close()),
    );
    return (server.address() as net.AddressInfo) /* it listens on a port */.port;
  });

describe.skipIf(unavailable !== undefined)(`the sandbox${unavailable ? ` (${unavailable})` : ""}`, () => {
  layer(withPackage, { excludeTestServices: true, timeout: "5 minutes" })("of the service", (it) => {
    it.scoped("exposes no more than 1.5 of 10", () =>
      Effect.gen(function* () {
        const { run } = yield* Host;
        assert.match(
          yield* run(`systemd-analyze security --threshold=15 --no-pager ${unit}.service`),
          /Overall exposure level/,
        );
      }),
    );

    it.scoped("lets it listen on port 443, without root", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        const service = yield* configured({ BACKENDS: listOf(backend), PORT: "443" });
        yield* service.start;
        assert.strictEqual(yield* ask(443), "a");
        const status = yield* host.run(`cat /proc/${yield* service.pid}/status`);
        assert.notMatch(status, /^Uid:\t0/m);
        // Bit 10 is CAP_NET_BIND_SERVICE.
        assert.match(status, /^CapEff:\t0000000000000400$/m);
      }),
    );

    it.scoped("lets it use io_uring in eight data threads", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const service = yield* configured({
          BACKENDS: listOf(backend),
          LB_TRANSPORT: "io_uring",
          LB_THREADS: "8",
        });
        yield* service.start;
        yield* service.says(/"listening".*"transport":"io_uring"/);
        for (let client = 0; client < 16; client++) assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scoped("leaves it epoll where it may lock too little memory for io_uring, and it says so", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const service = yield* configured(
          { BACKENDS: listOf(backend), LB_TRANSPORT: "io_uring" },
          { service: ["LimitMEMLOCK=64K"] },
        );
        yield* service.start;
        yield* service.says(/"io_uring cannot be used: .*LimitMEMLOCK=1024K/);
        assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scoped("lets it reach a backend at a link-local address, by its zone", () =>
      Effect.gen(function* () {
        const port = yield* linkLocal("near");
        const service = yield* configured({ BACKENDS: `[fe80::1%zone0]:${port}` });
        yield* service.start;
        assert.strictEqual(
          yield* service.property("StatusText"),
          "1 of 1 backend healthy, 0 connections open",
        );
        assert.strictEqual(yield* ask(8082), "near");
      }),
    );

    it.scoped("lets it resolve names, read a list of clients, and keep its state over a restart", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        yield* host.run("grep -q backend.test /etc/hosts || echo 127.0.0.1 backend.test >>/etc/hosts");
        yield* host.write("/etc/zeitwork/clients", "127.0.0.0/8\n");
        const service = yield* configured({
          BACKENDS: `backend.test:${backend.port}`,
          ALLOW_CLIENTS: "@/etc/zeitwork/clients",
        });
        yield* service.start;
        assert.strictEqual(yield* ask(8082), "a");
        yield* service.systemctl(`restart ${unit}`);
        yield* service.says(/"the state file is read; .*"backends":1/);
        assert.strictEqual(yield* ask(8082), "a");
        assert.strictEqual(
          yield* host.run(`stat --format='%a' /var/lib/private/${unit} /var/lib/private/${unit}/state.json`),
          "700\n600\n",
        );
      }),
    );
  });
});
