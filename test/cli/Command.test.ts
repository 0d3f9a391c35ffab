import { assert, describe, it } from "@effect/vitest";
import { Either } from "effect";
import { type Command, type Given, misuse, type Option, parse, title } from "../../src/cli/Command.js";
import * as Help from "../../src/cli/Help.js";

const url: Option = { name: "url", value: "URL", about: "Where." };
const watch: Option = { name: "watch", letter: "w", about: "Go on." };
const shell: Option = { name: "shell", value: "SHELL", choices: ["bash", "zsh"], about: "Which." };
const help: Option = { name: "help", letter: "h", about: "Help." };

const leaf = (name: string, more: Partial<Command<string>> = {}): Command<string> => ({
  name,
  about: `What ${name} does.`,
  options: [],
  arguments: [],
  commands: [],
  run: () => name,
  ...more,
});

const root = leaf("lb", {
  options: [shell],
  commands: [
    leaf("status", { options: [url, watch] }),
    {
      name: "backends",
      about: "Steers.",
      options: [],
      arguments: [],
      commands: [leaf("drain", { options: [url], arguments: [{ name: "ID", about: "which one" }] })],
    },
  ],
});

const parsed = (...words: ReadonlyArray<string>) => Either.getOrThrow(parse(root, [help], words));
const refused = (...words: ReadonlyArray<string>) =>
  Either.getOrThrow(Either.flip(parse(root, [help], words)));
const given = (
  flags: ReadonlyArray<string>,
  values: Readonly<Record<string, string>>,
  words: ReadonlyArray<string>,
): Given => ({
  flags: new Set(flags),
  values: new Map(Object.entries(values)),
  arguments: words,
});

describe("words on a command line", () => {
  it("name a command below a command, or the program itself", () => {
    for (const words of ["", "status", "backends", "backends drain"]) {
      const { path } = parsed(...words.split(" ").filter((word) => word !== ""));
      assert.strictEqual(title(path), `lb ${words}`.trim());
    }
  });

  it("are options in every spelling, wherever they stand behind their command", () => {
    const expected = given(["watch"], { url: "http://a?b=c" }, []);
    for (const words of [
      ["status", "--url", "http://a?b=c", "--watch"],
      ["status", "-w", "--url=http://a?b=c"],
      ["status", "--watch", "--url", "http://a?b=c"],
    ]) {
      assert.deepStrictEqual(parsed(...words).given, expected);
    }
    assert.deepStrictEqual(parsed("backends", "drain", "x", "-h").given, given(["help"], {}, ["x"]));
  });

  it("are arguments behind --, whatever they look like", () => {
    assert.deepStrictEqual(parsed("backends", "drain", "--", "--url").given, given([], {}, ["--url"]));
    assert.deepStrictEqual(parsed("backends", "drain", "-").given, given([], {}, ["-"]));
  });

  it("are refused where they mean nothing, with what comes near", () => {
    assert.strictEqual(refused("--nope"), "there is no option --nope");
    assert.strictEqual(refused("status", "--wacth"), "there is no option --wacth; did you mean --watch?");
    assert.strictEqual(refused("status", "--watch=yes"), "--watch takes no value");
    assert.strictEqual(refused("status", "--url"), "--url needs a value: URL");
    assert.strictEqual(refused("--shell", "sh"), "--shell sh: accepted: bash, zsh");
    const misused = (...words: ReadonlyArray<string>) => misuse(parsed(...words));
    assert.strictEqual(misused("statsu"), "there is no command statsu; did you mean status?");
    assert.strictEqual(misused("backends", "dry"), "there is no command backends dry");
    assert.strictEqual(misused("backends"), "lb backends needs one of drain");
    assert.strictEqual(misused("backends", "drain"), "lb backends drain needs ID: which one");
    assert.strictEqual(misused("backends", "drain", ""), "lb backends drain needs ID: which one");
    assert.strictEqual(misused("backends", "drain", "x", "y"), "lb backends drain has nothing to do with y");
    assert.strictEqual(misused("status", "x"), "lb status has nothing to do with x");
  });

  it("are right where nothing is missing", () => {
    for (const words of [[], ["status"], ["backends", "drain", "x"]]) {
      assert.isUndefined(misuse(parsed(...words)));
    }
  });

  it("are printed without what a terminal would act upon", () => {
    assert.notInclude(refused("--\u001b[2Jboo"), "\u001b");
    assert.notInclude(misuse(parsed("\u001b[2Jboo")) ?? "", "\u001b");
  });
});

describe("the help", () => {
  const help1 = (...words: ReadonlyArray<string>) => Help.text(parsed(...words).path, [help], [], false);

  it("has the name of the program in its usage, and every command below", () => {
    const text = help1();
    assert.include(text, "\n  lb [COMMAND] [--shell SHELL]\n");
    assert.include(text, "\nlb status [--url URL] [--watch]\n    What status does.");
    assert.include(text, "\nlb backends drain [--url URL] ID\n");
    assert.notInclude(text, "\nlb backends COMMAND\n");
  });

  it("of a command has its options and its arguments", () => {
    const text = help1("backends", "drain");
    assert.include(text, "\n  lb backends drain [--url URL] ID\n");
    for (const part of ["\nID\n    which one", "\n--url URL\n", "\n--help, -h\n"]) assert.include(text, part);
  });

  it("wraps what is long", () => {
    const long = Help.text([leaf("lb", { about: "word ".repeat(100).trim() })], [], [], false);
    for (const line of long.split("\n")) assert.isAtMost(line.length, 100);
  });
});
