/** Packages of the registry that ours carry parts of, each by the version and the checksum of a lockfile. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Locked {
  readonly name: string;
  readonly version: string;
  /** `sha512-` and the checksum in base64. */
  readonly integrity: string;
}

/** What a lockfile says of a package. */
export const locked = (lockfile: string, name: string): Locked => {
  const { packages }: { readonly packages: Readonly<Record<string, Partial<Locked>>> } = JSON.parse(
    readFileSync(lockfile, "utf8"),
  );
  const { integrity, version } = packages[`node_modules/${name}`] ?? {};
  if (integrity === undefined || version === undefined)
    throw new Error(`${lockfile} has no ${name}: npm install --package-lock-only --force writes it`);
  return { name, version, integrity };
};

const checksum = (path: string): string =>
  `sha512-${createHash("sha512").update(readFileSync(path)).digest("base64")}`;

/** The archive of a package, in a folder that keeps what was downloaded before. */
export const archive = ({ integrity, name, version }: Locked, folder: string): string => {
  mkdirSync(folder, { recursive: true });
  // As npm calls it.
  const path = join(folder, `${name.replace("@", "").replace("/", "-")}-${version}.tgz`);
  if (existsSync(path) && checksum(path) === integrity) return path;
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder, `${name}@${version}`], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const found = checksum(path);
  if (found !== integrity)
    throw new Error(`${name}@${version} has the checksum ${found}, and the lockfile says ${integrity}`);
  return path;
};

/** Extracts files of an archive, by their paths in the package, into a folder. */
export const extract = (path: string, files: ReadonlyArray<string>, folder: string): void => {
  mkdirSync(folder, { recursive: true });
  const members = files.map((file) => `package/${file}`);
  execFileSync("tar", ["-xzf", path, "-C", folder, "--strip-components=1", "--no-same-owner", ...members]);
};
