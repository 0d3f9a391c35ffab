import { readdirSync, readFileSync, rmSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { licences } from "./vite.licences.js";

const root = fileURLToPath(new URL(".", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** What whoever installs the package has: one copy of each, shared with a program of theirs. */
const installed: ReadonlyArray<string> = [
  ...Object.keys(manifest.peerDependencies),
  ...Object.keys(manifest.optionalDependencies),
];

const isInstalled = (specifier: string): boolean =>
  isBuiltin(specifier) || installed.some((name) => specifier === name || specifier.startsWith(`${name}/`));

/** Whether a module of ours imports a package that only the program has. */
const needsBundling = (path: string): boolean =>
  [...readFileSync(path, "utf8").matchAll(/^(?:import|export) (?!type)[^;]*? from "([^."][^"]*)";$/gm)].some(
    ([, specifier = ""]) => !isInstalled(specifier),
  );

const modules = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.startsWith("page/"))
  .filter((name) => needsBundling(join(root, "src", name)));

rmSync(join(root, "dist/bundled"), { recursive: true, force: true });

/** Keeps what our modules import from each other as they have written it: the output has the folders of src. */
const keepRelative: Plugin = {
  name: "keep-relative",
  enforce: "pre",
  resolveId(specifier, importer) {
    if (!specifier.startsWith(".") || importer === undefined || importer.includes("/node_modules/"))
      return null;
    return { id: specifier, external: "absolute" };
  },
};

/**
 * Compiles the modules that import packages which only the program needs once more, with these packages bundled in.
 * They take the place of what tsc made of them. All else they import stays an import: modules of ours, and what
 * whoever installs the package has.
 */
export default defineConfig({
  root,
  publicDir: false,
  plugins: [keepRelative, licences("bundled/licences.txt")],
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: join(root, "dist"),
    emptyOutDir: false,
    target: "es2022",
    minify: false,
    sourcemap: true,
    rollupOptions: {
      input: Object.fromEntries(modules.map((name) => [name.replace(/\.ts$/, ""), join(root, "src", name)])),
      external: isInstalled,
      output: { entryFileNames: "[name].js", chunkFileNames: "bundled/[name].js" },
    },
  },
});
