import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** Makes one file of what a data thread runs: a script, since a worker that is started from a text is no module. */
export default defineConfig({
  root,
  publicDir: false,
  build: {
    ssr: fileURLToPath(new URL("src/transport/threads/worker.ts", import.meta.url)),
    outDir: fileURLToPath(new URL("dist/transport/threads", import.meta.url)),
    emptyOutDir: false,
    target: "es2022",
    minify: false,
    sourcemap: true,
    rollupOptions: { output: { format: "cjs", entryFileNames: "worker.cjs" } },
  },
});
