/**
 * `npm run package`: a .deb and a tarball of the built program, for each architecture. `--help` lists its options.
 *
 * Two builds of one commit are the same bytes: all times are that of the commit (or of SOURCE_DATE_EPOCH), and nothing
 * depends on the machine.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { manualPage } from "./ManualPage.js";
import { type Architecture, architectures, program, type Sources } from "./Program.js";
import { files, md5sums, settle, size, write } from "./Tree.js";

const kinds = ["deb", "tarball"] as const;
type Kind = (typeof kinds)[number];

const help = `npm run package -- [options]

Builds packages of the load balancer into build/packages: a .deb and a tarball for each architecture, with a Node of
their own. It needs dpkg-deb, tar, xz, and the registry for what was not downloaded before.

  --arch a,b        of ${Object.keys(architectures).join(", ")} (default: all)
  --version V       the version (default: that of package.json, + and the time of the commit)
  --kinds a,b       of ${kinds.join(", ")} (default: all)
  --compression C   of the .deb: xz, zstd or none (default: xz)
  --out FOLDER      where they are put (default: build/packages)
  --help            prints this`;

/** The root of the checkout, seen from where this file is compiled to. */
const root = fileURLToPath(new URL("../../../", import.meta.url));
const from = (path: string) => join(root, path);
const text = (path: string) => readFileSync(from(path), "utf8");

const run = (command: string, args: ReadonlyArray<string>): string =>
  execFileSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

/** Seconds since 1970. */
const time = Number(process.env["SOURCE_DATE_EPOCH"] ?? run("git", ["log", "-1", "--format=%ct"]));

/** `20260131120000`. */
const stamp = new Date(time * 1000)
  .toISOString()
  .replace(/\.\d+Z$/, "")
  .replace(/\D/g, "");

const gzip = (content: string): Buffer => gzipSync(content, { level: 9 });

/** What the program itself prints. The one in `dist` runs on any architecture, and finds its files in this checkout. */
const printed = (...args: ReadonlyArray<string>) => run(process.execPath, [from("dist/bin.js"), ...args]);

const launched = "/usr/lib/zeitwork-load-balancer/current/bin/load-balancer";

