import { execFileSync } from "node:child_process";
import { assert, describe, it } from "@effect/vitest";
import type { Command, Option } from "../../src/cli/Command.js";
import { type Shell, script, shells } from "../../src/cli/Completions.js";
import * as Real from "../support/RealServer.js";

const json: Option = { name: "json", about: "Print JSON: it's for programs." };
const url: Option = { name: "url", value: "URL", about: "Where." };
const watch: Option = { name: "watch", letter: "w", about: "Go on." };
const shell: Option = { name: "completions", value: "SHELL", choices: ["bash", "zsh"], about: "Which." };
const help: Option = { name: "help", letter: "h", about: "Help." };

const command = (
  name: string,
  options: ReadonlyArray<Option>,
  commands: ReadonlyArray<Command<void>> = [],
) => ({
  name,
  about: `What ${name} does: 'this'.`,
  options,
  arguments: [],
  commands,
  run: () => {},
});

const root: Command<void> = command(
  "load-balancer",
  [shell],
  [
    command("check", [json]),
    command("status", [url, json, watch]),
    command("backends", [], [command("drain", [url]), command("disable", [url])]),
  ],
);

const programs = ["load-balancer", "zeitwork-load-balancer"];

/** What the words are that each shell would offer for the last of these. */
const offered: Readonly<Record<Shell, (words: ReadonlyArray<string>) => ReadonlyArray<string>>> = {
  bash: (words) =>
    run("bash", [
      "--norc",
      "-c",
      `${script("bash", programs, root, [help])}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
[[ $(complete -p "$1") =~ -F\\ ([^ ]+) ]] && "\${BASH_REMATCH[1]}"
((\${#COMPREPLY[@]} == 0)) || printf '%s\\n' "\${COMPREPLY[@]}"`,
      "bash",
      ...words,
    ]),
  // Outside of its line editor zsh has no candidates to add to: what is offered is printed instead.
  zsh: (words) =>
    run("zsh", [
      "-f",
      "-c",
      `typeset -A completer
compdef() { local name; for name in "\${@:2}"; do completer[$name]=$1; done }
compadd() { print -l -- "\${@:2}" }
_describe() { local each; for each in "\${(@P)2}"; do print -r -- "\${each%%:*}"; done }
${script("zsh", programs, root, [help])}
words=("$@"); CURRENT=$#
$completer[$1]`,
      "zsh",
      ...words,
    ]).filter((word) => word.startsWith(words.at(-1) ?? "")),
  fish: (words) =>
    run("fish", [
      "--no-config",
      "-c",
      `${script("fish", programs, root, [help])}
complete -C "$argv"`,
      words.join(" "),
    ]).map((line) => line.split("\t")[0] ?? ""),
};

const run = (shell: Shell, args: ReadonlyArray<string>): ReadonlyArray<string> =>
  execFileSync(Real.pathOf(shell), args, {
    encoding: "utf8",
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" },
    stdio: ["ignore", "pipe", "inherit"],
  })
    .split("\n")
    .filter((line) => line !== "");

for (const name of shells) {
  const why = Real.missing({ [name]: name });

  describe.skipIf(why !== undefined)(`completions for ${name}${why === undefined ? "" : ` (${why})`}`, () => {
    const offers = (...words: ReadonlyArray<string>) => offered[name](words);

    it("offer the commands, whatever the program is called by", () => {
      for (const program of programs) {
        assert.includeMembers([...offers(program, "")], ["check", "status", "backends"]);
        assert.deepStrictEqual(offers(program, "st"), ["status"]);
      }
    });

    it("offer what belongs behind a command, and nothing else", () => {
      assert.sameMembers([...offers("load-balancer", "backends", "d")], ["drain", "disable"]);
      assert.deepStrictEqual(offers("load-balancer", "backends", "dr"), ["drain"]);
      assert.isEmpty(offers("load-balancer", "status", "ch"));
      assert.isEmpty(offers("load-balancer", "backends", "drain", "st"));
    });

    it("offer the options of each command", () => {
      assert.sameMembers(
        [...offers("load-balancer", "status", "--")],
        ["--url", "--json", "--watch", "--help"],
      );
      assert.sameMembers([...offers("load-balancer", "backends", "drain", "--")], ["--url", "--help"]);
      assert.sameMembers([...offers("load-balancer", "--")], ["--completions", "--help"]);
      // Also behind an option and its value.
      assert.deepStrictEqual(offers("load-balancer", "status", "--url", "http://a", "--j"), ["--json"]);
    });

    it("offer the values of an option that has some, and no command in the place of another's", () => {
      assert.sameMembers([...offers("load-balancer", "--completions", "")], ["bash", "zsh"]);
      assert.isEmpty(offers("load-balancer", "status", "--url", ""));
    });
  });
}
