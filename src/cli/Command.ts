/**
 * Commands as a table: what there is to type. Parsing, `--help` and the completions of shells follow from it. Pure.
 */
import { Either } from "effect";
import { nearest } from "../config/Misspelling.js";
import { printable } from "../log/ForeignText.js";

/** `--name`, or `--name VALUE`. */
export interface Option {
  readonly name: string;
  /** `-w` for `--watch`: one letter. */
  readonly letter?: string;
  /** What stands for its value in a usage line: `URL`. Undefined for an option that has none. */
  readonly value?: string;
  /** The values that there are, where they can be listed. */
  readonly choices?: ReadonlyArray<string>;
  readonly about: string;
}

/** A word that has to be given: `ID`. */
export interface Argument {
  readonly name: string;
  readonly about: string;
}

/** What was typed behind a command. */
export interface Given {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  /** One for each argument of the command, in order. */
  readonly arguments: ReadonlyArray<string>;
}

export interface Command<Run> {
  readonly name: string;
  readonly about: string;
  readonly options: ReadonlyArray<Option>;
  readonly arguments: ReadonlyArray<Argument>;
  readonly commands: ReadonlyArray<Command<Run>>;
  /** Undefined where one of {@link commands} has to be named. */
  readonly run?: (given: Given) => Run;
}

/** A command that was found, with the commands that it belongs to: `load-balancer`, `backends`, `drain`. */
export type Path<Run> = readonly [Command<Run>, ...Array<Command<Run>>];

export const last = <Run>(path: Path<Run>): Command<Run> => path[path.length - 1] ?? path[0];

/** As it is typed: `load-balancer backends drain`. */
export const title = <Run>(path: Path<Run>): string => path.map(({ name }) => name).join(" ");

export interface Parsed<Run> {
  readonly path: Path<Run>;
  readonly given: Given;
}

/** `; did you mean status?`, where one of the words comes near. */
const suggestion = (word: string, words: ReadonlyArray<string>): string => {
  const meant = nearest(word, words);
  return meant === undefined ? "" : `; did you mean ${meant}?`;
};

/** Finds the command and what is given to it. `everywhere` are options that every command has. */
export const parse = <Run>(
  root: Command<Run>,
  everywhere: ReadonlyArray<Option>,
  words: ReadonlyArray<string>,
): Either.Either<Parsed<Run>, string> => {
  const path: [Command<Run>, ...Array<Command<Run>>] = [root];
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const given: Array<string> = [];
  const rest = [...words];
  while (rest.length > 0) {
    const word = rest.shift() ?? "";
    const command = last(path);
    if (word === "--") {
      given.push(...rest.splice(0));
    } else if (word.startsWith("-") && word !== "-") {
      const [typed = "", ...parts] = word.split("=");
      const options = [...command.options, ...everywhere];
      const option = options.find(({ letter, name }) => typed === `--${name}` || typed === `-${letter}`);
      if (option === undefined) {
        const names = options.map(({ name }) => `--${name}`);
        return Either.left(`there is no option ${printable(typed)}${suggestion(typed, names)}`);
      }
      const { choices, name, value } = option;
      if (value === undefined) {
        if (parts.length > 0) return Either.left(`--${name} takes no value`);
        flags.add(name);
        continue;
      }
      const text = parts.length > 0 ? parts.join("=") : rest.shift();
      if (text === undefined) return Either.left(`--${name} needs a value: ${choices?.join(", ") ?? value}`);
      if (choices !== undefined && !choices.includes(text)) {
        return Either.left(`--${name} ${printable(text)}: accepted: ${choices.join(", ")}`);
      }
      values.set(name, text);
    } else {
      const next = given.length === 0 ? command.commands.find(({ name }) => name === word) : undefined;
      if (next === undefined) given.push(word);
      else path.push(next);
    }
  }
  return Either.right({ path, given: { flags, values, arguments: given } });
};

/** What is wrong with the words that are left when the command is known; undefined where it can be run. */
export const misuse = <Run>({ given, path }: Parsed<Run>): string | undefined => {
  const command = last(path);
  const names = command.commands.map(({ name }) => name);
  const [first] = given.arguments;
  if (first !== undefined && names.length > 0) {
    return `there is no command ${printable([...path.slice(1).map(({ name }) => name), first].join(" "))}${suggestion(first, names)}`;
  }
  if (command.run === undefined) return `${title(path)} needs one of ${names.join(", ")}`;
  const missing = command.arguments.find((_, i) => (given.arguments[i] ?? "") === "");
  if (missing !== undefined) return `${title(path)} needs ${missing.name}: ${missing.about}`;
  const extra = given.arguments[command.arguments.length];
  return extra === undefined ? undefined : `${title(path)} has nothing to do with ${printable(extra)}`;
};
