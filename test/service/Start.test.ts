import { assert, describe, layer } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import * as Ports from "../support/Ports.js";
import { serve } from "../support/Sockets.js";
import { eventually, Host, unavailable, withPackage } from "./Host.js";
import { configured, unit } from "./Service.js";

/** The first of these words is a wrong setting. */
const wrong = { PORT: "first", BACKENDS: "127.0.0.1:1" };

describe.skipIf(unavailable !== undefined)(`the service${unavailable ? ` (${unavailable})` : ""}`, () => {
  layer(withPackage, { excludeTestServices: true, timeout: "5 minutes" })("at its start", (it) => {
    it.scoped("says how many backends are healthy as soon as it has started", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backends = yield* Effect.all([named("a"), named("b"), named("c")]);
        yield* configured({ BACKENDS: listOf(...backends) });
        // In one go: a second later the status would be sent again.
        const shown = yield* host.run(
          `systemctl start ${unit} && systemctl show --property=StatusText ${unit}`,
        );
        assert.strictEqual(shown, "StatusText=3 of 3 backends healthy, 0 connections open\n");
      }),
    );

    it.scoped("gives its lines in the journal their priorities", () =>
      Effect.gen(function* () {
        const [up, down] = [yield* named("a"), yield* Ports.unused];
        const service = yield* configured({
          BACKENDS: `${listOf(up)},127.0.0.1:${down}`,
          LOG_LEVEL: "debug",
        });
        yield* service.start;
        const priorityOf = (lines: ReadonlyArray<{ priority: number; message: string }>, words: string) =>
          lines.find(({ message }) => message.includes(words))?.priority;
        const lines = yield* service.journal;
        assert.strictEqual(priorityOf(lines, '"message":"listening"'), 6);
        assert.strictEqual(priorityOf(lines, '"message":"backend is down"'), 4);
        assert.strictEqual(priorityOf(lines, '"logLevel":"DEBUG"'), 7);
      }),
    );

    it.scoped("ends with 64 and the reason where a setting is wrong, and is not started again", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const service = yield* configured(wrong);
        assert.strictEqual((yield* host.attempt(`systemctl start ${unit}`)).code, 1);
        assert.strictEqual(yield* service.property("ExecMainStatus"), "64");
        assert.strictEqual(yield* service.property("SubState"), "failed");
        assert.strictEqual(yield* service.property("NRestarts"), "0");
        const errors = (yield* service.journal).filter(
          ({ priority, writer }) => priority === 3 && writer !== "systemd",
        );
        assert.match(errors.map(({ message }) => message).join("\n"), /\bPORT\b.*first/);
      }),
    );

    it.scoped("ends with the reason where there is no environment file, and begins once there is one", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        const service = yield* configured({ BACKENDS: listOf(backend) });
        yield* host.run("mv /etc/zeitwork/load-balancer.env /root/kept.env");
        assert.strictEqual((yield* host.attempt(`systemctl start ${unit}`)).code, 1);
        yield* service.says(/Failed to load environment files: No such file or directory/);
        yield* host.run("mv /root/kept.env /etc/zeitwork/load-balancer.env");
        // It is tried again for ever.
        yield* eventually(Effect.map(service.property("ActiveState"), (state) => state === "active"));
        assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scoped(
      "is given what stands in a file that only root reads, as a user that there is no other time",
      () =>
        Effect.gen(function* () {
          const host = yield* Host;
          const backend = yield* named("a");
          const service = yield* configured({ BACKENDS: listOf(backend), ADMIN_TOKEN: "0123456789abcdef" });
          yield* service.start;
          assert.strictEqual(
            yield* host.run("stat --format='%U %a' /etc/zeitwork/load-balancer.env"),
            "root 600\n",
          );
          const user = Number(yield* host.run(`stat --format=%u /proc/${yield* service.pid}`));
          // Of those that systemd gives to users that come and go: see "Users, Groups, UIDs and GIDs on systemd Systems".
          assert.isAtLeast(user, 61_184);
          assert.isAtMost(user, 65_519);
          const read = `setpriv --reuid=${user} --clear-groups cat /etc/zeitwork/load-balancer.env`;
          assert.include((yield* host.attempt(read)).stderr, "Permission denied");
          const { status } = yield* Effect.promise(() =>
            fetch("http://127.0.0.1:8083/connections", {
              headers: { authorization: "Bearer 0123456789abcdef", connection: "close" },
            }),
          );
          assert.strictEqual(status, 200);
        }),
    );

    it.scoped("is stopped while it starts", () =>
      Effect.gen(function* () {
        // An Operator that takes the question and never answers.
        const operator = yield* serve(() => {});
        const service = yield* configured({
          OPERATOR_URL: `http://127.0.0.1:${operator.port}`,
          DISCOVERY_TIMEOUT: "1h",
        });
        yield* service.systemctl(`start --no-block ${unit}`);
        yield* eventually(Effect.sync(() => operator.sockets.size === 1));
        assert.strictEqual(yield* service.property("ActiveState"), "activating");
        yield* service.systemctl(`stop ${unit}`);
        assert.strictEqual(yield* service.property("Result"), "success");
        assert.strictEqual(yield* service.property("ExecMainStatus"), "0");
        assert.strictEqual(yield* service.property("SubState"), "dead");
      }),
    );
  });
});
