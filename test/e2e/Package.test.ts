import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, named } from "../support/Backends.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const manifest = JSON.parse(read("package.json"));

/** Runs a command, and answers what it printed; what it says when it fails is in the message. */
const run = (cwd: string, command: string, ...args: ReadonlyArray<string>) =>
  Effect.promise(() => promisify(execFile)(command, args, { cwd, maxBuffer: 2 ** 26 })).pipe(
    Effect.map(({ stdout }) => stdout),
  );

const npm = (cwd: string, ...args: ReadonlyArray<string>) =>
  run(cwd, "npm", ...args, "--no-audit", "--no-fund", "--prefer-offline");

/** The oldest version of each peer that package.json allows. */
const oldest: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries<string>(manifest.peerDependencies).map(([name, range]) => [name, range.replace(/^\^/, "")]),
);

/** Tests that need the registry are skipped where it cannot be reached, but not in CI. */
const offline =
  process.env["CI"] === undefined &&
  !(await promisify(execFile)("npm", [
    "view",
    `effect@${oldest["effect"]}`,
    "version",
    "--fetch-retries=0",
  ]).then(
    () => true,
    () => false,
  ));

/** The copies of a package in a folder of installed ones. */
const copies = (folder: string, name: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (path) => path === `${name}/package.json` || path.endsWith(`/node_modules/${name}/package.json`),
  );

/** Prints who served five connections, one after the other, through the example of docs/library.md. */
const client = `
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { NodeContext, NodeRuntime } from "@effect/platform-node";
import { Effect, Layer, Logger, LogLevel } from "effect";
import { BackendRegistry, LoadBalancer, Pool } from "zeitwork-load-balancer";
import { balancer } from "./PrimaryStandby.js";

const server = (name: string) =>
  Effect.promise(async () => {
    const listening = createServer((socket) => socket.on("error", () => {}).end(name)).listen(0, "127.0.0.1");
    await once(listening, "listening");
    const address = listening.address();
    return { id: name, host: "127.0.0.1", port: typeof address === "object" && address !== null ? address.port : 0 };
  });

const whoServes = (port: number) =>
  Effect.promise(async () => {
    const [chunk] = await once(connect(port, "127.0.0.1"), "data");
    return String(chunk);
  });

const program = Effect.gen(function* () {
  writeFileSync("backends.json", JSON.stringify(yield* Effect.all([server("primary"), server("standby")])));
  yield* Effect.gen(function* () {
    const { pool } = yield* BackendRegistry.BackendRegistry;
    yield* Effect.repeat(Effect.zipRight(Effect.sleep("20 millis"), pool), {
      until: (now) => Pool.healthy(now) === 2,
    });
    const { address } = yield* LoadBalancer.LoadBalancer;
    console.log((yield* Effect.replicateEffect(whoServes(address.port), 5)).join());
  }).pipe(Effect.provide(balancer({ backends: "backends.json", port: 0 })), Effect.provide(NodeContext.layer));
  process.exit();
});

NodeRuntime.runMain(program.pipe(Effect.provide(Logger.minimumLogLevel(LogLevel.None))));
`;

/** Prints every module that is loaded with what is imported here. */
const loading = (specifier: string) => `
import { register } from "node:module";
import { MessageChannel } from "node:worker_threads";
const { port1, port2 } = new MessageChannel();
const loaded = [];
port1.on("message", (url) => loaded.push(url)).unref();
register("data:text/javascript," + encodeURIComponent(
  "let port; export const initialize = (given) => { port = given; };" +
  "export const load = (url, context, next) => { port.postMessage(url); return next(url, context); };"
), { data: port2, transferList: [port2] });
await import("${specifier}");
await new Promise((resolve) => setImmediate(resolve));
console.log(loaded.join("\\n"));
`;

