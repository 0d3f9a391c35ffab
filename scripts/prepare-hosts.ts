import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkout, debian, folder, imageTools, slim, unavailable, versions } from "../test/service/Host.js";

const root = fileURLToPath(new URL("..", import.meta.url));

const run = (command: string, ...args: ReadonlyArray<string>): void => {
  execFileSync(command, args, { cwd: root, stdio: "inherit" });
};

/** Beyond what every Debian has and apt: what docs/systemd.md uses, and a clock that can be set. */
const packages = ["systemd-sysv", "dbus", "curl", "libfaketime"];

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

/** What images are made from. */
const makeSlim = (): void => {
  if (!existsSync(slim)) run("mmdebstrap", "--quiet", "--variant=apt", "bookworm", slim);
};

/** What docs/systemd.md copies out of a checkout, with Node beside it. */
const makeCheckout = (): void => {
  rmSync(checkout, { recursive: true, force: true });
  mkdirSync(checkout);
  for (const name of [
    "package.json",
    "package-lock.json",
    "README.md",
    "dist",
    "docs",
    "deployments",
    "load-balancer",
  ])
    cpSync(join(root, name), join(checkout, name), { recursive: true, verbatimSymlinks: true });
  // By links, which need no room. What npm rewrites is not among them.
  run("cp", "-al", join(root, "node_modules"), checkout);
  rmSync(join(checkout, "node_modules/.package-lock.json"), { force: true });
  run("npm", "prune", "--omit=dev", "--offline", "--silent", "--no-audit", `--prefix=${checkout}`);
  copyFileSync(process.execPath, join(folder, "node"));
};

/** Tests of the service need the packages of two versions, and a Debian to install them on. */
export default function prepareHosts(): void {
  if (unavailable !== undefined) return;
  mkdirSync(folder, { recursive: true });
  makeDebian();
  const withImage = imageTools === undefined;
  if (withImage) makeSlim();
  const [first, ...others] = versions.map((version, i) => [
    ...["--out", join(folder, version), "--version", version],
    ...["--arch", "x64", "--kinds", i === 0 && withImage ? "deb,tarball" : "deb", "--compression", "none"],
  ]);
  run("npm", "run", "--silent", "package", "--", ...(first ?? []));
  for (const options of others) run("node", ".bench/scripts/package/package.js", ...options);
  makeCheckout();
}
