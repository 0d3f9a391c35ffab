import { assert, describe, layer } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import { commands } from "./Document.js";
import { Host, media, unavailable, withPackage } from "./Host.js";
import { configured, unit } from "./Service.js";

/** An instance with an environment file of its own. */
const instance = (name: string, settings: Readonly<Record<string, string>>) =>
  configured(settings, { name: `${unit}@${name}`, file: `/etc/zeitwork/load-balancer-${name}.env` });

describe.skipIf(unavailable !== undefined)(
  `several services${unavailable ? ` (${unavailable})` : ""}`,
  () => {
    layer(withPackage, { excludeTestServices: true, timeout: "5 minutes" })("on one host", (it) => {
      it.scoped(
        "have settings, state and users of their own, and are upgraded and removed with the package",
        () =>
          Effect.gen(function* () {
            const host = yield* Host;
            const [a, b] = [yield* named("a"), yield* named("b")];
            const blue = yield* instance("blue", { BACKENDS: listOf(a), PORT: "9001", HEALTH_PORT: "9101" });
            const green = yield* instance("green", {
              BACKENDS: listOf(b),
              PORT: "9002",
              HEALTH_PORT: "9102",
            });
            yield* host.run(`systemctl enable --now ${unit}@green`);
            yield* host.write(
              "/usr/local/bin/editor",
              `#!/bin/sh\nprintf '%s\\n' BACKENDS=${listOf(a)} PORT=9001 HEALTH_PORT=9101 >>"$1"\n`,
              "0755",
            );
            const [another = ""] = commands("Several on one host");
            yield* host.run(`set -e\n${another}`);
            assert.strictEqual(yield* ask(9001), "a");
            assert.strictEqual(yield* ask(9002), "b");
            const uids = yield* host.run(
              `stat --format=%u /proc/${yield* blue.pid} /proc/${yield* green.pid}`,
            );
            assert.lengthOf(new Set(uids.trim().split("\n")), 2);
            assert.include(
              yield* host.run(`ls /var/lib/private/${unit}-blue /var/lib/private/${unit}-green`),
              "state.json",
            );

            const before = [yield* blue.pid, yield* green.pid];
            yield* host.run(`dpkg --install ${media}/1.1.0/*.deb`);
            const after = [yield* blue.pid, yield* green.pid];
            for (const pid of after) assert.notInclude(before, pid);
            assert.strictEqual(yield* ask(9001), "a");
            assert.strictEqual(
              yield* host.run(
                "systemctl list-units --all --plain --no-legend zeitwork-load-balancer.service",
              ),
              "",
            );

            yield* host.run(`dpkg --purge ${unit}`);
            assert.strictEqual(yield* host.run(`systemctl list-units --plain --no-legend "${unit}*"`), "");
            // Who made these files removes them.
            yield* host.run("rm -r /etc/zeitwork");
            assert.strictEqual(
              yield* host.run("find /usr /etc /var -xdev -name '*zeitwork*' -not -path '/var/log/*'"),
              "",
            );
            yield* host.run(`dpkg --install ${media}/1.0.0/*.deb`);
          }),
      );
    });
  },
);
