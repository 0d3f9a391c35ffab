import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { licences } from "./vite.licences.js";

/** Builds src/page to dist/page: index.html, and what it needs under names that change with their content. */
export default defineConfig({
  root: fileURLToPath(new URL("src/page", import.meta.url)),
  base: "./",
  publicDir: false,
  plugins: [licences("assets/licences.txt")],
  build: {
    outDir: fileURLToPath(new URL("dist/page", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // The Content-Security-Policy lets nothing run that stands in the page itself.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
});
