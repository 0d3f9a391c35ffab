import { existsSync, readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";

const root = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");

interface Target {
  readonly types: string;
  readonly default: string;
}

const exported: ReadonlyArray<readonly [string, Target]> = Object.entries(
  JSON.parse(read("package.json")).exports,
);

describe("the package's exports", () => {
  it("have each module of the index under a path of its own", () => {
    const modules = [...read("src/index.ts").matchAll(/from "\.\/(.+)\.js"/g)].map(
      ([, module = ""]) => module,
    );
    assert.isNotEmpty(modules);
    assert.deepStrictEqual(
      exported
        .filter(([name]) => name !== ".")
        .map(([, { types }]) => types)
        .sort(),
      modules.map((module) => `./dist/${module}.d.ts`).sort(),
    );
  });

  it("lead to what is compiled from a source that is there, with its types", () => {
    for (const [name, target] of exported) {
      const source = target.default.replace(/^\.\/dist\/(.+)\.js$/, "src/$1.ts");
      assert.isTrue(existsSync(new URL(source, root)), `${name} leads to ${target.default}`);
      assert.strictEqual(target.types, target.default.replace(/\.js$/, ".d.ts"), name);
    }
  });
});
