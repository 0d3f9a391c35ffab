/**
 * What `--help` prints. Pure.
 */
import { type Command, last, type Option, type Path, title } from "./Command.js";
import { type Colour, painted } from "./Table.js";

/** As an option is typed: `--watch, -w`, `--url URL`. */
const typed = ({ letter, name, value }: Option): string =>
  [
    `--${name}${value === undefined ? "" : ` ${value}`}`,
    ...(letter === undefined ? [] : [`-${letter}`]),
  ].join(", ");

/** The line of a command with all that can be given to it. */
const usage = <Run>(path: Path<Run>): string => {
  const { arguments: words, commands, options, run } = last(path);
  return [
    title(path),
    ...(commands.length === 0 ? [] : [run === undefined ? "COMMAND" : "[COMMAND]"]),
    ...options.map(({ name, value }) => `[--${name}${value === undefined ? "" : ` ${value}`}]`),
    ...words.map(({ name }) => name),
  ].join(" ");
};

const width = 100;

/** The text on lines of at most {@link width} characters, each indented. */
const wrapped = (text: string, indent: string): string => {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    const longer = line === "" ? `${indent}${word}` : `${line} ${word}`;
    if (longer.length > width && line !== "") lines.push(`${indent}${word}`);
    else lines[lines.length - 1] = longer;
  }
  return lines.join("\n");
};

/** One thing and what it is. */
export interface Entry {
  readonly head: string;
  readonly about: string;
}

/** Entries under a title. */
export interface Section {
  readonly title: string;
  readonly entries: ReadonlyArray<Entry>;
}

/** Every command that can be run below this one, with its usage. */
const below = <Run>(path: Path<Run>): ReadonlyArray<Entry> =>
  last(path).commands.flatMap((command: Command<Run>) => {
    const inner: Path<Run> = [...path, command];
    return [
      ...(command.run === undefined ? [] : [{ head: usage(inner), about: command.about }]),
      ...below(inner),
    ];
  });

/** The help of a command, with sections of its own below. */
export const text = <Run>(
  path: Path<Run>,
  everywhere: ReadonlyArray<Option>,
  more: ReadonlyArray<Section>,
  colours: boolean,
): string => {
  const paint = (what: string, colour: Colour) => painted(what, colour, colours);
  const command = last(path);
  const sections: ReadonlyArray<Section> = [
    { title: "COMMANDS", entries: below(path) },
    {
      title: "ARGUMENTS",
      entries: command.arguments.map(({ about, name }) => ({ head: name, about })),
    },
    {
      title: "OPTIONS",
      entries: [...command.options, ...everywhere].map((option) => ({
        head: typed(option),
        about: option.about,
      })),
    },
    ...more,
  ];
  return [
    paint("USAGE", "faint"),
    "",
    `  ${usage(path)}`,
    "",
    wrapped(command.about, ""),
    ...sections.flatMap(({ entries, title }) =>
      entries.length === 0
        ? []
        : [
            "",
            paint(title, "faint"),
            ...entries.flatMap(({ about, head }) => ["", head, wrapped(about, "    ")]),
          ],
    ),
  ].join("\n");
};