/** A unit as it stands in the checkout, for files where the .deb puts them and a Node that is known. */
const unit = (name: string): string => {
  const given = text(`deployments/systemd/${name}`);
  const changed = given
    .replace(/^(?:# SIGUSR1 opens.*\n(?:#.*\n)*)?ExecStart=.*$/m, `ExecStart=${launched}`)
    .replaceAll("/opt/zeitwork-load-balancer/docs/", "/usr/share/doc/zeitwork-load-balancer/");
  if (!changed.includes(`ExecStart=${launched}\n`) || changed.includes("/opt/"))
    throw new Error(`${name} has an ExecStart= or a path that is not expected`);
  return changed;
};

const documentation = (folder: string): void => {
  for (const name of readdirSync(from("docs"))) {
    write(join(folder, name), readFileSync(from(`docs/${name}`)));
  }
};

const deb = (architecture: Architecture, folder: string, sources: Sources, options: Options): void => {
  const { version } = sources;
  const name = `zeitwork-load-balancer_${version}-1_${architectures[architecture]}`;
  const stage = join(folder, name);
  rmSync(stage, { recursive: true, force: true });
  const at = (path: string) => join(stage, path);
  const own = at(`usr/lib/zeitwork-load-balancer/${version}`);
  cpSync(join(folder, `program-${architecture}`), own, { recursive: true, verbatimSymlinks: true });
  rmSync(join(own, "copyright"));
  mkdirSync(at("usr/bin"), { recursive: true });
  symlinkSync("../lib/zeitwork-load-balancer/current/bin/load-balancer", at("usr/bin/load-balancer"));
  for (const name of ["zeitwork-load-balancer.service", "zeitwork-load-balancer@.service"])
    write(at(`usr/lib/systemd/system/${name}`), unit(name));
  write(
    at("usr/lib/systemd/system/zeitwork-load-balancer.socket"),
    text("deployments/systemd/zeitwork-load-balancer.socket"),
  );
  write(at("etc/zeitwork/load-balancer.env"), text("deployments/config/load-balancer.env"), 0o600);

  const doc = at("usr/share/doc/zeitwork-load-balancer");
  documentation(doc);
  write(join(doc, "copyright"), readFileSync(join(folder, `program-${architecture}`, "copyright")));
  write(join(doc, "changelog.gz"), gzip(text("CHANGELOG.md")));
  const day = new Date(time * 1000).toUTCString().replace("GMT", "+0000");
  write(
    join(doc, "changelog.Debian.gz"),
    gzip(
      `zeitwork-load-balancer (${version}-1) unstable; urgency=medium\n\n  * Built from the sources of this version.\n\n` +
        ` -- Zeitwork <packages@zeitwork.invalid>  ${day}\n`,
    ),
  );
  write(
    at("usr/share/man/man8/load-balancer.8.gz"),
    gzip(manualPage(printed("--help"), version, new Date(time * 1000).toISOString().slice(0, 10))),
  );
  const completions = {
    bash: "bash-completion/completions/load-balancer",
    zsh: "zsh/vendor-completions/_load-balancer",
    fish: "fish/vendor_completions.d/load-balancer.fish",
  };
  for (const [shell, path] of Object.entries(completions))
    write(at(`usr/share/${path}`), printed("--completions", shell));
  write(at("usr/share/lintian/overrides/zeitwork-load-balancer"), text("deployments/packages/deb/overrides"));

  const carried = files(stage);
  const filled = (template: string) =>
    text(`deployments/packages/deb/${template}`)
      .replaceAll("@VERSION@", version)
      .replaceAll("@DEB_VERSION@", `${version}-1`)
      .replaceAll("@ARCHITECTURE@", architectures[architecture])
      .replaceAll("@SIZE@", String(Math.ceil(size(stage) / 1024)));
  write(at("DEBIAN/control"), filled("control"));
  write(
    at("DEBIAN/md5sums"),
    md5sums(
      stage,
      carried.filter((path) => !path.startsWith("etc/")),
    ),
  );
  write(at("DEBIAN/conffiles"), "/etc/zeitwork/load-balancer.env\n");
  for (const script of ["preinst", "postinst", "prerm", "postrm"])
    write(at(`DEBIAN/${script}`), filled(script), 0o755);
  settle(stage, time);
  execFileSync(
    "dpkg-deb",
    [
      "--root-owner-group",
      `-Z${options.compression}`,
      // With more, what comes out depends on how many there are.
      "--threads-max=1",
      "--build",
      stage,
      join(options.out, `${name}.deb`),
    ],
    { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, SOURCE_DATE_EPOCH: String(time) } },
  );
  rmSync(stage, { recursive: true });
};

/** The same files with the documents, the units and the environment file beside them. */
const tarball = (architecture: Architecture, folder: string, sources: Sources, options: Options): void => {
  const name = `zeitwork-load-balancer-${sources.version}-linux-${architecture}`;
  const stage = join(folder, name);
  rmSync(stage, { recursive: true, force: true });
  cpSync(join(folder, `program-${architecture}`), stage, { recursive: true });
  documentation(join(stage, "docs"));
  write(join(stage, "CHANGELOG.md"), text("CHANGELOG.md"));
  settle(stage, time);
  const tar = join(options.out, `${name}.tar`);
  const fixed = [
    "--sort=name",
    "--format=gnu",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    `--mtime=@${time}`,
  ];
  execFileSync("tar", ["-cf", tar, "-C", folder, ...fixed, name]);
  execFileSync("gzip", ["-nf", tar]);
  rmSync(stage, { recursive: true });
};

interface Options {
  readonly architectures: ReadonlyArray<Architecture>;
  readonly kinds: ReadonlyArray<Kind>;
  readonly version: string;
  readonly compression: string;
  readonly out: string;
}

const isKind = (name: string): name is Kind => kinds.some((kind) => kind === name);

const isArchitecture = (name: string): name is Architecture => Object.hasOwn(architectures, name);

/** The options, or what is wrong with them. */
const options = (): Options | string => {
  const { values } = parseArgs({
    options: {
      arch: { type: "string", default: Object.keys(architectures).join() },
      version: { type: "string", default: `${JSON.parse(text("package.json")).version}+${stamp}` },
      kinds: { type: "string", default: kinds.join() },
      compression: { type: "string", default: "xz" },
      out: { type: "string", default: "build/packages" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) return help;
  const asked = values.arch.split(",");
  const wrong = asked.find((name) => !isArchitecture(name));
  if (wrong !== undefined)
    return `--arch has ${JSON.stringify(wrong)}: give some of ${Object.keys(architectures).join()}`;
  const askedKinds = values.kinds.split(",");
  const wrongKind = askedKinds.find((name) => !isKind(name));
  if (wrongKind !== undefined)
    return `--kinds has ${JSON.stringify(wrongKind)}: give some of ${kinds.join()}`;
  if (!/^[0-9][0-9a-z.+~]*$/.test(values.version))
    return `--version is ${JSON.stringify(values.version)}: give digits, letters, dots, + and ~, a digit first`;
  if (!["xz", "zstd", "none"].includes(values.compression))
    return `--compression is ${JSON.stringify(values.compression)}: give xz, zstd or none`;
  return {
    architectures: asked.filter(isArchitecture),
    kinds: askedKinds.filter(isKind),
    version: values.version,
    compression: values.compression,
    out:
      join(root, values.out).startsWith(root) && !values.out.startsWith("/") ? from(values.out) : values.out,
  };
};

const build = (options: Options): void => {
  const folder = from("build/stage");
  const sources: Sources = { root, downloads: from("build/downloads"), version: options.version };
  mkdirSync(options.out, { recursive: true });
  for (const architecture of options.architectures) {
    program(join(folder, `program-${architecture}`), architecture, sources);
    if (options.kinds.includes("deb")) deb(architecture, folder, sources, options);
    if (options.kinds.includes("tarball")) tarball(architecture, folder, sources, options);
    rmSync(join(folder, `program-${architecture}`), { recursive: true });
  }
};

const asked = options();
if (typeof asked === "string") {
  process.stdout.write(`${asked}\n`);
  process.exitCode = asked === help ? 0 : 64;
} else build(asked);
