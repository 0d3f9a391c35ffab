import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

/** The folder and name of the package that a bundled module belongs to; the project's own modules belong to none. */
const packageOf = (module: string): { readonly folder: string; readonly name: string } | undefined => {
  const found = /^\0?(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(module.split("?")[0] ?? "");
  return found === null ? undefined : { folder: found[1] ?? "", name: found[2] ?? "" };
};

const noticeIn = (folder: string): string | undefined => {
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  return file === undefined ? undefined : readFileSync(join(folder, file), "utf8");
};

/**
 * Writes the licence of each package that a bundle contains beside it. A package without one stops the build: what may
 * not be passed on must not be bundled.
 */
export const licences = (fileName: string): Plugin => ({
  name: "licences",
  generateBundle(_, bundle) {
    const packages = new Map<string, string>();
    for (const chunk of Object.values(bundle)) {
      for (const module of chunk.type === "chunk" ? chunk.moduleIds : []) {
        const found = packageOf(module);
        if (found !== undefined) packages.set(found.name, found.folder);
      }
    }
    const notices = [...packages].sort().map(([name, folder]) => {
      const notice = noticeIn(folder);
      if (notice === undefined) this.error(`${name} has no licence to pass on`);
      return `${name}\n\n${notice.trim()}\n`;
    });
    this.emitFile({ type: "asset", fileName, source: notices.join(`\n${"-".repeat(80)}\n\n`) });
  },
});
