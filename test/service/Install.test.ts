import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named, refuses } from "../support/Backends.js";
import { commands } from "./Document.js";
import { boot, media, unavailable, type Version } from "./Host.js";
import { unit } from "./Service.js";

describe.skipIf(unavailable !== undefined)(`docs/systemd.md${unavailable ? ` (${unavailable})` : ""}`, () => {
  it.scopedLive("leads from the package to forwarded traffic in three commands, and removes it", () =>
    Effect.gen(function* () {
      const host = yield* boot;
      const backends = [yield* named("a"), yield* named("b")];
      // Who edits the file writes three lines.
      yield* host.write(
        "/usr/local/bin/editor",
        `#!/bin/sh\nprintf '%s\\n' ENVIRONMENT=production BACKENDS=${listOf(...backends)} >>"$1"\n`,
        "0755",
      );

      const [install = ""] = commands("With the package");
      assert.lengthOf(install.trim().split("\n"), 3);
      yield* host.run(`cd ${media}/1.0.0\nset -e\n${install}`);
      assert.strictEqual(yield* ask(8082), "a");
      assert.strictEqual(yield* ask(8082), "b");

      const [look = ""] = commands("The service");
      const looked = yield* host.run(look.replace(" -f", " --no-pager"));
      assert.include(looked, "Active: active (running)");
      assert.match(looked, /Status: "2 of 2 backends healthy, [01] connections? open"/);
      assert.include(looked, '"message":"listening"');
      assert.match(looked, /"ready"/);

      yield* host.run("apt-get remove -y zeitwork-load-balancer");
      assert.strictEqual(yield* host.run("ls /etc/zeitwork"), "load-balancer.env\n");
      assert.match(
        (yield* host.attempt("systemctl status zeitwork-load-balancer")).stderr,
        /could not be found/,
      );
      yield* host.run("apt-get purge -y zeitwork-load-balancer");
      const left = "find /usr /etc /var /run -xdev -name '*zeitwork*' -not -path '/var/log/journal/*'";
      assert.strictEqual(yield* host.run(left), "");
    }),
  );

  it.scopedLive("upgrades, downgrades and removes a service that runs, and starts none that does not", () =>
    Effect.gen(function* () {
      const host = yield* boot;
      const backend = yield* named("a");
      const install = (version: Version) =>
        host.run(`apt-get install -y --allow-downgrades ${media}/${version}/*.deb`);
      const executable = host.run(`readlink /proc/$(systemctl show --property=MainPID --value ${unit})/exe`);
      const installed = (version: Version) => `/usr/lib/${unit}/${version}/bin/node\n`;
      const settings = `ENVIRONMENT=production\nBACKENDS=${listOf(backend)}\n`;
      yield* install("1.0.0");
      yield* host.write("/etc/zeitwork/load-balancer.env", settings, "0600");
      yield* install("1.1.0");
      assert.strictEqual((yield* host.attempt(`systemctl is-active ${unit}`)).stdout, "inactive\n");

      yield* host.run(`systemctl start ${unit}`);
      assert.strictEqual(yield* executable, installed("1.1.0"));
      yield* install("1.0.0");
      assert.strictEqual(yield* executable, installed("1.0.0"));
      assert.strictEqual(yield* ask(8082), "a");
      yield* install("1.1.0");
      assert.strictEqual(yield* executable, installed("1.1.0"));
      assert.strictEqual(yield* ask(8082), "a");
      assert.strictEqual(yield* host.run("cat /etc/zeitwork/load-balancer.env"), settings);

      yield* host.run(`apt-get remove -y ${unit}`);
      assert.isTrue(yield* refuses(8082));
      assert.strictEqual(yield* host.run(`systemctl list-units --plain --no-legend "${unit}*"`), "");
    }),
  );
});
