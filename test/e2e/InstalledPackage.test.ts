import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, named } from "../support/Backends.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Runs a command, and answers what it printed; what it says when it fails is in the message. */
const run = (command: string, ...args: ReadonlyArray<string>) =>
  Effect.promise(() => promisify(execFile)(command, args, { cwd: root, maxBuffer: 2 ** 28 })).pipe(
    Effect.map(({ stdout }) => stdout),
  );

const packager = ".bench/scripts/package/package.js";

/** The options of a build that compresses nothing, into a folder. */
const options = (out: string, version: string, arch: string) => [
  ...["--out", out, "--version", version, "--arch", arch, "--compression", "none"],
];

/** What is missing here; in CI nothing may be. */
const why =
  process.platform !== "linux" || process.arch !== "x64"
    ? "for Linux on x64 only"
    : process.getuid?.() !== 0
      ? "needs root"
      : process.env["CI"] === undefined && Real.missing({ "dpkg-deb": "dpkg", unshare: "util-linux" });

const packageOf = (folder: string, version: string, architecture: string) =>
  join(folder, `zeitwork-load-balancer_${version}-1_${architecture}.deb`);

/** Where the first four bytes behind an ELF header's type say which processor it is for: 62 is x86-64, 183 is 64-bit ARM. */
const machineAt = 18;

/** The system as it is here, with changes that go with the scope: runs a command in it. */
const system = Effect.gen(function* () {
  const keeper = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const script = `
        set -e
        base=$(mktemp -d)
        mount -t tmpfs tmpfs "$base"
        mkdir "$base/upper" "$base/work" "$base/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
        mount -t proc proc "$base/root/proc"
        mount --bind /dev "$base/root/dev"
        echo "$base"
        exec cat`;
      const keeper = spawn("unshare", ["--mount", "sh", "-c", script], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      const [line] = await once(keeper.stdout, "data");
      return { keeper, base: String(line).trim() };
    }),
    ({ base, keeper }) =>
      Effect.promise(async () => {
        const ended = once(keeper, "exit");
        keeper.stdin.end();
        await ended;
        await promisify(execFile)("rmdir", [base]);
      }),
  );
  return ["nsenter", `--mount=/proc/${keeper.keeper.pid}/ns/mnt`, "chroot", `${keeper.base}/root`] as const;
});

/** Makes each data thread fail as soon as there is such a file. */
const mortal = (deadly: string) => `{
  const { existsSync } = process.getBuiltinModule("node:fs");
  const { isMainThread } = process.getBuiltinModule("node:worker_threads");
  const now = performance.now.bind(performance);
  if (!isMainThread) performance.now = () => {
    if (existsSync(${JSON.stringify(deadly)})) throw new Error("the end of a test");
    return now();
  };
}`;

