/** The installed service, as an operator sees it. */
import type { Context } from "effect";
import { Effect } from "effect";
import type { Host } from "./Host.js";

export const unit = "zeitwork-load-balancer";

/** A line of the journal. */
export interface Line {
  /** 3 is an error, 4 a warning, 6 information. */
  readonly priority: number;
  readonly message: string;
  /** Who wrote it: `systemd`, or the name of the program. */
  readonly writer: string;
}

/** What the journal has of the service, systemd's own words about it included. */
export const journal = (host: Context.Tag.Service<Host>, name = unit): Effect.Effect<ReadonlyArray<Line>> =>
  Effect.map(host.run(`journalctl --sync && journalctl -u ${name} -o json --no-pager`), (text) =>
    text
      .trim()
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .map((fields) => ({
        priority: Number(fields.PRIORITY),
        message: String(fields.MESSAGE),
        writer: String(fields.SYSLOG_IDENTIFIER),
      })),
  );
