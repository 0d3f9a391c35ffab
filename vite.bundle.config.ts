import { isBuiltin } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { descriptionFiles } from "./vite.description.js";
import { licences } from "./vite.licences.js";

const root = fileURLToPath(new URL(".", import.meta.url));

const builtin = "\0builtin:";

/** Modules of Node that take a while to load, and that many programs never use. */
const late: ReadonlyArray<string> = ["crypto", "https"];

/**
 * Has Node's modules without the import of them: that reads each of their exports, and some load what is used nowhere
 * here (node:http a browser's fetch and WebSocket: a tenth of the start).
 */
const builtinsAsAsked: Plugin = {
  name: "builtins-as-asked",
  enforce: "pre",
  resolveId(id) {
    return isBuiltin(id) ? `${builtin}${id.replace(/^node:/, "")}` : null;
  },
  load(id) {
    if (!id.startsWith(builtin)) return null;
    const name = id.slice(builtin.length);
    const module = `process.getBuiltinModule("node:${name}")`;
    return {
      code: `export default ${late.includes(name) ? `new Proxy({}, { get: (_, name) => ${module}[name] })` : module};`,
      syntheticNamedExports: true,
      moduleSideEffects: false,
    };
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
  plugins: [builtinsAsAsked, descriptionFiles(root), atOnce, licences("licences.txt")],
  // Names stay as they are, for those who read a stack trace, and lines short, for Node prints the one of an error.
  esbuild: {
    minifySyntax: true,
    minifyWhitespace: true,
    minifyIdentifiers: false,
    lineLimit: 120,
    charset: "ascii",
  },
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: join(root, "build/program/lib"),
    emptyOutDir: true,
    target: "node22",
    minify: "esbuild",
    sourcemap: true,
    ssrEmitAssets: true,
    rollupOptions: {
      input: { "load-balancer": join(root, "src/bin.ts") },
      external: ["koffi"],
      // What a package is imported for is what it exports.
      treeshake: { moduleSideEffects: (id) => !id.includes("/node_modules/") },
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name].[ext]" },
    },
  },
});
