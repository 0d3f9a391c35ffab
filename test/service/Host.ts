/**
 * A fresh Debian with systemd as process 1, in namespaces of its own: of its network it has loopback and nothing else,
 * and what is written in it goes with the scope.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Context, Effect, Layer, type Scope } from "effect";
import * as Namespace from "../support/Namespace.js";
import { missing } from "../support/RealServer.js";
import { until, untilTrue } from "../support/RunningProgram.js";

/** Where what the tests need is made before they begin. */
export const folder = fileURLToPath(new URL("../../build/service/", import.meta.url));

/** The file system that each host begins with. */
export const debian = join(folder, "debian");

/** The files of what images are made from: a Debian as small as `debian:bookworm-slim`. */
export const slim = join(folder, "slim.tar");

/** A checkout after its first commands: built, and without what only developers need. */
export const checkout = join(folder, "checkout");

/** Two versions of the package. */
export const versions = ["1.0.0", "1.1.0"] as const;
export type Version = (typeof versions)[number];

/** Where a host finds this folder: the packages, in a folder for each version, the checkout, and a `node`. */
export const media = "/media";

/** What is missing here; in CI nothing may be. */
export const unavailable: string | undefined =
  process.platform !== "linux" || process.arch !== "x64"
    ? "for Linux on x64 only"
    : process.getuid?.() !== 0
      ? "needs root"
      : missing({
          mmdebstrap: "mmdebstrap",
          "systemd-nspawn": "systemd-container",
          nsenter: "util-linux",
          ip: "iproute2",
        });

/** What is missing for images, besides. */
export const imageTools: string | undefined = missing({ buildah: "buildah", crun: "crun" });

/** What a command did. */
export interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Host extends Context.Tag("test/Host")<
  Host,
  {
    /** Runs a script of sh as root, and answers what became of it. */
    readonly attempt: (script: string) => Effect.Effect<Done>;
    /** The same, where it must succeed: what it printed. */
    readonly run: (script: string) => Effect.Effect<string>;
    /** Shuts it down and boots it again, with the files that it has; goes on while it boots, as soon as scripts can run. */
    readonly reboot: Effect.Effect<void>;
    /** Waits until it has booted. */
    readonly booted: Effect.Effect<void>;
    /** Writes a file, and makes the folder that it is in. */
    readonly write: (path: string, text: string, mode?: string) => Effect.Effect<void>;
  }
>() {}

/** Waits until a command says that something is so; each look starts processes. */
export const eventually = (look: Effect.Effect<boolean>): Effect.Effect<void> =>
  untilTrue(look, "100 millis");

const execute = (command: string, args: ReadonlyArray<string>, input = "") =>
  Effect.promise(
    () =>
      new Promise<Done>((resolve) => {
        const running = execFile(
          command,
          args,
          { maxBuffer: 2 ** 28, timeout: 120_000, killSignal: "SIGKILL", cwd: "/" },
          (error, stdout, stderr) => {
            const code = error === null ? 0 : typeof error.code === "number" ? error.code : 128;
            resolve({ code, stdout, stderr: code === 128 ? `${stderr}\n${error}` : stderr });
          },
        );
        running.stdin?.on("error", () => {});
        running.stdin?.end(input);
      }),
  );

let hosts = 0;

/**
 * Control groups of its own, in each hierarchy that systemd uses: it takes the one that it finds itself in for the root,
 * and would share it with another host.
 */
const controlGroups = (name: string): Effect.Effect<ReadonlyArray<string>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
      const roots = mounts.flatMap((line) => {
        const [, path = "", type = "", options = ""] = line.split(" ");
        const used = type === "cgroup2" || (type === "cgroup" && options.split(",").includes("name=systemd"));
        return used ? [path] : [];
      });
      const folders = [...new Set(roots)].map((root) => join(root, name));
      for (const each of folders) mkdirSync(each);
      return folders;
    }),
    (folders) =>
      Effect.sync(() => {
        for (const each of folders) {
          const below = readdirSync(each, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isDirectory())
            .map((entry) => join(entry.parentPath, entry.name));
          for (const path of below.sort().reverse()) rmdirSync(path);
          rmdirSync(each);
        }
      }),
  );

const descendantsOf = (pid: number): ReadonlyArray<number> =>
  childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);

const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
      .trim()
      .split(" ")
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
};

