/** The manual page, from what `--help` prints: both say what the tables of commands and of settings say. Pure. */

/** A line as roff takes it: a dash is one that a search finds, and a dot at its start is no request. */
const escaped = (line: string): string =>
  line
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^(?=[.'])/, "\\&");

const exitStatus: ReadonlyArray<readonly [code: string, meaning: string]> = [
  ["0", "It ended as it was told to."],
  ["64", "A setting or an argument is wrong; the standard error output says which."],
  ["1", "It could not run for another reason, which the standard error output says."],
];

const files: ReadonlyArray<readonly [path: string, meaning: string]> = [
  ["/etc/zeitwork/load-balancer.env", "The settings of the service, as systemd reads them."],
  ["/usr/share/doc/zeitwork-load-balancer", "All documents."],
];

const entry = (head: string, about: string): string => `.TP\n.B ${escaped(head)}\n${escaped(about)}`;

/** Entries of help: a line that is not indented, and indented ones that say what it is. */
const entries = (text: string): ReadonlyArray<string> =>
  text
    .split(/\n{2,}/)
    .filter((each) => each.trim() !== "")
    .map((each) => {
      const [head = "", ...about] = each.trim().split("\n");
      return entry(head, about.map((line) => line.trim()).join(" "));
    });

/** The page in section 8, of a version and a day. */
export const manualPage = (help: string, version: string, day: string): string => {
  const [, usage = "", ...sections] = help.split(/^([A-Z]+)$/m).slice(1);
  const [synopsis = "", ...about] = usage.trim().split(/\n{2,}/);
  return `${[
    `.TH LOAD\\-BALANCER 8 ${escaped(day)} "zeitwork\\-load\\-balancer ${escaped(version)}"`,
    ".SH NAME\nload\\-balancer \\- layer 4 (TCP) load balancer",
    `.SH SYNOPSIS\n${escaped(synopsis)}`,
    `.SH DESCRIPTION\n${about.map((text) => escaped(text.replaceAll("\n", " "))).join("\n.PP\n")}`,
    ...sections.flatMap((text, index) => (index % 2 === 0 ? [`.SH ${text}`] : entries(text))),
    ".SH EXIT STATUS",
    ...exitStatus.map(([code, meaning]) => entry(code, meaning)),
    ".SH FILES",
    ...files.map(([path, meaning]) => entry(path, meaning)),
  ].join("\n")}\n`;
};
