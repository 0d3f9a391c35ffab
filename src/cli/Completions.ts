/**
 * Scripts with which a shell completes what is typed, from the table of commands. Pure.
 */
import { type Command, last, type Option, type Path } from "./Command.js";

/** Shells that can complete the words of a program. POSIX sh cannot. */
export const shells = ["bash", "zsh", "fish"] as const;

export type Shell = (typeof shells)[number];

/** A command, by the words behind the program's name, and what may follow it. */
interface Place {
  /** `backends drain`; empty for the program itself. */
  readonly words: string;
  readonly commands: ReadonlyArray<{ readonly name: string; readonly about: string }>;
  readonly options: ReadonlyArray<Option>;
}

const places = <Run>(path: Path<Run>, everywhere: ReadonlyArray<Option>): ReadonlyArray<Place> => {
  const command = last(path);
  return [
    {
      words: path
        .slice(1)
        .map(({ name }) => name)
        .join(" "),
      commands: command.commands,
      options: [...command.options, ...everywhere],
    },
    ...command.commands.flatMap((inner: Command<Run>) => places([...path, inner], everywhere)),
  ];
};

const typed = ({ letter, name }: Option): ReadonlyArray<string> =>
  letter === undefined ? [`--${name}`] : [`--${name}`, `-${letter}`];

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Options with a value, each once. */
const valued = (all: ReadonlyArray<Place>): ReadonlyArray<Option> => {
  const found = new Map<string, Option>();
  for (const { options } of all) {
    for (const option of options) if (option.value !== undefined) found.set(option.name, option);
  }
  return [...found.values()];
};

const functionOf = (program: string): string => `_${program.replaceAll("-", "_")}`;

/** What the scripts call a place: each word with a space before it. */
const key = ({ words }: Place): string => (words === "" ? "" : ` ${words}`);

/** The steps from one command to the one that a word names, as the branches of a `case`. */
const steps = (all: ReadonlyArray<Place>): string =>
  all
    .filter(({ words }) => words !== "")
    .map((place) => `      ${quoted(key(place))}) place=${quoted(key(place))} ;;`)
    .join("\n");

/** What follows an option that has a value: its choices, or nothing that is known. */
const afterOptions = (all: ReadonlyArray<Place>, offer: (choices: string) => string): string =>
  valued(all)
    .map(({ choices, name }) =>
      choices === undefined
        ? `    --${name}) return ;;`
        : `    --${name})\n      ${offer(choices.join(" "))}\n      return\n      ;;`,
    )
    .join("\n");

const wordsOf = ({ commands, options }: Place): ReadonlyArray<string> => [
  ...commands.map(({ name }) => name),
  ...options.flatMap(typed),
];

const bash = (programs: ReadonlyArray<string>, all: ReadonlyArray<Place>): string => {
  const [name = ""] = programs;
  return `\
# Completions of ${name} for bash: source <(${name} --completions bash)
${functionOf(name)}() {
  local typing=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} place= words= i
  COMPREPLY=()
  case $before in
${afterOptions(all, (choices) => `COMPREPLY=($(compgen -W ${quoted(choices)} -- "$typing"))`)}
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$place \${COMP_WORDS[i]}" in
${steps(all)}
    esac
  done
  case $place in
${all.map((place) => `    ${quoted(key(place))}) words=${quoted(wordsOf(place).join(" "))} ;;`).join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$typing"))
}
complete -F ${functionOf(name)} ${programs.join(" ")}
`;
};

const zsh = (programs: ReadonlyArray<string>, all: ReadonlyArray<Place>): string => {
  const [name = ""] = programs;
  const described = (word: string, about: string) => quoted(`${word}:${about.replaceAll(":", "\\:")}`);
  return `\
# Completions of ${name} for zsh: source <(${name} --completions zsh), behind compinit.
${functionOf(name)}() {
  local before=\${words[CURRENT - 1]} place= i
  local -a candidates
  case $before in
${afterOptions(all, (choices) => `compadd -- ${choices}`)}
  esac
  for ((i = 2; i < CURRENT; i++)); do
    case "$place \${words[i]}" in
${steps(all)}
    esac
  done
  case $place in
${all
  .map(
    (place) =>
      `    ${quoted(key(place))}) candidates=(${[
        ...place.commands.map((command) => described(command.name, command.about)),
        ...place.options.flatMap((option) => typed(option).map((word) => described(word, option.about))),
      ].join(" ")}) ;;`,
  )
  .join("\n")}
  esac
  _describe ${quoted(name)} candidates
}
compdef ${functionOf(name)} ${programs.join(" ")}
`;
};

const fish = (programs: ReadonlyArray<string>, all: ReadonlyArray<Place>): string => {
  const [name = ""] = programs;
  const place = `_${name.replaceAll("-", "_")}_place`;
  const escaped = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = all.flatMap((each) => {
    const condition = `-n ${escaped(`${place} "${key(each)}"`)}`;
    return [
      ...each.commands.map(
        (command) => `${condition} -a ${escaped(command.name)} -d ${escaped(command.about)}`,
      ),
      ...each.options.map(({ about, choices, letter, name: option, value }) =>
        [
          condition,
          `-l ${option}`,
          ...(letter === undefined ? [] : [`-s ${letter}`]),
          ...(value === undefined ? [] : ["-x"]),
          ...(choices === undefined ? [] : [`-a ${escaped(choices.join(" "))}`]),
          `-d ${escaped(about)}`,
        ].join(" "),
      ),
    ];
  });
  return `\
# Completions of ${name} for fish: ${name} --completions fish | source
function ${place} -a wanted
    set -l place ""
    for word in (commandline -opc)[2..-1]
        switch "$place $word"
${all
  .filter(({ words }) => words !== "")
  .map((each) => `            case ${escaped(key(each))}\n                set place ${escaped(key(each))}`)
  .join("\n")}
        end
    end
    test "$place" = "$wanted"
end
${programs
  .flatMap((program) => [
    `complete -c ${program} -f`,
    ...lines.map((line) => `complete -c ${program} ${line}`),
  ])
  .join("\n")}
`;
};

/** The script for a shell; `programs` are the names by which the program is called, its own first. */
export const script = <Run>(
  shell: Shell,
  programs: ReadonlyArray<string>,
  root: Command<Run>,
  everywhere: ReadonlyArray<Option>,
): string => {
  const all = places([root], everywhere);
  switch (shell) {
    case "bash":
      return bash(programs, all);
    case "zsh":
      return zsh(programs, all);
    case "fish":
      return fish(programs, all);
  }
};