/** Whether it is the first process of a namespace in the namespace of the script that boots it. */
const isFirst = (pid: number): boolean => {
  try {
    return /^NSpid:\t\d+\t\d+\t1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

/**
 * Boots one. The thread that the tests run on is in its network from then on: what they listen on is there, and what they
 * connect to.
 */
export const boot: Effect.Effect<Context.Tag.Service<Host>, never, Scope.Scope> = Effect.gen(function* () {
  const name = `load-balancer-${process.pid}-${hosts++}`;
  yield* Namespace.entered(name);
  const groups = yield* controlGroups(name);
  // In memory, over the Debian. That it ends with 133 is how it asks to be started again.
  const script = `
      set -e
      for group in ${groups.join(" ")}; do echo $$ >"$group/cgroup.procs"; done
      mount -t tmpfs tmpfs /mnt
      mkdir /mnt/upper /mnt/work /mnt/root
      mount -t overlay overlay -o lowerdir=${debian},upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
      while :; do
        status=0
        systemd-nspawn "$@" || status=$?
        [ $status = 133 ] || exit $status
      done`;
  const { first } = yield* Effect.acquireRelease(
    Effect.gen(function* () {
      const running = spawn(
        "setpriv",
        [
          // It ends with the process that runs the tests, also where that is killed.
          ...["--pdeathsig=KILL", "unshare", "--mount-proc", "--pid", "--fork", "--kill-child=KILL"],
          ...["sh", "-c", script, "sh"],
          ...["--boot", "--quiet", "--keep-unit", "--register=no", "--console=pipe"],
          ...["--directory=/mnt/root", `--network-namespace-path=/run/netns/${name}`],
          // The filters that are looked at are those of the unit.
          "--system-call-filter=@known",
          ...["--hostname=debian", `--machine=${name}`, `--bind-ro=${folder}:${media}`],
        ],
        { stdio: ["pipe", "pipe", "pipe"] },
      );
      const ended = once(running, "exit");
      let said = "";
      for (const stream of [running.stdout, running.stderr])
        stream.setEncoding("utf8").on("data", (text: string) => {
          said += text;
        });
      const first = until(
        Effect.suspend(() =>
          running.exitCode === null
            ? Effect.succeed(descendantsOf(running.pid ?? 0).find(isFirst))
            : Effect.dieMessage(`systemd-nspawn has ended: ${said}`),
        ),
      );
      yield* first;
      return { first, ended };
    }),
    ({ ended, first }) =>
      Effect.flatMap(first, (pid) =>
        Effect.promise(() => {
          // Without its first process, a namespace has none.
          process.kill(pid, "SIGKILL");
          return ended;
        }),
      ),
  );

  const environment = [
    ...["env", "-i", "--chdir=/root"],
    ...["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
  ];
  const inside = (command: ReadonlyArray<string>, input = "") =>
    Effect.flatMap(first, (pid) =>
      execute("nsenter", ["--target", String(pid), "--all", "--", ...environment, ...command], input),
    );
  const attempt = (script: string) => inside(["sh", "-c", script]);
  const run = (script: string) =>
    Effect.flatMap(attempt(script), ({ code, stderr, stdout }) =>
      code === 0
        ? Effect.succeed(stdout)
        : Effect.dieMessage(`${script}\nended with ${code}:\n${stdout}${stderr}`),
    );
  const write = (path: string, text: string, mode = "0644") =>
    Effect.flatMap(
      inside(
        ["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"', "sh", path, mode],
        text,
      ),
      ({ code, stderr }) => (code === 0 ? Effect.void : Effect.dieMessage(`${path}: ${stderr}`)),
    );
  const state = Effect.map(attempt("systemctl is-system-running"), ({ stdout }) => stdout.trim());
  const booted = eventually(Effect.map(state, (is) => is === "running"));
  yield* booted;
  const reboot = Effect.gen(function* () {
    const before = yield* first;
    yield* run("systemctl reboot");
    yield* eventually(Effect.map(first, (pid) => pid !== before));
    yield* eventually(Effect.map(state, (is) => /^(starting|running)$/.test(is)));
  });
  return Host.of({ attempt, run, write, reboot, booted });
});

/** A host that has the package. */
export const withPackage: Layer.Layer<Host> = Layer.scoped(
  Host,
  Effect.tap(boot, ({ run }) => run(`dpkg --install ${media}/1.0.0/*.deb`)),
);
