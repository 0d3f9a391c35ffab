import { existsSync, readdirSync, readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { type Family, families } from "../../src/metrics/Catalog.js";

const root = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const pages = readdirSync(new URL("docs/", root))
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/${name}`);
const documents = ["README.md", "CHANGELOG.md", "test/bench/README.md", ...pages];
const readme = read("README.md");

/** The rows of a document's tables that begin with a word as it is typed. */
const rows = (document: string): ReadonlyArray<string> =>
  document.split("\n").filter((line) => line.startsWith("| `"));

/** The line of one metric in the table of metrics. */
const metricRow = ({ help, labels, name, type }: Family): string =>
  `| \`${type === "counter" ? `${name}_total` : name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`;

/** What a link to a heading ends in, as GitHub makes it of the heading. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

/** A document without its blocks of code, in which a `#` begins a comment. */
const prose = (document: string): string => document.replace(/^```.*?^```$/gms, "");

const anchors = (document: string): ReadonlyArray<string> =>
  [...prose(document).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchor(heading));

const links = (document: string): ReadonlyArray<string> =>
  [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);

describe("README.md", () => {
  it("has at most 200 lines", () => {
    assert.isAtMost(readme.trimEnd().split("\n").length, 200);
  });

  it("leads to every page of docs in one click", () => {
    assert.deepStrictEqual(
      pages.filter((page) => !links(readme).includes(page)),
      [],
    );
  });

  it("says of the settings that it shows what docs/settings.md says", () => {
    const settings = rows(readme);
    assert.lengthOf(settings, 8);
    for (const row of settings) assert.include(rows(read("docs/settings.md")), row);
  });
});

describe("docs/", () => {
  it("has one row for each metric", () => {
    assert.deepStrictEqual(rows(read("docs/metrics.md")), families.map(metricRow));
  });

  it.each(["PrimaryStandby", "WithoutNetwork"])("shows the example %s, which is tested", (name) => {
    assert.include(read("docs/library.md"), `\`\`\`ts\n${read(`test/examples/${name}.ts`)}\`\`\``);
  });
});

describe.each(documents)("%s", (path) => {
  const document = read(path);

  it("names only scripts that there are", () => {
    const { scripts } = JSON.parse(read("package.json"));
    for (const [, name = ""] of document.matchAll(/npm run ([a-z][a-z:]*)/g)) assert.property(scripts, name);
  });

  it("leads nowhere that is not there", () => {
    for (const link of links(document)) {
      if (/^https?:/.test(link)) continue;
      const [target = "", heading] = link.split("#");
      const url = target === "" ? new URL(path, root) : new URL(target, new URL(path, root));
      assert.isTrue(existsSync(url), `${path} links to ${link}`);
      if (heading !== undefined) assert.include(anchors(readFileSync(url, "utf8")), heading, `of ${link}`);
    }
    for (const [file] of document.matchAll(/\b(?:src|test|docs|deployments)\/[A-Za-z0-9./_-]*[A-Za-z0-9]/g)) {
      assert.isTrue(existsSync(new URL(file, root)), `${path} names ${file}`);
    }
  });
});
