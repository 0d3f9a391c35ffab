/**
 * A headless Chromium, and the live page in it.
 */
import { existsSync } from "node:fs";
import { Effect, type Scope } from "effect";
import { type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";

const candidates = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Where it is; undefined where none is installed. Debian has it in the package chromium. */
export const executable = candidates.find((path) => existsSync(path));

/** How long anything on a page may take to come. */
const patience = 120_000;

export interface Viewer {
  readonly page: Page;
  /** What the console has complained of, and what was thrown. */
  readonly complaints: ReadonlyArray<string>;
}

/** Opens the page of the balancer with this monitoring port. It closes with the scope. */
export const view = (
  healthPort: number,
  options: BrowserContextOptions = {},
): Effect.Effect<Viewer, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        if (executable === undefined) throw new Error("no Chromium; Debian has it in the package chromium");
        const browser = await chromium.launch({
          executablePath: executable,
          args: ["--no-sandbox", "--disable-dev-shm-usage"],
        });
        const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, ...options });
        page.setDefaultTimeout(patience);
        const complaints: Array<string> = [];
        page.on("console", (message) => {
          if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
        });
        page.on("pageerror", (error) => complaints.push(error.message));
        await page.goto(`http://127.0.0.1:${healthPort}/`);
        return { browser, page, complaints };
      }),
      ({ browser }) => Effect.promise(() => browser.close()),
    ),
    ({ complaints, page }) => ({ complaints, page }),
  );

/** The row of a backend. */
export const row = (page: Page, id: string): Locator =>
  page.locator("#table tbody tr", { has: page.locator(".id").getByText(id, { exact: true }) });

/** Waits until what is found has this text in it. */
export const reads = (where: Locator, text: string | RegExp): Promise<void> =>
  where.filter({ hasText: text }).first().waitFor();
