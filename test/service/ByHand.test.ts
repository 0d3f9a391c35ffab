import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import { commands } from "./Document.js";
import { boot, media, unavailable } from "./Host.js";
import { unit } from "./Service.js";

describe.skipIf(unavailable !== undefined)(`docs/systemd.md${unavailable ? ` (${unavailable})` : ""}`, () => {
  it.scopedLive("installs a checkout by hand, and updates it under the one that runs", () =>
    Effect.gen(function* () {
      const host = yield* boot;
      const backend = yield* named("a");
      yield* host.run(`install ${media}/node /usr/local/bin/node`);
      const [block = ""] = commands("By hand");
      const [build = "", ...steps] = block.trim().split("\n");
      // It has been done: it takes a registry.
      assert.strictEqual(build, "npm ci && npm run build && npm prune --omit=dev");
      const inCheckout = (lines: ReadonlyArray<string>) =>
        host.run(["set -e", `cd ${media}/checkout`, ...lines].join("\n"));
      const settings = `printf '%s\\n' ENVIRONMENT=production BACKENDS=${listOf(backend)} >>/etc/zeitwork/load-balancer.env`;
      const environmentFile = steps.findIndex((line) => line.endsWith("/etc/zeitwork/load-balancer.env"));
      assert.isAtLeast(environmentFile, 0);
      yield* inCheckout([
        ...steps.slice(0, environmentFile + 1),
        settings,
        ...steps.slice(environmentFile + 1),
      ]);
      assert.strictEqual(yield* ask(8082), "a");
      const status = host.run(`systemctl show --property=StatusText --value ${unit}`);
      assert.match(yield* status, /^1 of 1 backend healthy/);
      const running = yield* host.run(`systemctl show --property=MainPID --value ${unit}`);

      const last = steps.at(-1) ?? "";
      assert.strictEqual(last, `systemctl enable --now ${unit}`);
      yield* inCheckout(steps.filter((line, place) => place !== environmentFile && line !== last));
      // Its files have been taken away.
      assert.strictEqual(yield* ask(8082), "a");
      yield* host.run(`systemctl daemon-reload && systemctl restart ${unit}`);
      assert.notStrictEqual(yield* host.run(`systemctl show --property=MainPID --value ${unit}`), running);
      assert.strictEqual(yield* ask(8082), "a");
      assert.strictEqual(yield* host.run("ls /opt"), `${unit}\n${unit}.old\n`);
    }),
  );
});
