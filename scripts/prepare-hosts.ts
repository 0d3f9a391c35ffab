import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian, folder, unavailable, versions } from "../test/service/Host.js";

const root = fileURLToPath(new URL("..", import.meta.url));

const run = (command: string, ...args: ReadonlyArray<string>): void => {
  execFileSync(command, args, { cwd: root, stdio: "inherit" });
};

/** Beyond what every Debian has and apt: what docs/systemd.md uses. */
const packages = ["systemd-sysv", "dbus", "curl"];

/** The file system of a fresh Debian, which is kept until other packages are asked for. */
const makeDebian = (): void => {
  const stamp = `${debian}.packages`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === packages.join()) return;
  rmSync(debian, { recursive: true, force: true });
  // One that has none asks for a language, and more, when it boots.
  const installed = `--customize-hook=echo ${"5e".repeat(16)} >"$1/etc/machine-id"`;
  run(
    "mmdebstrap",
    "--quiet",
    "--variant=apt",
    `--include=${packages.join()}`,
    installed,
    "bookworm",
    debian,
  );
  writeFileSync(stamp, packages.join());
};

/** Tests of the service need the packages of two versions, and a Debian to install them on. */
export default function prepareHosts(): void {
  if (unavailable !== undefined) return;
  mkdirSync(folder, { recursive: true });
  makeDebian();
  const [first, ...others] = versions.map((version) => [
    ...["--out", join(folder, version), "--version", version],
    ...["--arch", "x64", "--kinds", "deb", "--compression", "none"],
  ]);
  run("npm", "run", "--silent", "package", "--", ...(first ?? []));
  for (const options of others) run("node", ".bench/scripts/package/package.js", ...options);
}
