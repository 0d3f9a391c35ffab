import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const anything = "anything";

/** What everything else stands on. */
const low = ["net", "config", "clock", "log", "metrics", "libc", "json"];

/** What each part of src may import besides itself and packages. */
const mayImport: Readonly<Record<string, ReadonlyArray<string> | typeof anything>> = {
  clock: [],
  net: [],
  libc: [],
  json: [],
  log: ["clock"],
  config: ["net", "balancing"],
  metrics: ["net", "clock"],
  balancing: ["net"],
  backend: ["balancing", ...low],
  transport: low,
  process: low,
  systemd: ["proxy", "backend", ...low],
  // These three meet in the registry, and never import each other.
  discovery: ["backend", ...low],
  health: ["backend", "transport", ...low],
  proxy: ["backend", "transport", ...low],
  // It restores the registry before discovery lists, and keeps what it holds then.
  state: ["discovery", "backend", ...low],
  // These read what the proxy has open; the proxy never asks them.
  monitoring: ["state", "proxy", "backend", ...low],
  handover: ["proxy", "backend", "transport", ...low],
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

/** Packages that the build puts into what it makes of these parts; whoever installs the package has no copy of them. */
const bundled: Readonly<Record<string, ReadonlyArray<string>>> = {
  page: ["uplot"],
  telemetry: ["@effect/opentelemetry"],
};

/** Packages whose index loads what only few of its parts need: these are imported one by one. */
const inParts = ["@effect/platform", "@effect/platform-node", "@effect/opentelemetry"];

const parsed = new Map<string, ts.SourceFile>();

const parse = (text: string): ts.SourceFile => {
  const file = parsed.get(text) ?? ts.createSourceFile("a.ts", text, ts.ScriptTarget.Latest);
  parsed.set(text, file);
  return file;
};

/** Whether anything but types is imported from there, or from anywhere. */
const importsValues = (text: string, specifier?: string): boolean =>
  parse(text).statements.some(
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
          ? !inParts.includes(specifier) &&
            (bundled[partOf(path)]?.includes(packageOf(specifier)) ||
              (!ofPage && (specifier.startsWith("node:") || packages.includes(packageOf(specifier)))))
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

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Whoever installs the package has these. */
const packages = Object.keys({ ...manifest.peerDependencies, ...manifest.optionalDependencies });

/** Every package that is loaded where this file is, and by which of ours. */
const loaded = (sources: Sources, entry: string): ReadonlyMap<string, string> => {
  const found = new Map<string, string>();
  const visited = new Set<string>();
  const visit = (path: string): void => {
    const text = sources[path];
    if (text === undefined || visited.has(path)) return;
    visited.add(path);
    for (const { specifier, target } of importsOf(path, text)) {
      if (!importsValues(text, specifier)) continue;
      if (target === undefined) found.set(specifier, path);
      else visit(target);
    }
  };
  visit(entry);
  return found;
};

describe("the imports in src", () => {
  it("keep the allowed directions", () => {
    expect(brokenDirections(written, packages)).toEqual([]);
  });

  it("make no circle", () => {
    expect(circles(written)).toEqual([]);
  });
});

/**
 * What has its place elsewhere: in Effect's Clock, Random and supervised fibers, or in the settings. Each file that uses
 * it nevertheless stands here, with its reason. A browser has none of that: the page is left out.
 */
const kept: ReadonlyArray<readonly [what: string, pattern: RegExp, files: Readonly<Record<string, string>>]> =
  [
    ["Math.random", /\bMath\.random\b/, {}],
    ["the wall clock", /\bDate\.now\b|\bnew Date\(\)/, {}],
    [
      "the system's monotonic clock",
      /\bperformance\.|\bhrtime\(/,
      {
        "src/transport/linux/NodeHostLoop.ts": "read in each turn of the loop",
        "src/transport/threads/worker.ts": "a thread without fibers: the clock of its loop",
        "src/clock/WallClock.ts": "when the process started",
      },
    ],
    [
      "timers",
      /\bset(?:Timeout|Interval)\(/,
      {
        "src/transport/linux/NodeHostLoop.ts": "the timer of an event loop without fibers",
        "src/monitoring/HttpServer.ts": "closing a server of Node ends in a callback",
        "src/main.ts": "keeps the process alive; its end, when no fiber runs any more",
      },
    ],
    ["fibers without a parent", /\bEffect\.run(?:Fork|Promise|Sync|Callback)\w*\(/, {}],
    [
      "fibers forked from callbacks",
      /\bRuntime\.run(?:Fork|Promise|Sync|Callback)\w*\(/,
      {
        "src/proxy/SessionFibers.ts": "pooled fibers, supervised there",
        "src/transport/MemoryTransport.ts": "deadlines of connects, in the transport's scope",
        "src/transport/linux/LinuxMechanism.ts": "a line in the log about a fault",
        "src/transport/node/NodeTransport.ts": "a line in the log about a fault",
        "src/backend/BackendRegistry.ts": "a line in the log about a fault",
        "src/clock/FiberLoop.ts": "timers of deadlines, in the scope of whoever has these",
      },
    ],
    [
      "the environment",
      /\bprocess\.env\b/,
      {
        "src/config/Environment.ts": "the settings",
        "src/systemd/Systemd.ts": "what systemd sets",
        "src/systemd/InheritedSocket.ts": "what systemd sets",
        "src/systemd/JournalStream.ts": "what systemd sets",
        "src/bin.ts": "Node's own options",
      },
    ],
    ["state of a module", /^(?:export )?(?:let|var) /m, {}],
  ];

/** The source without its comments. */
const codeOf = (text: string): string => text.replace(/\/\*.*?\*\//gs, "").replace(/^\s*\/\/.*$/gm, "");

describe("the sources", () => {
  it.each(kept)("use %s only where a reason stands", (_what, pattern, files) => {
    const using = Object.entries(written)
      .filter(([path, text]) => !path.startsWith("src/page/") && pattern.test(codeOf(text)))
      .map(([path]) => path);
    expect(using.sort()).toEqual(Object.keys(files).sort());
  });
});

describe("a data thread", () => {
  it("loads no package, and so no more than the system calls: each package that it loaded would be loaded in every thread", () => {
    const packagesLoaded = loaded(written, "src/transport/threads/worker.ts");
    expect([...packagesLoaded.keys()].filter((name) => !name.startsWith("node:"))).toEqual([]);
  });
});

describe("importing a balancer without monitoring", () => {
  it.each([
    "src/proxy/LoadBalancer.ts",
    "src/backend/BackendRegistry.ts",
    "src/discovery/DiscoverySync.ts",
    "src/discovery/StaticDiscovery.ts",
    "src/health/HealthChecker.ts",
    "src/transport/node/NodeTransport.ts",
    "src/transport/linux/LinuxTransport.ts",
  ])("loads no HTTP server with %s", (entry) => {
    const packagesLoaded = loaded(written, entry);
    expect([...packagesLoaded.keys()]).toContain("effect");
    expect([...packagesLoaded].filter(([specifier]) => specifier.startsWith("@effect/platform"))).toEqual([]);
  });

  it("is seen where a file that it needs loads one, but not for a type", () => {
    const needs = (text: string) => [
      ...loaded({ "src/a/A.ts": `import { B } from "./B.js"`, "src/a/B.ts": text }, "src/a/A.ts").keys(),
    ];
    expect(needs(`import * as Server from "@effect/platform-node/NodeHttpServer"`)).toEqual([
      "@effect/platform-node/NodeHttpServer",
    ]);
    expect(needs(`import type { HttpClient } from "@effect/platform/HttpClient"`)).toEqual([]);
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
    ["src/systemd/A.ts", `import { B } from "../transport/B.js"`, "src/transport/B.ts"],
    ["src/proxy/A.ts", `import * as A from "@effect/opentelemetry/A"`, "@effect/opentelemetry/A"],
    ["src/discovery/A.ts", `import { HttpClient } from "@effect/platform"`, "@effect/platform"],
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
    ["src/systemd/A.ts", `import { B } from "../libc/B.js"`],
    ["src/transport/A.ts", `import * as net from "node:net"`],
    ["src/page/A.ts", `import type { B } from "../monitoring/B.js"`],
    ["src/page/A.ts", `import uPlot from "uplot"`],
    ["src/telemetry/A.ts", `import * as A from "@effect/opentelemetry/A"`],
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
