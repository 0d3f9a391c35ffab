/** The folder of the program, as every kind of package carries it. */
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { archive, extract, locked } from "./Downloads.js";
import { write } from "./Tree.js";

/** As Node calls them, and as Debian does. */
export const architectures = { x64: "amd64", arm64: "arm64" } as const;

export type Architecture = keyof typeof architectures;

export interface Sources {
  /** The root of the checkout, built. */
  readonly root: string;
  /** Where what was downloaded is kept. */
  readonly downloads: string;
  readonly version: string;
}

const rule = `\n${"-".repeat(80)}\n\n`;

const swagger = `Swagger UI (in lib/docs.html)

Copyright SmartBear Software Inc.

Licensed under the Apache License, Version 2.0. On Debian its text is /usr/share/common-licenses/Apache-2.0;
elsewhere it is at https://www.apache.org/licenses/LICENSE-2.0
`;

/** Under which terms each part may be passed on. */
const copyright = (parts: Readonly<Record<"bundled" | "koffi" | "node" | "page", string>>): string =>
  [
    "The Zeitwork load balancer. All rights reserved.\n\nIt carries what follows, each part under its own terms.\n",
    `Node.js (bin/node)\n\n${parts.node}`,
    `koffi (node_modules)\n\n${parts.koffi}`,
    swagger,
    `In lib:\n\n${parts.bundled}`,
    `In page:\n\n${parts.page}`,
  ].join(rule);

/** Makes the folder: bin, lib, page, koffi with the native part of that architecture only, and `copyright`. */
export const program = (folder: string, architecture: Architecture, sources: Sources): void => {
  const { downloads, root, version } = sources;
  const from = (path: string) => join(root, path);
  const copy = (path: string, name: string, mode?: number) =>
    write(join(folder, name), readFileSync(from(path)), mode);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });

  const manifest = { name: "zeitwork-load-balancer", version, type: "module", private: true };
  write(join(folder, "package.json"), `${JSON.stringify(manifest)}\n`);
  cpSync(from("build/program/lib"), join(folder, "lib"), { recursive: true });
  rmSync(join(folder, "lib/licences.txt"));
  for (const name of ["worker.cjs", "worker.cjs.map"]) copy(`dist/transport/threads/${name}`, `lib/${name}`);
  cpSync(from("dist/page"), join(folder, "page"), { recursive: true });

  const node = locked(from("deployments/packages/package-lock.json"), `node-linux-${architecture}`);
  extract(archive(node, downloads), ["bin/node", "LICENSE"], folder);
  copy("deployments/packages/load-balancer", "bin/load-balancer", 0o755);

  for (const name of ["package.json", "index.js", "src/koffi/index.js", "src/koffi/src/static.js"])
    copy(`node_modules/koffi/${name}`, `node_modules/koffi/${name}`);
  const native = locked(from("package-lock.json"), `@koromix/koffi-linux-${architecture}`);
  extract(
    archive(native, downloads),
    ["package.json", "index.js", `linux_${architecture}/koffi.node`],
    join(folder, "node_modules", native.name),
  );

  const text = (path: string) => readFileSync(path, "utf8");
  write(
    join(folder, "copyright"),
    copyright({
      node: text(join(folder, "LICENSE")),
      koffi: text(from("node_modules/koffi/LICENSE.txt")),
      bundled: text(from("build/program/lib/licences.txt")),
      page: text(from("dist/page/assets/licences.txt")),
    }),
  );
  rmSync(join(folder, "LICENSE"));
};
