/**
 * The file that data threads run, made from the sources under test: a worker of Node's runs JavaScript only.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Answers its path. It finds koffi where the sources do. */
export const dataThreadFile = async (): Promise<string> => {
  const folder = mkdtempSync(join(root, "node_modules/.data-thread-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  await build({
    root,
    configFile: false,
    logLevel: "error",
    publicDir: false,
    build: {
      ssr: join(root, "src/transport/threads/worker.ts"),
      outDir: folder,
      target: "es2022",
      minify: false,
      rollupOptions: { output: { entryFileNames: "worker.mjs" } },
    },
  });
  return join(folder, "worker.mjs");
};
