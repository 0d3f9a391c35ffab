import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, assert, describe, it } from "@effect/vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

let scratch: string | undefined;
afterEach(() => {
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
});

/** A project of somebody else's, with the packed package and its dependencies installed. */
const project = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "load-balancer-package-"));
  scratch = folder;
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
  execFileSync("sh", ["-c", "tar -xzf *.tgz && mv package node_modules/zeitwork-load-balancer"], {
    cwd: folder,
  });
  for (const name of ["effect", "@effect", "@types"]) {
    symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "somebody-else", type: "module" }));
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { strict: true, target: "ES2022", module: "NodeNext", types: ["node"], outDir: "out" },
      include: ["*.ts"],
    }),
  );
  return folder;
};

describe("the packed package", () => {
  it("has the types and the modules that the example of docs/library.md needs", { timeout: 120_000 }, () => {
    const folder = project();
    cpSync(join(root, "test/examples/PrimaryStandby.ts"), join(folder, "PrimaryStandby.ts"));
    execFileSync(join(root, "node_modules/.bin/tsc"), [], { cwd: folder, stdio: "inherit" });
    const printed = execFileSync(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `import { primaryStandby } from "./out/PrimaryStandby.js"; console.log(primaryStandby.name)`,
      ],
      { cwd: folder, encoding: "utf8" },
    );
    assert.strictEqual(printed, "primary-standby\n");
  });
});
