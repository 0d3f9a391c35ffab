/**
 * What follows from the table of settings and stands in files: the rows of docs/settings.md and README.md, and
 * deployments/config/load-balancer.env. `npm run settings` writes them anew.
 */
import { variables } from "../../src/config/Settings.js";

type Listed = (typeof variables)[number];

/** The row of one setting in the table of settings. */
const row = ({ about, accepted, default: text, name }: Listed): string =>
  `| \`${name}\` | ${text === undefined ? "none" : `\`${text}\``} | ${about}. Accepted: ${accepted} |`;

const table = ["| variable | default | what it is |", "|---|---|---|", ...variables.map(row)].join("\n");

/** A page with the table of all settings in place of the one that it has. */
export const withTable = (page: string): string => page.replace(/^\| variable \|.*(\n\|.*)*/m, () => table);

/** A page in which the row of each setting that it shows is that of the table. */
export const withRows = (page: string): string =>
  page.replace(/^\| `([A-Z_]+)` \|.*$/gm, (line, name: string) => {
    const setting = variables.find((each) => each.name === name);
    return setting === undefined ? line : row(setting);
  });

const head = `\
# Settings of the Zeitwork load balancer, as systemd reads them: install as /etc/zeitwork/load-balancer.env.
#
# Each setting stands here with its default. To change one, take the # away and write another value.
# systemd keeps everything behind the = sign: no comment may follow a value, and no quotes are needed.
# Durations have a unit: 500ms, 5s, 1m, 2h. A wrong value stops the start, and the journal says what is accepted.
#
# Once it holds OPERATOR_TOKEN, this file must be read by root alone (owner root:root, mode 0600): systemd reads
# it as root and hands the values on, so the service's own user needs no right to it.
`;

/** The text as lines of comment. */
const comment = (text: string): string => {
  const lines = ["#"];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (longer.length > 118) lines.push(`# ${word}`);
    else lines[lines.length - 1] = longer;
  }
  return lines.join("\n");
};

const entry = ({ about, accepted, default: text = "", name }: Listed): string =>
  [
    comment(`${about.charAt(0).toUpperCase()}${about.slice(1)}. Accepted: ${accepted}.`),
    `#${name}=${text}`,
  ].join("\n");

/** deployments/config/load-balancer.env */
export const environmentFile = `${[head, variables.map(entry).join("\n\n")].join("\n")}\n`;
