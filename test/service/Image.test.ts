import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, describe, layer } from "@effect/vitest";
import { Context, Effect, Layer, type Scope } from "effect";
import { ask, listOf, named, talk } from "../support/Backends.js";
import * as Namespace from "../support/Namespace.js";
import { folder as temporary } from "../support/RealServer.js";
import { until, untilTrue } from "../support/RunningProgram.js";
import { imageTools, slim, folder as tarballs, unavailable, versions } from "./Host.js";

const containerfile = fileURLToPath(new URL("../../deployments/packages/Containerfile", import.meta.url));

/** What an image says of how it is run. */
interface Config {
  readonly User: string;
  readonly Env: ReadonlyArray<string>;
  readonly Entrypoint: ReadonlyArray<string>;
  readonly StopSignal: string;
}

class Image extends Context.Tag("test/Image")<
  Image,
  {
    readonly config: Config;
    /** Its files. */
    readonly root: string;
  }
>() {}

/** The image that the Containerfile makes of a Debian and the tarball. */
const built: Layer.Layer<Image> = Layer.scoped(
  Image,
  Effect.gen(function* () {
    const storage = yield* temporary;
    const buildah = (...args: ReadonlyArray<string>): string =>
      execFileSync(
        "buildah",
        [
          "--root",
          join(storage, "root"),
          "--runroot",
          join(storage, "run"),
          "--storage-driver",
          "vfs",
          ...args,
        ],
        { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
      ).trim();
    yield* Effect.addFinalizer(() => Effect.sync(() => buildah("rm", "--all")));
    const base = buildah("from", "scratch");
    buildah("add", "--quiet", base, slim, "/");
    buildah("commit", "--quiet", base, "localhost/debian:bookworm-slim");
    const context = join(tarballs, versions[0]);
    const tarball = readdirSync(context).find((name) => name.endsWith("-linux-x64.tar.gz")) ?? assert.fail();
    buildah(
      ...["bud", "--quiet", "--isolation", "chroot", "--tag", "load-balancer", "--file", containerfile],
      ...["--build-arg", `TARBALL=${tarball}`, context],
    );
    const config = JSON.parse(buildah("inspect", "--type", "image", "load-balancer")).OCIv1.config;
    return { config, root: buildah("mount", buildah("from", "--pull-never", "load-balancer")) };
  }),
);

/** A container that runs, as a runtime that follows the specification of the Open Container Initiative starts it. */
interface Container {
  /** Its first process, as the host knows it. */
  readonly pid: Effect.Effect<number>;
  readonly ended: Effect.Effect<number | null>;
  readonly printed: () => string;
}

let networks = 0;

/** A network of its own, which the thread that the tests run on is in from then on. Answers its name. */
const network: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() => {
  const name = `load-balancer-image-${process.pid}-${networks++}`;
  return Effect.as(Namespace.entered(name), name);
});

/** Runs the image in a network, with what its Containerfile recommends: files that cannot be written, and no capability. */
const running = (
  network: string,
  settings: Readonly<Record<string, string>>,
): Effect.Effect<Container, never, Image | Scope.Scope> =>
  Effect.gen(function* () {
    const { config, root } = yield* Image;
    const bundle = yield* temporary;
    const [uid = "", gid = ""] = config.User.split(":");
    const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
    const specification = {
      ociVersion: "1.0.0",
      process: {
        user: { uid: Number(uid), gid: Number(gid) },
        args: config.Entrypoint,
        env: [...config.Env, ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)],
        cwd: "/",
        capabilities: none,
        noNewPrivileges: true,
      },
      root: { path: root, readonly: true },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
        { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      ],
      linux: {
        namespaces: [
          ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
          { type: "network", path: `/run/netns/${network}` },
        ],
      },
    };
    writeFileSync(join(bundle, "config.json"), JSON.stringify(specification));
    mkdirSync(join(bundle, "state"));
    const pidFile = join(bundle, "pid");
    // It knows one hierarchy of control groups, and is to make none.
    const script = `
      umount --lazy --recursive /sys/fs/cgroup
      mount -t cgroup2 cgroup2 /sys/fs/cgroup
      exec crun --cgroup-manager=disabled --root="$1/state" run --bundle="$1" --pid-file="$1/pid" load-balancer`;
    const { ended, printed } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn("unshare", ["--mount", "sh", "-ec", script, "sh", bundle], {
          stdio: ["ignore", "pipe", "pipe"],
        });
        let said = "";
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding("utf8").on("data", (text: string) => {
            said += text;
          });
        }
        return { child, ended: once(child, "close"), printed: () => said };
      }),
      ({ child, ended }) =>
        Effect.promise(() => {
          // The end of a container's first process ends the container.
          if (child.exitCode === null && existsSync(pidFile)) {
            process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
          }
          return ended;
        }),
    );
    return {
      printed,
      ended: Effect.promise(async () => Number((await ended)[0])),
      pid: until(
        Effect.sync(() => {
          const text = existsSync(pidFile) ? readFileSync(pidFile, "utf8") : "";
          return text === "" ? undefined : Number(text);
        }),
      ),
    };
  });

const isHealthy: Effect.Effect<boolean> = Effect.promise(() =>
  fetch("http://127.0.0.1:8083/health").then(
    ({ status }) => status === 200,
    () => false,
  ),
);

const missing = unavailable ?? imageTools;

describe.skipIf(missing !== undefined)(`the image${missing ? ` (${missing})` : ""}`, () => {
  layer(built, { excludeTestServices: true, timeout: "5 minutes" })("made by the Containerfile", (it) => {
    it.scoped(
      "serves as process 1, as nobody, without capabilities and on files that cannot be written",
      () =>
        Effect.gen(function* () {
          const name = yield* network;
          const backend = yield* named("a");
          const container = yield* running(name, { BACKENDS: listOf(backend) });
          yield* untilTrue(isHealthy, "100 millis");
          assert.strictEqual(yield* ask(8082), "a");
          const pid = yield* container.pid;
          const status = readFileSync(`/proc/${pid}/status`, "utf8");
          assert.match(status, /^NSpid:\t\d+\t1$/m);
          assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
          for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"]) {
            assert.match(status, new RegExp(`^Cap${set}:\\t0+$`, "m"));
          }
          assert.match(readFileSync(`/proc/${pid}/mounts`, "utf8"), /^\S+ \/ \S+ ro[, ]/m);
          assert.strictEqual(
            readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"),
            "",
            "no other process",
          );
        }),
    );

    it.scoped("drains and ends with 0 at the signal that the image names", () =>
      Effect.gen(function* () {
        const { config } = yield* Image;
        assert.strictEqual(config.StopSignal, "SIGTERM");
        const name = yield* network;
        const backend = yield* named("a");
        const container = yield* running(name, { BACKENDS: listOf(backend) });
        yield* untilTrue(isHealthy, "100 millis");
        const client = yield* talk(8082);
        process.kill(yield* container.pid, "SIGTERM");
        yield* untilTrue(Effect.sync(() => container.printed().includes('"draining"')));
        assert.strictEqual(yield* client.says("still here"), "still here");
        client.socket.end();
        assert.strictEqual(yield* container.ended, 0);
      }),
    );

    it.scoped("ends with 64 and the reason where a setting is wrong", () =>
      Effect.gen(function* () {
        const container = yield* running(yield* network, { PORT: "70000" });
        assert.strictEqual(yield* container.ended, 64);
        assert.match(container.printed(), /^ *PORT="70000": it is more than 65535/m);
      }),
    );
  });
});
