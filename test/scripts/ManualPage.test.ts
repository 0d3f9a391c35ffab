import { assert, describe, it } from "@effect/vitest";
import { manualPage } from "../../scripts/package/ManualPage.js";

const help = `USAGE

  load-balancer [COMMAND] [--version]

It runs.
It is set by environment variables.

COMMANDS

load-balancer check [--json]
    Reads the settings,
    and says so.

SETTINGS

PORT (default 8082)
    the port

.DOT (default none)
    a \\ and a - dash`;

describe("the manual page", () => {
  it("has an entry for each command and each setting of the help, in roff", () => {
    const page = manualPage(help, "1.0-2", "2026-01-31");
    const lines = page.split("\n");
    assert.strictEqual(lines[0], `.TH LOAD\\-BALANCER 8 2026\\-01\\-31 "zeitwork\\-load\\-balancer 1.0\\-2"`);
    assert.deepStrictEqual(
      lines.filter((line) => line.startsWith(".SH")),
      ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "SETTINGS", "EXIT STATUS", "FILES"].map(
        (title) => `.SH ${title}`,
      ),
    );
    assert.include(page, "\nIt runs. It is set by environment variables.\n");
    assert.include(
      page,
      ".SH COMMANDS\n.TP\n.B load\\-balancer check [\\-\\-json]\nReads the settings, and says so.\n.SH SETTINGS\n",
    );
    assert.include(page, ".TP\n.B PORT (default 8082)\nthe port\n");
    assert.include(page, ".TP\n.B \\&.DOT (default none)\na \\e and a \\- dash\n");
  });
});
