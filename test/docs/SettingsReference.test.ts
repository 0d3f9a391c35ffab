import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as SettingsReference from "./SettingsReference.js";

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const read = (name: string) => readFileSync(path(name), "utf8");

// With `npm run settings` these files are written; otherwise they are compared.
describe("what follows from the table of settings", () => {
  it("stands in docs/settings.md", async () => {
    await expect(SettingsReference.withTable(read("docs/settings.md"))).toMatchFileSnapshot(
      path("docs/settings.md"),
    );
  });

  it("stands in README.md, as far as it shows settings", async () => {
    await expect(SettingsReference.withRows(read("README.md"))).toMatchFileSnapshot(path("README.md"));
  });

  it("stands in deployments/config/load-balancer.env", async () => {
    await expect(SettingsReference.environmentFile).toMatchFileSnapshot(
      path("deployments/config/load-balancer.env"),
    );
  });
});
