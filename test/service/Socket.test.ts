import { once } from "node:events";
import * as net from "node:net";
import { assert, describe, layer } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import { commands } from "./Document.js";
import { eventually, Host, unavailable, withPackage } from "./Host.js";
import { configured, unit } from "./Service.js";

/** The commands with which systemd holds the port, as the document has them. */
const [, activate = ""] = commands("The service");

/** What a client saw that asked who it reaches. */
const outcome = (port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect({ host: "127.0.0.1", port });
    let answer = "";
    socket.write("hello");
    socket.on("data", (text) => {
      answer += String(text);
      socket.end();
    });
    socket.once("error", ({ message }) => resolve(message));
    socket.once("close", () => resolve(answer.trim()));
  });

describe.skipIf(unavailable !== undefined)(
  `under the socket unit${unavailable ? ` (${unavailable})` : ""}`,
  () => {
    layer(withPackage, { excludeTestServices: true, timeout: "5 minutes" })("the service", (it) => {
      it.scoped("refuses nobody while it is restarted, at two hundred connections a second", () =>
        Effect.gen(function* () {
          const host = yield* Host;
          const backend = yield* named("a");
          // Whoever has come has the time to end by himself.
          const service = yield* configured({ BACKENDS: listOf(backend), DRAIN_TIMEOUT: "1m" });
          yield* host.run(activate);
          assert.strictEqual(yield* ask(8082), "a");

          const clients: Array<Promise<string>> = [];
          const arriving = setInterval(() => clients.push(outcome(8082)), 5);
          for (const _ of [1, 2, 3]) {
            const before = yield* service.pid;
            yield* service.systemctl(`restart ${unit}`);
            assert.notStrictEqual(yield* service.pid, before);
          }
          clearInterval(arriving);
          const outcomes = yield* Effect.promise(() => Promise.all(clients));
          assert.isAbove(outcomes.length, 100);
          assert.deepStrictEqual([...new Set(outcomes)], ["a"]);
        }),
      );

      it.scoped("is not started without end for a client that waits while a setting is wrong", () =>
        Effect.gen(function* () {
          const host = yield* Host;
          const backend = yield* named("a");
          const service = yield* configured({ BACKENDS: "nonsense" });
          yield* host.attempt(activate);
          const client = yield* Effect.acquireRelease(
            Effect.sync(() => net.connect({ host: "127.0.0.1", port: 8082 })),
            (socket) => Effect.sync(() => socket.destroy()),
          );
          // The port is closed in the end.
          yield* Effect.promise(() => once(client, "error"));
          const socket = yield* service.systemctl(
            `show --property=Result --property=ActiveState ${unit}.socket`,
          );
          assert.strictEqual(socket, "Result=trigger-limit-hit\nActiveState=failed\n");
          yield* eventually(Effect.map(service.property("ActiveState"), (state) => state === "failed"));
          assert.strictEqual(yield* service.property("ExecMainStatus"), "64");

          // One start opens it again.
          yield* host.run(
            `sed -i 's/^BACKENDS=.*/BACKENDS=${listOf(backend)}/' /etc/zeitwork/load-balancer.env`,
          );
          yield* service.start;
          assert.strictEqual(yield* service.systemctl(`is-active ${unit}.socket`), "active\n");
          assert.strictEqual(yield* ask(8082), "a");
        }),
      );
    });
  },
);
