/**
 * What the built program keeps over its end: in order, by kill -9, and on disks that have no room or take nothing.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, named } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as Operator from "../support/ScriptedOperator.js";

const token = "a-token-of-those-who-steer";

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "state-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
);

const steer = ({ healthPort }: Program.Program, id: string, what: "drain" | "enable") =>
  Effect.promise(async () => {
    const { status } = await fetch(`http://127.0.0.1:${healthPort}/backends/${id}/${what}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    assert.strictEqual(status, 200);
  });

const contains = (file: string, text: string): boolean => {
  try {
    return readFileSync(file, "utf8").includes(text);
  } catch {
    return false;
  }
};

interface StatusBody {
  readonly state_file: {
    readonly loaded: string | null;
    readonly serving: boolean;
    readonly written: string | null;
    readonly error: string | null;
  };
  readonly backends: ReadonlyArray<{ readonly id: string; readonly admin: string }>;
}

const statusOf = (program: Program.Program) =>
  Effect.map(program.get("/status"), ({ body }) => body as StatusBody /* its contract */);

const mounting = process.platform === "linux" && spawnSync("unshare", ["-m", "true"]).status === 0;

describe.each(Program.transports)("STATE_FILE on %s", (transport) => {
  it.scopedLive(
    "has a program that was killed serve again while the Operator is away, and a drained backend stay so",
    () =>
      Effect.gen(function* () {
        const file = join(yield* folder, "state.json");
        const a = yield* named("a");
        const b = yield* named("b");
        const operator = yield* Operator.make(
          Operator.lists([Operator.instance("a", a.port), Operator.instance("b", b.port)]),
        );
        const settings = { OPERATOR_URL: operator.url, ADMIN_TOKEN: token, STATE_FILE: file };
        const first = yield* Program.start(transport, settings);
        yield* first.healthy(2);
        yield* steer(first, "a", "drain");
        yield* Program.untilTrue(Effect.sync(() => contains(file, '"admin":"draining"')));
        yield* first.signal("SIGKILL");
        yield* first.ended;
        yield* operator.stop;

        const second = yield* Program.start(transport, settings);
        yield* second.awaitLogged("the state file is read; its list serves until discovery succeeds", {
          file,
          backends: 2,
          choices: 1,
        });
        yield* second.healthy(1);
        assert.strictEqual((yield* second.get("/readyz")).status, 200);
        for (let n = 0; n < 4; n++) assert.strictEqual(yield* ask(second.port), "b");
        const away = yield* statusOf(second);
        assert.include(away.state_file, { serving: true, error: null, written: null });
        assert.isNotNull(away.state_file.loaded);
        assert.deepStrictEqual(
          away.backends.map(({ admin, id }) => `${id} ${admin}`),
          ["a draining", "b enabled"],
        );

        // The Operator lists others when it is back; what was chosen still holds for those that it lists.
        yield* operator.answers(Operator.lists([Operator.instance("a", a.port)]));
        yield* operator.restart;
        yield* Program.untilTrue(Effect.map(second.backends, (list) => list.length === 1));
        assert.isFalse((yield* statusOf(second)).state_file.serving);
        yield* steer(second, "a", "enable");
        yield* second.healthy(1);
        // What was chosen in the last second is written when it ends in order.
        yield* second.signal("SIGTERM");
        assert.strictEqual((yield* second.ended).code, 0);
        assert.isFalse(contains(file, '"choice"'));
        assert.isTrue(contains(file, '"id":"a"'));
      }),
  );
});

const writer = fileURLToPath(new URL("../../dist/state/WholeFile.js", import.meta.url));

describe("a file that is replaced", () => {
  it.scopedLive("is whole whenever the process that replaces it is killed", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "state.json");
      // Versions of many pieces, each of which is one letter again and again.
      const code = `
        const { replacer } = await import(${JSON.stringify(writer)});
        const { Effect } = await import("effect");
        const replace = replacer(${JSON.stringify(file)});
        for (let n = 0; ; n++) {
          const piece = Buffer.alloc(4096, 97 + (n % 26));
          await Effect.runPromise(replace(Array.from({ length: 100 + n }, () => piece)));
          if (n === 2) process.stdout.write("x");
        }`;
      const sizes = new Set<number>();
      for (let round = 0; round < 15; round++) {
        const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
          cwd: fileURLToPath(new URL("../..", import.meta.url)),
          stdio: ["ignore", "pipe", "inherit"],
        });
        yield* Effect.promise(() => once(child.stdout, "data"));
        yield* Effect.sleep(round * 3);
        child.kill("SIGKILL");
        yield* Effect.promise(() => once(child, "close"));
        const text = readFileSync(file);
        assert.strictEqual(text.length % 4096, 0);
        assert.strictEqual(new Set(text).size, 1, "all of one version");
        assert.strictEqual((text[0] ?? 0) - 97, (text.length / 4096 - 100) % 26, "and all of that");
        sizes.add(text.length);
      }
      assert.isAbove(sizes.size, 1);
    }),
  );
});

describe.skipIf(!mounting)("a disk", () => {
  const running = (mount: string) =>
    Effect.gen(function* () {
      const path = yield* folder;
      const disk = join(path, "disk");
      mkdirSync(disk);
      const a = yield* named("a");
      const operator = yield* Operator.make(Operator.lists([Operator.instance("a", a.port)]));
      const program = yield* Program.start(
        "node",
        { OPERATOR_URL: operator.url, ADMIN_TOKEN: token, STATE_FILE: join(disk, "state.json") },
        {
          command: [
            "unshare",
            "-m",
            "sh",
            "-c",
            `${mount.replaceAll("DISK", disk)} && exec "$0"`,
            Program.executable,
          ],
        },
      );
      yield* program.healthy(1);
      // As the program sees it.
      return { a, disk: join(`/proc/${program.pid}/root`, disk), program };
    });

  it.scopedLive("that is full is said so once, stops nothing, and is written to when it has room", () =>
    Effect.gen(function* () {
      const { disk, program } = yield* running(
        "mount -t tmpfs -o size=64k none DISK && dd if=/dev/zero of=DISK/full bs=4096 count=16 2>/dev/null",
      );
      yield* program.awaitLogged("the state file is not written; it is tried again and again", {
        code: "ENOSPC",
      });
      assert.strictEqual(yield* ask(program.port), "a");
      assert.include((yield* statusOf(program)).state_file.error, "ENOSPC");
      assert.strictEqual(statSync(join(disk, "full")).size, 65_536);
      rmSync(join(disk, "full"));
      yield* program.awaitLogged("the state file is written again");
      assert.isTrue(contains(join(disk, "state.json"), '"id":"a"'));
      assert.strictEqual(
        program.logged("the state file is not written; it is tried again and again").length,
        1,
      );
    }),
  );

  it.scopedLive("that is read-only is said so, and stops nothing", () =>
    Effect.gen(function* () {
      const { program } = yield* running("mount -t tmpfs -o ro none DISK");
      yield* program.awaitLogged("the state file is not written; it is tried again and again", {
        code: "EROFS",
      });
      assert.strictEqual(yield* ask(program.port), "a");
      yield* program.signal("SIGTERM");
      assert.strictEqual((yield* program.ended).code, 0);
    }),
  );
});
