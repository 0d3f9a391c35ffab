/**
 * The file that data threads run, made from the sources under test: a worker of Node's runs JavaScript only. A script, as
 * the build makes it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Answers its path. */
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
      rollupOptions: { output: { format: "cjs", entryFileNames: "worker.cjs" } },
    },
  });
  return join(folder, "worker.cjs");
};

/**
 * Code that makes a data thread block, in whatever it is doing, for as long as its name is what stands in the file at
 * `blocking`. It does nothing in the main thread.
 */
export const blockable = (blocking: string): string => `
{
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const threads = process.getBuiltinModule("node:worker_threads");
  const now = performance.now.bind(performance);
  const word = new Int32Array(new SharedArrayBuffer(4));
  const blocked = () => {
    try {
      return readFileSync(${JSON.stringify(blocking)}, "utf8") === threads.workerData.name;
    } catch {
      return false;
    }
  };
  if (!threads.isMainThread) performance.now = () => {
    while (blocked()) Atomics.wait(word, 0, 0, 20);
    return now();
  };
}`;

/** The file of a data thread in which some code runs before its own. */
export const dataThreadAfter = (code: string, file: string, name: string): string => {
  const path = file.replace(/\.cjs$/, `.${name}.cjs`);
  writeFileSync(path, `${code}\n${readFileSync(file, "utf8")}`);
  return path;
};

/** The file of a data thread that can be made to block. */
export const blockableDataThread = (file: string, blocking: string): string =>
  dataThreadAfter(blockable(blocking), file, "blockable");
