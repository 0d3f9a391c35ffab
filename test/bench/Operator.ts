/**
 * An Operator that lists any number of instances, all at one address: an nginx that serves a file, so that a long list
 * takes no time of the process that measures.
 */
import { mkdir, open, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Effect, type Scope } from "effect";
import * as Ports from "../support/Ports.js";
import * as Daemon from "./Daemon.js";
import { nginx, nginxHead } from "./Origin.js";

export interface Operator {
  readonly url: string;
  /** From the next answer on so many instances are listed, of which the first so many run. */
  readonly lists: (instances: number, running: number) => Effect.Effect<void>;
}

const config = (folder: string, port: number): string => `${nginxHead(folder)}
  worker_processes 1;
  http {
    access_log off;
    sendfile on;
    default_type application/json;
    ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((part) => `${part}_temp_path ${folder}/${part};`).join("\n    ")}
    server {
      listen 127.0.0.1:${port};
      location = /api/v1/instances { alias ${folder}/list.json; }
    }
  }`;

const entry = (index: number, running: number, port: number): string =>
  JSON.stringify({
    id: `vm-${index}`,
    ip_address: "127.0.0.1",
    default_port: port,
    state: index < running ? "running" : "stopped",
  });

/** A whole list takes the place of the one before, whoever reads meanwhile. */
const write = async (folder: string, instances: number, running: number, port: number): Promise<void> => {
  const path = join(folder, "next.json");
  const file = await open(path, "w");
  await file.write("[");
  for (let from = 0; from < instances; from += 1000) {
    const entries = Array.from({ length: Math.min(1000, instances - from) }, (_, i) =>
      entry(from + i, running, port),
    );
    await file.write(`${from === 0 ? "" : ","}${entries.join(",")}`);
  }
  await file.write("]");
  await file.close();
  await rename(path, join(folder, "list.json"));
};

/** Starts one that lists one backend, which is at this port; with its files in a folder. */
export const start = (
  backend: number,
  parent: string,
): Effect.Effect<Operator, Daemon.DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const port = yield* Ports.unused;
    const folder = join(parent, `operator-${port}`);
    const url = `http://127.0.0.1:${port}`;
    const lists = (instances: number, running: number) =>
      Effect.promise(() => write(folder, instances, running, backend));
    yield* Effect.promise(async () => {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "nginx.conf"), config(folder, port));
    });
    yield* lists(1, 1);
    const file = join(folder, "nginx.conf");
    const daemon = yield* Daemon.start(nginx, ["-p", folder, "-c", file, "-e", "stderr"]);
    yield* Daemon.awaited(
      daemon,
      "the Operator (nginx)",
      Effect.tryPromise(async (signal) => {
        const answer = await fetch(`${url}/api/v1/instances`, { signal });
        return Array.isArray(await answer.json()) ? (true as const) : undefined;
      }).pipe(Effect.orElseSucceed(() => undefined)),
    );
    return { url, lists };
  });
