import { existsSync, readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { variables } from "../../src/config/Settings.js";
import type { Readable } from "../../src/config/Variable.js";
import { type Family, families } from "../../src/metrics/Catalog.js";

const root = new URL("../../", import.meta.url);
const readme = readFileSync(new URL("README.md", root), "utf8");
const scripts: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(new URL("package.json", root), "utf8"),
).scripts;

/** The line of one setting in the table of settings. */
const row = (variable: Pick<Readable<unknown>, "name" | "default" | "about" | "accepted">): string =>
  [
    `| \`${variable.name}\``,
    variable.default === undefined ? "none" : `\`${variable.default}\``,
    `${variable.about}. Accepted: ${variable.accepted} |`,
  ].join(" | ");

/** The line of one metric in the table of metrics. */
const metricRow = ({ help, labels, name, type }: Family): string =>
  `| \`${type === "counter" ? `${name}_total` : name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`;

const section = (title: string): string => readme.split(`\n## ${title}\n`)[1]?.split("\n## ")[0] ?? "";

describe("README.md", () => {
  it("has one row for each setting, and says of it what the program says", () => {
    const rows = section("Settings")
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    assert.deepStrictEqual(rows, variables.map(row));
  });

  it("has one row for each metric", () => {
    const rows = section("Metrics")
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    assert.deepStrictEqual(rows, families.map(metricRow));
  });

  it("names only scripts that there are", () => {
    const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map(([, name = ""]) => name);
    assert.isNotEmpty(named);
    for (const name of named) assert.property(scripts, name);
  });

  it("shows the example that is tested", () => {
    const example = readFileSync(new URL("test/examples/PrimaryStandby.ts", root), "utf8");
    assert.include(section("Composing it"), `\`\`\`ts\n${example}\`\`\``);
  });

  it("leads nowhere that is not there", () => {
    const headings = [...readme.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
      title.toLowerCase().replaceAll(" ", "-"),
    );
    for (const [, target = ""] of readme.matchAll(/\]\(([^)]+)\)/g)) {
      if (target.startsWith("#")) assert.include(headings, target.slice(1));
      else if (!target.startsWith("https://")) assert.isTrue(existsSync(new URL(target, root)), target);
    }
    for (const [path] of readme.matchAll(/\b(?:src|test|deployments)\/[A-Za-z0-9./_-]*[A-Za-z0-9]/g)) {
      assert.isTrue(existsSync(new URL(path, root)), path);
    }
  });
});
