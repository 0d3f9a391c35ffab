import { readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import ts from "typescript";

// TypeScript knows files by where they really are.
const root = realpathSync(fileURLToPath(new URL("../../", import.meta.url)));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** The modules that can be imported from the package. */
const exported: ReadonlyArray<string> = Object.values<{ readonly types: string }>(
  JSON.parse(read("package.json")).exports,
).map(({ types }) => types.replace(/^\.\/dist\/(.+)\.d\.ts$/, "src/$1.ts"));

/** The blocks of TypeScript of a page, by where they stand. */
const blocksOfPage = (path: string): ReadonlyArray<readonly [string, string]> =>
  [...read(path).matchAll(/^```ts\n(.*?)^```$/gms)].map(({ 1: code = "", index }) => [
    `${path}:${read(path).slice(0, index).split("\n").length}`,
    code,
  ]);

/** The code of each `@example` of a source, by where it stands. */
const examplesOf = (path: string): ReadonlyArray<readonly [string, string]> => {
  const text = read(path);
  return [...text.matchAll(/^ *\* @example\n *\* ```ts\n(.*?)^ *\* ```$/gms)].map(
    ({ 1: code = "", index }) => [
      `${path}:${text.slice(0, index).split("\n").length}`,
      code.replace(/^ *\* ?/gm, ""),
    ],
  );
};

const examples = new Map([...exported.flatMap(examplesOf), ...blocksOfPage("docs/library.md")]);

/**
 * What TypeScript says of the examples, each a file of its own in this package: importing it by its name leads to what was
 * built, through the `exports` of package.json, as it does for those who install it.
 */
const complaints = (texts: ReadonlyMap<string, string>): ReadonlyArray<string> => {
  const files = new Map(
    [...texts].map(([where, text], n) => [join(root, `example-${n}.ts`), { text, where }]),
  );
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    types: ["node"],
    skipLibCheck: true,
    noEmit: true,
  };
  const host = ts.createCompilerHost(options);
  const program = ts.createProgram({
    rootNames: [...files.keys()],
    options,
    host: {
      ...host,
      getCurrentDirectory: () => root,
      fileExists: (path) => files.has(path) || host.fileExists(path),
      readFile: (path) => files.get(path)?.text ?? host.readFile(path),
      getSourceFile: (path, version, ...rest) => {
        const example = files.get(path);
        return example === undefined
          ? host.getSourceFile(path, version, ...rest)
          : ts.createSourceFile(path, example.text, version);
      },
    },
  });
  return ts.getPreEmitDiagnostics(program).map(({ file, messageText, start = 0 }) => {
    const message = ts.flattenDiagnosticMessageText(messageText, " ");
    const where = files.get(file?.fileName ?? "")?.where ?? file?.fileName;
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1;
    return `${where}, line ${line} of the example: ${message}`;
  });
};

describe("the examples of the library", () => {
  it("compile with what was built, as they stand", () => {
    assert.deepStrictEqual(complaints(examples), []);
  });

  it("would not, were one of them wrong", () => {
    const wrong = `import { LoadBalancer } from "zeitwork-load-balancer"\n\nLoadBalancer.layer({ prot: 8082 })`;
    const [complaint = "", ...more] = complaints(new Map([["a page", wrong]]));
    assert.match(complaint, /^a page, line 3 of the example: .*'prot'/);
    assert.isEmpty(more);
  });

  it("are there for each module that can be imported by a path of its own", () => {
    const shown = new Set([...examples.keys()].map((where) => where.split(":")[0]));
    assert.deepStrictEqual(
      exported.filter((path) => path !== "src/index.ts" && !shown.has(path)),
      [],
    );
  });

  it("are marked as such wherever a comment of such a module shows code", () => {
    const unmarked = exported.filter(
      (path) => read(path).split("* ```ts").length - 1 !== examplesOf(path).length,
    );
    assert.deepStrictEqual(unmarked, []);
  });
});
