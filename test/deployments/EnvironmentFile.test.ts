import { readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { ConfigProvider, Effect } from "effect";
import * as Settings from "../../src/config/Settings.js";
import * as EnvironmentFile from "./EnvironmentFile.js";

const text = readFileSync(new URL("../../deployments/config/load-balancer.env", import.meta.url), "utf8");
const listed = EnvironmentFile.parse(EnvironmentFile.withAllInForce(text));

const settingsUnder = (variables: ReadonlyArray<EnvironmentFile.Assignment>) =>
  Settings.settings.pipe(
    Effect.withConfigProvider(
      ConfigProvider.fromMap(new Map(variables.map(({ name, value }) => [name, value]))),
    ),
    Effect.map(Settings.describe),
    Effect.runSync,
  );

describe("deployments/config/load-balancer.env", () => {
  it("changes nothing as it is installed", () => {
    assert.deepStrictEqual(EnvironmentFile.parse(text), []);
  });

  it("lists every setting once, in the documented order, with its default", () => {
    assert.deepStrictEqual(
      listed.map(({ name, value }) => [name, value]),
      Settings.variables.map((variable) => [variable.name, variable.default ?? ""]),
    );
  });

  it("still means the defaults when every line is put into force", () => {
    assert.deepStrictEqual(settingsUnder(listed), settingsUnder([]));
  });
});

describe("the check of environment files", () => {
  it.each([
    ["a trailing comment", "PORT=80 # web"],
    ["a quoted value", 'PORT="80"'],
    ["a continued line", "PORT=80\\"],
    ["white space behind the value", "PORT=80 "],
    ["a name without a value", "PORT"],
    ["an export", "export PORT=80"],
  ])("refuses %s", (_, line) => {
    assert.throws(() => EnvironmentFile.parse(line));
  });
});
