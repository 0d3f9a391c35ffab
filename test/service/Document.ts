/** The commands of docs/systemd.md, as they stand there. */
import { readFileSync } from "node:fs";

const text = readFileSync(new URL("../../docs/systemd.md", import.meta.url), "utf8");

/** The blocks of commands below a heading, in order. */
export const commands = (heading: string): ReadonlyArray<string> => {
  const section = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`docs/systemd.md has no heading "${heading}"`);
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
};
