import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HttpServerResponse } from "@effect/platform";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as Page from "../../src/monitoring/Page.js";

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "load-balancer-page-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
);

const answer = (page: Page.Page, path: string) => {
  const found = page.get(path);
  return found === undefined ? undefined : HttpServerResponse.toWeb(found);
};

describe("the live page's files", () => {
  it.scoped("are answered with their types, and kept by browsers only under names that change", () =>
    Effect.gen(function* () {
      const path = yield* folder;
      mkdirSync(join(path, "assets"));
      for (const name of [
        "index.html",
        "assets/index-Ab3_x-9Z.js",
        "assets/index-D6ecrnYk.css",
        "assets/licences.txt",
      ]) {
        writeFileSync(join(path, name), name);
      }
      writeFileSync(join(path, "secret.txt"), "not of the page");
      const page = yield* Page.load(path);
      const told = [...page.keys()].sort().map((key) => {
        const { headers } = answer(page, key) ?? assert.fail();
        return [key, headers.get("content-type"), headers.get("cache-control")];
      });
      const always = "public, max-age=31536000, immutable";
      assert.deepStrictEqual(told, [
        ["/", "text/html; charset=utf-8", "no-store"],
        ["/assets/index-Ab3_x-9Z.js", "text/javascript; charset=utf-8", always],
        ["/assets/index-D6ecrnYk.css", "text/css; charset=utf-8", always],
        ["/assets/licences.txt", "text/plain; charset=utf-8", "no-store"],
      ]);
      const policy = answer(page, "/")?.headers.get("content-security-policy") ?? "";
      assert.deepStrictEqual(policy.split("; ").sort(), [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "img-src 'self' data:",
        "script-src 'self'",
        "style-src 'self'",
      ]);
    }),
  );

  it.scoped("that were not built are told of in one line", () =>
    Effect.gen(function* () {
      const page = yield* Page.load(yield* folder);
      const told = answer(page, "/");
      assert.strictEqual(told?.status, 404);
      assert.strictEqual(
        yield* Effect.promise(async () => told?.text()),
        "The live page was not built; npm run build builds it.\n",
      );
    }),
  );

  it.effect("are not taken from its sources", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual([...(yield* Page.load(Page.built)).keys()], ["/"]);
    }),
  );
});
