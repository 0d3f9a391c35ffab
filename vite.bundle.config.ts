import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { licences } from "./vite.licences.js";

const root = fileURLToPath(new URL(".", import.meta.url));

const swagger = /\/@effect\/platform\/.*\/internal\/httpApiSwagger\.js$/;

/**
 * Leaves the script and style of the page at /docs in files of their own, which are read at the start: as constants in a
 * module they are two thirds of the program, for V8 to parse.
 */
const docsPageApart: Plugin = {
  name: "docs-page-apart",
  enforce: "pre",
  async load(id) {
    if (!swagger.test(id)) return null;
    const { css, javascript }: Readonly<Record<string, string>> = await import(id);
    if (css === undefined || javascript === undefined) this.error(`${id} has no css and no javascript`);
    this.emitFile({ type: "asset", fileName: "swagger.css", source: css });
    this.emitFile({ type: "asset", fileName: "swagger.js", source: javascript });
    return `import { readFileSync } from "node:fs";
const read = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
export const css = read("./swagger.css");
export const javascript = read("./swagger.js");`;
  },
};

const inTwoParts = `await import("effect/Effect");`;

/** One file needs no loading in two parts, and all of a module that nobody asks for would be kept. */
const atOnce: Plugin = {
  name: "at-once",
  enforce: "pre",
  transform(code, id) {
    if (id !== join(root, "src/bin.ts")) return null;
    if (!code.includes(inTwoParts)) this.error(`${id} has no ${inTwoParts}`);
    // What stands behind it stays where the source map has it.
    return { code: code.replace(inTwoParts, " ".repeat(inTwoParts.length)), map: null };
  },
};

/**
 * The program as packages carry it, with every package but koffi in it. It is one file and its first lines; what few
 * starts need (the commands, telemetry, the demo) is apart, and is loaded at the start as well.
 */
export default defineConfig({
  root,
  publicDir: false,
  plugins: [docsPageApart, atOnce, licences("licences.txt")],
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: join(root, "build/program/lib"),
    emptyOutDir: true,
    target: "node22",
    minify: false,
    sourcemap: true,
    ssrEmitAssets: true,
    rollupOptions: {
      input: { "load-balancer": join(root, "src/bin.ts") },
      external: ["koffi"],
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name].[ext]" },
    },
  },
});
