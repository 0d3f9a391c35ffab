import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const resolve = createRequire(import.meta.url).resolve;

/** What the page is bundled with asks for its notice to go along. */
const licences: Plugin = {
  name: "licences",
  generateBundle() {
    const folder = join(dirname(resolve("uplot")), "..");
    const notice = readFileSync(join(folder, "LICENSE"), "utf8");
    this.emitFile({ type: "asset", fileName: "assets/licences.txt", source: `uPlot\n\n${notice}` });
  },
};

/** Builds src/page to dist/page: index.html, and what it needs under names that change with their content. */
export default defineConfig({
  root: fileURLToPath(new URL("src/page", import.meta.url)),
  base: "./",
  publicDir: false,
  plugins: [licences],
  build: {
    outDir: fileURLToPath(new URL("dist/page", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // The Content-Security-Policy lets nothing run that stands in the page itself.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
});
