import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import type { Page } from "playwright-core";
import { ask, exchange, listOf, named, restartable, talk } from "../support/Backends.js";
import * as Browser from "../support/Browser.js";
import * as Ports from "../support/Ports.js";
import * as Program from "../support/RunningProgram.js";
import * as ScriptedOperator from "../support/ScriptedOperator.js";

const { reads, row, view } = Browser;

// Without it nothing can be said here; in CI that must not go by unseen.
const skipped = Browser.executable === undefined && process.env["CI"] === undefined;

const token = "a-token-of-some-length";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What is wrong with the page as it is now, for those who see, hear or use it in another way. */
const barriers = (page: Page): Promise<ReadonlyArray<string>> =>
  page.evaluate(
    `${axe}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + " " + nodes[0].html))`,
  );

const cell = (page: Page, id: string, name: string) => row(page, id).locator(`td.${name}`);
const tile = (page: Page, title: string) => page.locator("#summary > div", { hasText: title }).locator("dd");

const steering = async (page: Page, given: string): Promise<void> => {
  await page.getByRole("button", { name: "Steer…" }).click();
  await page.getByLabel("Token").fill(given);
  await page.getByRole("button", { name: "Use this token" }).click();
};

describe.skipIf(skipped)(`the live page${skipped ? " (chromium is not installed)" : ""}`, () => {
  it.scopedLive("shows what runs, and what comes from outside as mere text", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const strange = `<img src=x onerror="document.title='broken'">`;
      const operator = yield* ScriptedOperator.make(
        ScriptedOperator.lists([
          ScriptedOperator.instance("web-1", backend.port),
          ScriptedOperator.instance(strange, backend.port),
        ]),
      );
      const program = yield* Program.start("node", { OPERATOR_URL: operator.url });
      yield* program.healthy(2);
      const { complaints, page } = yield* view(program.healthPort);
      yield* Effect.promise(async () => {
        await reads(tile(page, "Healthy"), "2 of 2");
        await reads(tile(page, "Status"), "healthy");
        await reads(page.locator("#about"), /^round-robin · version \S+ · node transport · running for/);
        await row(page, strange).waitFor();
      });
      const clients = [yield* talk(program.port), yield* talk(program.port)];
      yield* clients[0]?.says("a word") ?? Effect.void;
      yield* Effect.promise(async () => {
        await reads(tile(page, "Connections"), /^2$/);
        await reads(cell(page, "web-1", "open"), /^1$/);
        await reads(cell(page, "web-1", "share"), /^50\.0 %$/);
        await reads(cell(page, strange, "total"), /^1$/);
        await reads(page.locator("#charts figure").first(), /Connections open2/);
        assert.strictEqual(await page.locator("#charts canvas").count(), 5);
        assert.strictEqual(await page.locator("#table img").count(), 0);
        assert.match(await page.title(), /^2\/2 healthy/);
        assert.isTrue(await page.locator("#threads").isHidden());
      });
      assert.deepStrictEqual(complaints, []);
    }),
  );

  it.scopedLive("tells of a backend that dies and returns, and of refusals while there is none", () =>
    Effect.gen(function* () {
      const backend = yield* restartable("a");
      const id = `127.0.0.1:${backend.port}`;
      const program = yield* Program.start("node", { BACKENDS: listOf(backend) });
      yield* program.healthy(1);
      const { complaints, page } = yield* view(program.healthPort);
      const events = page.locator("#events");
      yield* Effect.promise(() => reads(row(page, id), "up"));
      yield* backend.stop;
      yield* Effect.promise(async () => {
        await reads(row(page, id), /down.*refused the connection/);
        await reads(events.locator("li.down"), id);
        await reads(tile(page, "Status"), "unhealthy");
        await reads(page.getByRole("status"), `${id} is down`);
      });
      yield* exchange(program.port, undefined);
      yield* Effect.promise(async () => {
        await reads(tile(page, "Refused"), /^1, last \d+ s ago$/);
        await reads(events.locator("li.refusals-began"), "connections are refused: no backend is healthy");
        await reads(page.locator("#charts figure", { hasText: "Refused per second" }), "no healthy backend");
      });
      // Whoever comes later sees what was.
      const later = yield* view(program.healthPort);
      yield* Effect.promise(async () => {
        await reads(later.page.locator("#events li.refusals-began"), "connections are refused");
        await reads(tile(later.page, "Refused"), /^1, last/);
      });
      yield* backend.start;
      yield* Effect.promise(async () => {
        await reads(row(page, id), "up");
        await reads(tile(page, "Healthy"), "1 of 1");
        await events.locator("li.up").first().waitFor();
      });
      assert.deepStrictEqual(complaints, []);
    }),
  );

  it.scopedLive("steers with the token, asks before it cuts, and keeps the token nowhere", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const id = `127.0.0.1:${backend.port}`;
      const program = yield* Program.start("node", { BACKENDS: listOf(backend), ADMIN_TOKEN: token });
      yield* program.healthy(1);
      const { page } = yield* view(program.healthPort);
      const button = (verb: string) => row(page, id).getByRole("button", { name: `${verb} ${id}` });
      const client = yield* talk(program.port);
      yield* Effect.promise(async () => {
        await row(page, id).waitFor();
        assert.isFalse(await button("Drain").isVisible());
        await steering(page, "not-the-right-token-at-all");
        await button("Drain").click();
        await reads(page.locator("#notice"), "the token was not accepted");
        assert.isFalse(await button("Drain").isVisible());
        await steering(page, token);
        await button("Drain").click();
        await reads(row(page, id), "draining");
        await reads(row(page, id), "by 127.0.0.1");
        await reads(page.locator("#events li.steered"), "draining by");
      });
      assert.strictEqual(yield* client.says("still here"), "still here");
      yield* Effect.promise(async () => {
        await button("Enable").click();
        await reads(row(page, id), "up");
        await button("Disable").click();
        await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
      });
      assert.strictEqual(yield* client.says("still here"), "still here");
      const cut = new Promise((resolve) => client.socket.once("close", resolve));
      yield* Effect.promise(async () => {
        await button("Disable").click();
        const dialog = page.getByRole("dialog");
        await reads(dialog, "Its open connection is reset at once");
        await dialog.getByRole("button", { name: "Disable" }).click();
        await reads(row(page, id), "disabled");
        await cut;
        const kept = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])";
        assert.strictEqual(await page.evaluate(kept), '[{},{},""]');
        assert.notInclude(await page.content(), token);
        await page.reload();
        await reads(row(page, id), "disabled");
        assert.isFalse(await button("Enable").isVisible());
      });
    }),
  );

  it.scopedLive("says when the balancer is gone, and goes on with the one that comes after it", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const id = `127.0.0.1:${backend.port}`;
      const environment = { BACKENDS: listOf(backend), HEALTH_PORT: String(yield* Ports.unused) };
      const first = yield* Program.start("node", environment);
      yield* first.healthy(1);
      yield* ask(first.port);
      const { page } = yield* view(first.healthPort);
      yield* Effect.promise(() => reads(cell(page, id, "total"), /^1$/));
      yield* first.signal("SIGKILL");
      yield* first.ended;
      yield* Effect.promise(async () => {
        await reads(page.locator("#stale"), /^Stale: nothing was heard since \d\d:\d\d:\d\d \(\d+ s ago\)/);
        await reads(page.getByRole("status"), "Stale");
        await reads(tile(page, "Status"), "–");
        await reads(tile(page, "Healthy"), "–");
        await reads(row(page, id).locator(".badge"), "unknown");
        assert.match(await page.title(), /^unknown/);
        assert.isTrue(await page.getByRole("button", { name: "Steer…" }).isDisabled());
      });
      yield* Program.start("node", environment);
      yield* Effect.promise(async () => {
        await page.locator("#stale").waitFor({ state: "hidden" });
        await reads(cell(page, id, "total"), /^0$/);
        await reads(page.getByRole("status"), "The balancer is heard again.");
        await reads(tile(page, "Healthy"), "1 of 1");
        await reads(row(page, id).locator(".badge"), "up");
        assert.match(await page.title(), /^1\/1 healthy/);
      });
    }),
  );

  it.scopedLive("says when what it hears is old, whatever clock the viewer has", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const program = yield* Program.start("node", { BACKENDS: listOf(backend) });
      yield* program.healthy(1);
      const { page } = yield* view(program.healthPort);
      const moved = (seconds: number) =>
        `{ const now = Date.now; Date.now = () => now() + ${seconds * 1000}; }`;
      yield* Effect.promise(async () => {
        await page.addInitScript(moved(-1_000_000));
        await page.reload();
        await reads(tile(page, "Healthy"), "1 of 1");
        assert.isTrue(await page.locator("#stale").isHidden());
        await page.evaluate(moved(5));
        await reads(page.locator("#stale"), /^Late: this was so [45] s ago\./);
        await page.evaluate(moved(-5));
        await page.locator("#stale").waitFor({ state: "hidden" });
      });
    }),
  );

  it.scopedLive("shows 500 backends, sorts them by keyboard and filters them", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const ids = Array.from({ length: 500 }, (_, n) => `web-${n}`);
      const operator = yield* ScriptedOperator.make(
        ScriptedOperator.lists(ids.map((id) => ScriptedOperator.instance(id, backend.port))),
      );
      const program = yield* Program.start("node", {
        OPERATOR_URL: operator.url,
        DISCOVERY_INTERVAL: "1s",
        HEALTH_CHECK_INTERVAL: "2s",
      });
      yield* program.healthy(500);
      const { complaints, page } = yield* view(program.healthPort);
      const rows = page.locator("#table tbody tr");
      const firstRow = rows.first().locator(".id");
      const header = page.getByRole("columnheader", { name: "Backend" });
      yield* Effect.promise(async () => {
        await reads(page.locator("#shown"), "500 of 500 shown");
        await reads(firstRow, /^web-0$/);
        await header.getByRole("button").focus();
        await page.keyboard.press("Enter");
        assert.strictEqual(await header.getAttribute("aria-sort"), "ascending");
        await page.keyboard.press("Space");
        assert.strictEqual(await header.getAttribute("aria-sort"), "descending");
        await reads(firstRow, /^web-499$/);
        await page.getByLabel("Filter").fill("web-49");
        await reads(page.locator("#shown"), "11 of 500 shown");
        assert.strictEqual(await rows.count(), 11);
        await page.getByLabel("Filter").fill("");
        await page.getByLabel("State").selectOption("down");
        await reads(page.locator("#no-backends"), "No backend passes the filter.");
      });
      assert.deepStrictEqual(complaints, []);
    }),
  );

  describe.runIf(process.platform === "linux")("with data threads", () => {
    it.scopedLive("shows what each data thread has and does", () =>
      Effect.gen(function* () {
        const program = yield* Program.start("linux", {
          BACKENDS: listOf(yield* named("a")),
          LB_THREADS: "2",
        });
        yield* program.healthy(1);
        const { complaints, page } = yield* view(program.healthPort);
        const clients = [yield* talk(program.port), yield* talk(program.port)];
        for (const client of clients) yield* client.says("a word");
        const rows = page.locator("#threads tbody tr");
        yield* Effect.promise(async () => {
          for (const number of [0, 1]) {
            const thread = rows.filter({ hasText: `data thread ${number}` });
            await reads(thread.locator(".open"), /^1$/);
            await reads(thread.locator(".processor"), /^\d+\.\d %$/);
            await reads(thread.locator(".turns"), /^[1-9]|0\.\d/);
          }
          assert.strictEqual(await rows.count(), 2);
          assert.deepStrictEqual(await barriers(page), []);
          await page.setViewportSize({ width: 390, height: 844 });
          const wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
          assert.isFalse(await page.evaluate(wider));
          assert.deepStrictEqual(await barriers(page), []);
        });
        assert.deepStrictEqual(complaints, []);
        yield* program.signal("SIGKILL");
        yield* Effect.promise(() => reads(rows.first().locator(".open"), /^–$/));
      }),
    );
  });

  const looks = [
    ["in light", { colorScheme: "light" }],
    ["in dark", { colorScheme: "dark" }],
    ["at a phone's width", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
    ["at a phone's width in dark", { colorScheme: "dark", viewport: { width: 390, height: 844 } }],
  ] as const;

  for (const [name, options] of looks) {
    it.scopedLive(`has no barrier that axe finds ${name}`, () =>
      Effect.gen(function* () {
        const [first, second] = [yield* named("a"), yield* restartable("b")];
        const program = yield* Program.start("node", {
          BACKENDS: listOf(first, second),
          ADMIN_TOKEN: token,
        });
        yield* program.healthy(2);
        const { page } = yield* view(program.healthPort, { ...options, reducedMotion: "reduce" });
        const id = `127.0.0.1:${first.port}`;
        yield* Effect.promise(() => row(page, id).waitFor());
        yield* second.stop;
        yield* Effect.promise(async () => {
          await page.locator("#events li.down").waitFor();
          await page.getByRole("button", { name: "Steer…" }).click();
          assert.deepStrictEqual(await barriers(page), []);
          await page.keyboard.press("Escape");
          await steering(page, token);
          await row(page, id).getByRole("button", { name: "Drain" }).click();
          await reads(row(page, id), "draining");
          assert.deepStrictEqual(await barriers(page), []);
          await row(page, id).getByRole("button", { name: "Disable" }).click();
          assert.deepStrictEqual(await barriers(page), []);
          await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
          // Only what is meant to scroll does: the page itself is never wider than the screen.
          const wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
          assert.isFalse(await page.evaluate(wider));
          // Nor is what it tells of a backend: nothing has to be scrolled into sight sideways.
          const { width = 0 } = page.viewportSize() ?? {};
          for (const cell of await row(page, id).locator("th, td").all()) {
            const box = await cell.boundingBox();
            assert.isAtMost(
              (box?.x ?? width) + (box?.width ?? 0),
              width,
              (await cell.getAttribute("class")) ?? "",
            );
          }
        });
        yield* program.signal("SIGKILL");
        yield* Effect.promise(async () => {
          await reads(page.locator("#stale"), "Stale");
          assert.deepStrictEqual(await barriers(page), []);
        });
      }),
    );
  }
});