describe("the packed package", { timeout: 900_000 }, () => {
  const [command = ""] = /^npm i zeitwork-load-balancer .+$/m.exec(read("docs/library.md")) ?? [];

  it("is installed with the peers that it names", () => {
    const peers = command
      .split(" ")
      .slice(3)
      .map((peer) => [peer.slice(0, peer.lastIndexOf("@")), peer.slice(peer.lastIndexOf("@") + 1)] as const);
    assert.deepStrictEqual(Object.fromEntries(peers), manifest.peerDependencies);
    for (const [name] of peers) {
      assert.notProperty({ ...manifest.dependencies, ...manifest.devDependencies }, name);
    }
  });

  it.scopedLive.skipIf(offline)(
    "runs the example of docs/library.md in a project with the oldest patch versions of Effect that may be",
    () =>
      Effect.gen(function* () {
        const folder = yield* Real.folder;
        yield* npm(root, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder);
        const [packed = ""] = readdirSync(folder);
        writeFileSync(
          join(folder, "package.json"),
          JSON.stringify({ name: "somebody-else", type: "module" }),
        );
        for (const [name, version] of Object.entries(oldest)) {
          assert.notStrictEqual(
            JSON.parse(read(`node_modules/${name}/package.json`)).version,
            version,
            "another version than the one that it was compiled with",
          );
        }
        const asked = command.split(" ").slice(2);
        yield* npm(
          folder,
          "install",
          ...asked.map((each) => {
            const name = each.slice(0, each.lastIndexOf("@"));
            return each === "zeitwork-load-balancer" ? `./${packed}` : `${name}@${oldest[name]}`;
          }),
        );
        const modules = join(folder, "node_modules");
        for (const name of Object.keys(oldest)) assert.lengthOf(copies(modules, name), 1, name);
        for (const name of ["cli", "printer", "opentelemetry"]) {
          assert.isEmpty(copies(modules, `@effect/${name}`), "only the program needs it");
        }

        mkdirSync(join(modules, "@types"), { recursive: true });
        for (const name of ["@types/node", "undici-types"]) {
          if (!existsSync(join(modules, name)))
            symlinkSync(join(root, "node_modules", name), join(modules, name));
        }
        cpSync(join(root, "test/examples/PrimaryStandby.ts"), join(folder, "PrimaryStandby.ts"));
        writeFileSync(join(folder, "Client.ts"), client);
        writeFileSync(
          join(folder, "tsconfig.json"),
          JSON.stringify({
            compilerOptions: {
              strict: true,
              target: "ES2022",
              module: "NodeNext",
              types: ["node"],
              outDir: "out",
              skipLibCheck: true,
            },
            include: ["*.ts"],
          }),
        );
        yield* run(folder, process.execPath, join(root, "node_modules/typescript/bin/tsc"));
        assert.strictEqual(
          yield* run(folder, process.execPath, "out/Client.js"),
          "primary,primary,primary,primary,primary\n",
        );

        const loadedBy = (specifier: string) =>
          run(folder, process.execPath, "--input-type=module", "-e", loading(specifier));
        assert.include(yield* loadedBy("zeitwork-load-balancer/Monitoring"), "/@effect/platform-node/");
        const core = yield* loadedBy("zeitwork-load-balancer/LoadBalancer");
        assert.include(core, "/effect/");
        assert.notInclude(core, "/@effect/platform");
      }),
  );
});

describe("the installation by hand", { timeout: 900_000 }, () => {
  it.scopedLive("runs, and has its commands and its telemetry, without what only developing needs", () =>
    Effect.gen(function* () {
      const checkout = yield* Real.folder;
      const place = yield* Real.folder;
      const installed = join(place, "zeitwork-load-balancer");
      for (const name of [
        "dist",
        "docs",
        "node_modules",
        "package.json",
        "package-lock.json",
        "README.md",
        "load-balancer",
      ]) {
        yield* run(root, "cp", "-a", name, checkout);
      }
      yield* npm(checkout, "prune", "--omit=dev");
      const byHand = read("docs/systemd.md").split("## By hand")[1] ?? "";
      const steps = [...byHand.matchAll(/^.*\/opt\/.*$/gm)].map(([line]) =>
        line.replaceAll("/opt/", `${place}/`).replace("/etc/zeitwork", `${place}/etc`),
      );
      const install = run(checkout, "sh", "-euc", steps.join("\n"));
      yield* install;
      assert.isEmpty(copies(join(installed, "node_modules"), "@effect/opentelemetry"));
      for (const name of Object.keys(manifest.peerDependencies)) {
        assert.lengthOf(copies(join(installed, "node_modules"), name), 1, name);
      }

      const executable = join(installed, "load-balancer");
      assert.include(yield* run("/", executable, "--help"), "DRAIN_TIMEOUT");
      const backend = yield* named("a");
      const program = yield* Program.start(
        process.platform === "linux" ? "linux" : "node",
        {
          BACKENDS: `127.0.0.1:${backend.port}`,
          // Nothing listens there: what is sent is lost, and the log says so.
          OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
        },
        { command: [executable], cwd: "/" },
      );
      yield* program.healthy(1);
      yield* program.awaitLogged("telemetry cannot be sent");
      // An update leaves alone what runs.
      yield* install;
      assert.deepStrictEqual(readdirSync(place).sort(), [
        "etc",
        "zeitwork-load-balancer",
        "zeitwork-load-balancer.old",
      ]);
      assert.strictEqual(yield* ask(program.port), "a");
      yield* program.signal("SIGTERM");
      assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
    }),
  );

  it("passes on the licence of each package that is bundled", () => {
    const notices = read("dist/bundled/licences.txt");
    for (const name of ["@effect/opentelemetry"]) {
      assert.match(notices, new RegExp(`^${name}\n\nMIT License`, "m"));
    }
    assert.match(read("dist/page/assets/licences.txt"), /^uplot\n\n/);
  });
});
