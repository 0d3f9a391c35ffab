import { readFileSync, realpathSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, beforeAll, describe, it } from "@effect/vitest";
import ts from "typescript";

/** What an exported name stands for, behind re-exports. */
const original = (checker: ts.TypeChecker, symbol: ts.Symbol): ts.Symbol =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;

/** The statement that a declaration is, or is a part of, where it stands in a module and not in another declaration. */
const statementOf = (declaration: ts.Declaration): ts.Node | undefined => {
  const statement = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  return statement.parent !== undefined && ts.isSourceFile(statement.parent) ? statement : undefined;
};

// TypeScript knows files by where they really are.
const root = realpathSync(fileURLToPath(new URL("../../", import.meta.url)));
const folder = join(root, "dist");

/** The package's `exports`: from the name to the module of `src` without its extension (`proxy/LoadBalancer`). */
const exported: ReadonlyMap<string, string> = new Map(
  Object.entries(
    JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports as Readonly<
      Record<string, { readonly types: string }>
    > /* test/library/Exports.test.ts holds it to this */,
  ).map(([name, { types }]) => [name, types.replace(/^\.\/dist\/(.+)\.d\.ts$/, "$1")]),
);

/**
 * The declarations that the build wrote, in which only names of the project mean something: packages are not loaded,
 * since that takes long and nothing is asked of them.
 */
const declared = (): ts.Program =>
  ts.createProgram({
    rootNames: [...exported.values()].map((module) => join(folder, `${module}.d.ts`)),
    options: {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      noEmit: true,
      noLib: true,
      types: [],
    },
    host: {
      ...ts.createCompilerHost({}),
      resolveModuleNameLiterals: (literals, importer) =>
        literals.map(({ text }) => ({
          resolvedModule: text.startsWith(".")
            ? {
                resolvedFileName: join(importer, "..", text.replace(/\.js$/, ".d.ts")),
                extension: ts.Extension.Dts,
              }
            : undefined,
        })),
    },
  });

describe("what the library exports", () => {
  let checker: ts.TypeChecker;
  /** What a user can import, by the name to import. */
  const names = new Map<ts.Symbol, string>();

  beforeAll(() => {
    const program = declared();
    checker = program.getTypeChecker();
    for (const [name, module] of exported) {
      const file = program.getSourceFile(join(folder, `${module}.d.ts`));
      assert.isDefined(file, `${name} leads to ${module}, which is not there`);
      const symbol = checker.getSymbolAtLocation(file);
      assert.isDefined(symbol, `${module} exports nothing`);
      for (const each of checker.getExportsOfModule(symbol)) {
        names.set(original(checker, each), `${each.name} of ${name}`);
      }
    }
  });

  /** The module of the project that a symbol is declared in. */
  const moduleOf = (symbol: ts.Symbol): string | undefined => {
    const file = symbol.declarations?.[0]?.getSourceFile().fileName;
    return file?.startsWith(folder) ? relative(folder, file).replace(/\.d\.ts$/, "") : undefined;
  };

  it("names no type of the project in its signatures that cannot be imported", () => {
    const missing = new Map<string, string>();
    for (const [symbol, name] of names) {
      // What a module re-exports under a namespace is looked at where it is exported by itself.
      if (symbol.flags & ts.SymbolFlags.ValueModule) continue;
      const visit = (node: ts.Node): void => {
        const found = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node) : undefined;
        if (found !== undefined) {
          const used = original(checker, found);
          const module = moduleOf(used);
          const alone = used.declarations?.some((each) => statementOf(each) !== undefined);
          if (module !== undefined && alone && !names.has(used)) {
            // What a class extends is written down as a constant of its own, which nobody needs to import.
            if (/_base\d*$/.test(used.name)) {
              for (const each of used.declarations ?? []) {
                if (ts.isVariableDeclaration(each) && each.type !== undefined) visit(each.type);
              }
            } else missing.set(`${used.name} of src/${module}.ts`, name);
          }
        }
        ts.forEachChild(node, visit);
      };
      symbol.declarations?.forEach(visit);
    }
    assert.deepStrictEqual([...missing].map(([used, by]) => `${used}, named by ${by}`).sort(), []);
  });

  it("is documented, with the version that it is there since and its category", () => {
    const lacking = new Set<string>();
    for (const [symbol, name] of names) {
      if (symbol.flags & ts.SymbolFlags.ValueModule) continue;
      const statements = (symbol.declarations ?? []).map(statementOf).filter((each) => each !== undefined);
      const tags = statements.flatMap((each) => ts.getJSDocTags(each).map((tag) => tag.tagName.text));
      for (const tag of ["since", "category"]) {
        if (!tags.includes(tag)) lacking.add(`${name} of src/${moduleOf(symbol)}.ts lacks @${tag}`);
      }
    }
    assert.deepStrictEqual([...lacking].sort(), []);
  });
});
