/**
 * An EnvironmentFile as systemd reads it (systemd.exec(5)): a line that begins with # or ; is a comment, any other
 * that is not empty is KEY=value, and all that follows the = belongs to the value but white space around it.
 * Quotes and backslashes have a meaning of their own there. This file needs none, so they are taken for mistakes.
 */
export interface Assignment {
  readonly name: string;
  readonly value: string;
}

/** The assignments of a file, in order. Throws at a line whose meaning to systemd could surprise its reader. */
export const parse = (text: string): ReadonlyArray<Assignment> =>
  text.split("\n").flatMap((line, i) => {
    if (line.trim() === "" || /^\s*[#;]/.test(line)) return [];
    const assignment = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
    if (assignment === null) throw new Error(`line ${i + 1} is not KEY=value: ${line}`);
    const [, name = "", value = ""] = assignment;
    if (/["'\\]/.test(value)) throw new Error(`line ${i + 1} has a quote or a backslash: ${line}`);
    if (/\s[#;]/.test(value)) throw new Error(`line ${i + 1} has a comment that would be kept: ${line}`);
    if (value !== value.trim()) throw new Error(`line ${i + 1} has white space around its value: ${line}`);
    return [{ name, value }];
  });

/** The file with every setting that stands there as a comment (`#KEY=value`, no space) put into force. */
export const withAllInForce = (text: string): string => text.replace(/^#(?=[A-Z_]+=)/gm, "");