describe.skipIf(Boolean(why))(`the packages${why ? ` (${why})` : ""}`, { timeout: 1_200_000 }, () => {
  it.scopedLive("are the same bytes again, go to a fresh system, and leave it as it was", () =>
    Effect.gen(function* () {
      const folder = yield* Real.folder;
      const again = yield* Real.folder;
      yield* run("npm", "run", "package:built", "--", ...options(folder, "1.0.0", "x64,arm64"));
      yield* run("npm", "run", "package:built", "--", ...options(again, "1.0.0", "x64"));
      const built = readdirSync(again);
      assert.lengthOf(built, 2);
      for (const name of built)
        assert.isTrue(readFileSync(join(folder, name)).equals(readFileSync(join(again, name))), name);

      // Nobody here can run it.
      const arm = packageOf(folder, "1.0.0", "arm64");
      const listed = (yield* run("dpkg-deb", "--contents", arm)).split("\n");
      const natives = listed.filter((line) => line.endsWith(".node"));
      assert.lengthOf(natives, 1);
      assert.include(natives[0] ?? "", "/koffi-linux-arm64/linux_arm64/koffi.node");
      const unpacked = join(again, "arm64");
      yield* run("dpkg-deb", "--extract", arm, unpacked);
      const own = join(unpacked, "usr/lib/zeitwork-load-balancer/1.0.0");
      for (const path of ["bin/node", "node_modules/@koromix/koffi-linux-arm64/linux_arm64/koffi.node"])
        assert.strictEqual(readFileSync(join(own, path)).readUInt16LE(machineAt), 183, path);

      const script = join(folder, "mortal.cjs");
      writeFileSync(script, mortal("/root/deadly"));
      const [enter, ...inside] = yield* system;
      const within = (...command: ReadonlyArray<string>) => run(enter, ...inside, ...command);
      const first = packageOf(folder, "1.0.0", "amd64");
      yield* run("node", packager, ...options(folder, "1.1.0", "x64"));
      const second = packageOf(folder, "1.1.0", "amd64");
      // The folder of these tests is below, and what is written there later need not be seen.
      for (const [path, name] of [
        [first, "first.deb"],
        [second, "second.deb"],
        [script, "mortal.cjs"],
      ] as const)
        yield* within("cp", path, `/root/${name}`);

      yield* within("dpkg", "--install", "/root/first.deb");
      const version = within("load-balancer", "--version");
      assert.strictEqual(yield* version, "1.0.0\n");
      assert.include(
        yield* within("zcat", "/usr/share/man/man8/load-balancer.8.gz"),
        "\n.B HALF_CLOSED_TIMEOUT (default ",
      );
      yield* within("sh", "-c", "echo PORT=9000 >>/etc/zeitwork/load-balancer.env");

      const backend = yield* named("a");
      const program = yield* Program.start(
        "linux",
        {
          BACKENDS: `127.0.0.1:${backend.port}`,
          LB_THREADS: "1",
          ...Program.requiring("/root/mortal.cjs"),
        },
        { command: [enter, ...inside, "load-balancer"], cwd: "/" },
      );
      yield* program.healthy(1);
      assert.strictEqual(yield* ask(program.port), "a");

      // dpkg has removed the old files by then, and the new ones wait to be set up.
      yield* within("dpkg", "--unpack", "/root/second.deb");
      assert.strictEqual(yield* version, "1.0.0\n");
      yield* within("dpkg", "--configure", "zeitwork-load-balancer");
      assert.strictEqual(yield* version, "1.1.0\n");
      const folders = within("ls", "-A", "/usr/lib/zeitwork-load-balancer");
      assert.strictEqual(yield* folders, "1.1.0\ncurrent\n");
      assert.match(yield* within("tail", "-n1", "/etc/zeitwork/load-balancer.env"), /^PORT=9000$/m);

      // The one that runs needs none of its files any more.
      yield* within("touch", "/root/deadly");
      yield* program.awaitLogged(
        "a data thread has ended: its connections were reset, and another is started",
      );
      yield* within("rm", "/root/deadly");
      yield* program.awaitLogged("a data thread was started in its place");
      assert.strictEqual(yield* ask(program.port), "a");
      yield* program.signal("SIGTERM");
      assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });

      yield* within("dpkg", "--install", "/root/first.deb");
      assert.strictEqual(yield* version, "1.0.0\n");
      yield* within("dpkg", "--remove", "zeitwork-load-balancer");
      assert.strictEqual(yield* within("ls", "/etc/zeitwork"), "load-balancer.env\n");
      yield* within("dpkg", "--purge", "zeitwork-load-balancer");
      // Whoever has built the image has the same files in the store of a container engine.
      const stores = ["/var/lib/containers", "/var/lib/docker"];
      const apart = stores.flatMap((store) => ["-not", "-path", `${store}/*`]);
      assert.strictEqual(
        yield* within("find", "/usr", "/etc", "/var", "-xdev", "-name", "*zeitwork*", ...apart),
        "",
      );
    }),
  );
});
