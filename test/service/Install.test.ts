import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import { commands } from "./Document.js";
import { boot, media, unavailable } from "./Host.js";
import { journal } from "./Service.js";

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

      const lines = yield* journal(host);
      assert.include(
        lines
          .filter(({ priority }) => priority === 6)
          .map(({ message }) => message)
          .join("\n"),
        '"message":"listening"',
      );

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
});
