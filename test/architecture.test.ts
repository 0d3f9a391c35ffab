import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const anything = "anything";

/** What each part of src may import besides itself and packages. */
const low = ["net", "config", "clock", "log", "metrics"];

const mayImport: Readonly<Record<string, ReadonlyArray<string> | typeof anything>> = {
  clock: [],
  net: [],
  log: ["clock"],
  config: ["net"],
  metrics: ["net"],
  balancing: ["net"],
  backend: ["balancing", ...low],
  transport: low,
  process: low,
  systemd: ["proxy", "backend", ...low],
  // These three meet in the registry, and never import each other.
  discovery: ["backend", ...low],
  health: ["backend", "transport", ...low],
  proxy: ["backend", "transport", ...low],
  // Reads what the proxy has open; the proxy never asks monitoring.
  monitoring: ["proxy", "backend", ...low],
  telemetry: ["monitoring", "proxy", "backend", ...low],
  // A browser runs it: types, and what itself imports nothing but types.
  page: ["monitoring"],
  cli: anything,
  demo: anything,
  "index.ts": anything,
  "main.ts": anything,
  "bin.ts": ["main.ts"],
};

/** Source texts by path from the root of the repository, with forward slashes. */
type Sources = Readonly<Record<string, string>>;

const packageOf = (specifier: string) =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

const importsOf = (path: string, text: string) =>
  ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => ({
    specifier: fileName,
    target: fileName.startsWith(".")
      ? posix.join(posix.dirname(path), fileName).replace(/\.js$/, ".ts")
      : undefined,
  }));

/** Packages that the build puts into the page. */
const bundled = ["uplot"];

/** Whether anything but types is imported from there, or from anywhere. */
const importsValues = (text: string, specifier?: string): boolean =>
  ts
    .createSourceFile("a.ts", text, ts.ScriptTarget.Latest)
    .statements.some(
      (statement) =>
        (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) &&
        statement.moduleSpecifier !== undefined &&
        ts.isStringLiteral(statement.moduleSpecifier) &&
        (specifier === undefined || statement.moduleSpecifier.text === specifier) &&
        !(ts.isImportDeclaration(statement) ? statement.importClause?.isTypeOnly : statement.isTypeOnly),
    );

/** Of a file that is not there nothing is known. */
const needsValues = (text: string | undefined): boolean => text === undefined || importsValues(text);

const brokenDirections = (sources: Sources, packages: ReadonlyArray<string>): ReadonlyArray<string> => {
  const partOf = (path: string) => path.split("/")[1] ?? path;
  const broken: Array<string> = [];
  for (const [path, text] of Object.entries(sources)) {
    const allowed = mayImport[partOf(path)];
    if (allowed === undefined) broken.push(`${path} is in no known part of src`);
    for (const { specifier, target } of importsOf(path, text)) {
      const ofPage = partOf(path) === "page";
      const permitted =
        target === undefined
          ? ofPage
            ? bundled.includes(packageOf(specifier))
            : specifier.startsWith("node:") || packages.includes(packageOf(specifier))
          : target.startsWith("src/") &&
            (target !== "src/main.ts" || path === "src/bin.ts") &&
            (partOf(target) !== "page" || ofPage) &&
            (partOf(target) === partOf(path) ||
              allowed === anything ||
              (allowed?.includes(partOf(target)) &&
                !(ofPage && importsValues(text, specifier) && needsValues(sources[target]))));
      if (!permitted) broken.push(`${path} must not import ${target ?? specifier}`);
    }
  }
  return broken;
};

const circles = (sources: Sources): ReadonlyArray<string> => {
  const found: Array<string> = [];
  const finished = new Set<string>();
  const visit = (path: string, trail: ReadonlyArray<string>): void => {
    if (trail.includes(path)) {
      found.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    const text = sources[path];
    if (text === undefined || finished.has(path)) return;
    for (const { target } of importsOf(path, text)) {
      if (target !== undefined) visit(target, [...trail, path]);
    }
    finished.add(path);
  };
  for (const path of Object.keys(sources)) visit(path, []);
  return found;
};

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const written: Sources = Object.fromEntries(
  readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(root, "src", name))
    .map((path) => [relative(root, path).split(sep).join("/"), readFileSync(path, "utf8")]),
);

const packages = Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies);

describe("the imports in src", () => {
  it("keep the allowed directions", () => {
    expect(brokenDirections(written, packages)).toEqual([]);
  });

  it("make no circle", () => {
    expect(circles(written)).toEqual([]);
  });
});

describe("the import rules", () => {
  it.each([
    ["src/balancing/A.ts", `import type { B } from "../backend/B.js"`, "src/backend/B.ts"],
    ["src/proxy/A.ts", `export * from "../health/B.js"`, "src/health/B.ts"],
    ["src/config/A.ts", `const b = await import("../backend/B.js")`, "src/backend/B.ts"],
    ["src/transport/A.ts", `import { B } from "../backend/B.js"`, "src/backend/B.ts"],
    ["src/demo/A.ts", `import "../main.js"`, "src/main.ts"],
    ["src/index.ts", `import { B } from "../test/B.js"`, "test/B.ts"],
    ["src/net/A.ts", `import { it } from "vitest"`, "vitest"],
    ["src/page/A.ts", `import { B } from "../monitoring/B.js"`, "src/monitoring/B.ts"],
    ["src/page/A.ts", `import type { B } from "../backend/B.js"`, "src/backend/B.ts"],
    ["src/page/A.ts", `import { Effect } from "effect"`, "effect"],
    ["src/demo/A.ts", `import { B } from "../page/B.js"`, "src/page/B.ts"],
  ])("stop %s from %s", (path, text, target) => {
    expect(brokenDirections({ [path]: text }, ["effect"])).toEqual([`${path} must not import ${target}`]);
  });

  it.each([
    ["src/proxy/A.ts", `import { B } from "../transport/B.js"`],
    ["src/discovery/A.ts", `import { B } from "../backend/B.js"`],
    ["src/backend/A.ts", `import { B } from "../balancing/B.js"`],
    ["src/main.ts", `import { B } from "./monitoring/B.js"`],
    ["src/config/A.ts", `import * as Duration from "effect/Duration"`],
    ["src/transport/A.ts", `import * as net from "node:net"`],
    ["src/page/A.ts", `import type { B } from "../monitoring/B.js"`],
    ["src/page/A.ts", `import uPlot from "uplot"`],
  ])("let %s have %s", (path, text) => {
    expect(brokenDirections({ [path]: text }, ["effect"])).toEqual([]);
  });

  it("let the page have what needs nothing that a browser does not have, and nothing else", () => {
    const path = "src/page/A.ts";
    const page = { [path]: `import { B } from "../monitoring/B.js"` };
    const broken = (text: string) =>
      brokenDirections({ ...page, "src/monitoring/B.ts": text }, ["effect"]).length > 0;
    expect(broken(`import type { C } from "./C.js"; export const B = 1;`)).toBe(false);
    expect(broken(`import { C } from "./C.js"; export const B = C;`)).toBe(true);
  });

  it("ask for a part to be named before a file is put there", () => {
    expect(brokenDirections({ "src/util/A.ts": "" }, [])).toEqual([
      "src/util/A.ts is in no known part of src",
    ]);
  });

  it("see a circle of three files", () => {
    expect(
      circles({
        "src/net/A.ts": `import "./B.js"`,
        "src/net/B.ts": `import "./C.js"`,
        "src/net/C.ts": `import type { A } from "./A.js"`,
      }),
    ).toEqual(["src/net/A.ts -> src/net/B.ts -> src/net/C.ts -> src/net/A.ts"]);
  });
});
