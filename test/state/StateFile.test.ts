/**
 * The state file of a registry, on a real disk.
 */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, describe, it } from "@effect/vitest";
import { Chunk, Context, Effect, Exit, Fiber, Layer, LogLevel, Option, Scope, TestClock } from "effect";
import type { Instance } from "../../src/backend/Backend.js";
import * as BackendRegistry from "../../src/backend/BackendRegistry.js";
import * as Pool from "../../src/backend/Pool.js";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import { Discovery } from "../../src/discovery/Discovery.js";
import * as StateFile from "../../src/state/StateFile.js";
import * as CapturedLog from "../support/CapturedLog.js";

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "state-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true })),
);

const listed = (...ids: ReadonlyArray<string>): ReadonlyArray<Instance> =>
  ids.map((id) => ({ id, address: { host: "10.0.0.1", port: 1_000 + id.charCodeAt(0) } }));

/** A registry with a state file, as one process has them. */
const begin = (path: string, source = "an Operator") =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void));
    const discovery = Layer.succeed(Discovery, { source, list: Effect.never });
    const context = yield* StateFile.layer({ path }).pipe(
      Layer.provide(discovery),
      Layer.provideMerge(BackendRegistry.layer({})),
      Layer.provideMerge(log.layer),
      Layer.buildWithScope(scope),
    );
    return {
      log,
      registry: Context.get(context, BackendRegistry.BackendRegistry),
      status: () => Context.get(context, StateFile.StateFile).status(),
      end: Scope.close(scope, Exit.void),
    };
  });

/** Waits for something that the disk does: no clock is moved for it. */
const until = (holds: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (holds() ? Effect.void : Effect.zipRight(TimeSlices.turn, until(holds))));

/** Waits until something sleeps for so long from now. */
const sleeping = (millis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const until = (yield* TestClock.currentTimeMillis) + millis;
    while (!Chunk.contains(yield* TestClock.sleeps(), until)) yield* TimeSlices.turn;
  });

const textOf = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

const chosenIn = (path: string): ReadonlyArray<string> =>
  textOf(path)
    .split("\n")
    .flatMap(
      (line) => /"kind":"choice","id":"(\w+)".*"admin":"(\w+)"/.exec(line)?.slice(1, 3).join(" ") ?? [],
    );

const adminOf = (pool: Pool.Pool) =>
  Object.fromEntries(Pool.backends(pool).map(({ admin, id, weight }) => [id, `${admin} ${weight}`]));

describe("the state file", () => {
  it.scoped("has the next process serve the last list, with what was chosen for its backends", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "state.json");
      yield* TestClock.setTime(1_800_000_000_000);
      const first = yield* begin(path);
      assert.strictEqual(first.log.take(LogLevel.Info)[0]?.message, "there is no state file yet");
      yield* first.registry.discovered(listed("a", "b", "c"));
      yield* first.registry.steer("a", "draining", "10.9.9.9");
      yield* first.registry.weigh("b", 7, "10.9.9.8");
      yield* first.end;
      assert.strictEqual(statSync(path).mode & 0o777, 0o600);

      yield* TestClock.adjust("1 hour");
      const second = yield* begin(path);
      const pool = yield* second.registry.pool;
      assert.strictEqual(pool.phase, "serving");
      assert.deepStrictEqual(adminOf(pool), { a: "draining 1", b: "enabled 7", c: "enabled 1" });
      const [a, b] = Pool.backends(pool);
      assert.deepStrictEqual(a?.steered, { at: 1_800_000_000_000, by: "10.9.9.9" });
      assert.strictEqual(b?.chosenWeight?.by, "10.9.9.8");
      assert.include(
        second.log.take().find(({ message }) => message.startsWith("the state file is read; its list serves"))
          ?.annotations,
        { file: path, backends: 3, choices: 2, written: "2027-01-15T08:00:00.000Z" },
      );
      assert.deepStrictEqual(second.status()?.loaded, {
        written: 1_800_000_000_000,
        backends: 3,
        choices: 2,
      });

      // Discovery goes before it from its first list on; what was chosen stays for backends that come back.
      yield* second.registry.discovered(listed("c"));
      yield* second.registry.discovered(listed("a", "c"));
      assert.deepStrictEqual(adminOf(yield* second.registry.pool), { c: "enabled 1", a: "draining 1" });
    }),
  );

  it.scoped(
    "does not serve the list of another source, and leaves it in the file until there is a list",
    () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "state.json");
        const first = yield* begin(path);
        yield* first.registry.discovered(listed("a"));
        yield* first.registry.steer("a", "disabled", "me");
        yield* first.end;
        const before = textOf(path);

        const second = yield* begin(path, "another Operator");
        assert.strictEqual((yield* second.registry.pool).phase, "starting");
        assert.strictEqual(second.status()?.loaded?.backends, 0);
        yield* second.end;
        assert.strictEqual(textOf(path), before);

        const third = yield* begin(path, "another Operator");
        yield* third.registry.discovered(listed("a"));
        assert.deepStrictEqual(adminOf(yield* third.registry.pool), { a: "disabled 1" });
      }),
  );

  it.scoped("is written when something changes, and at most once a second", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "state.json");
      const { registry } = yield* begin(path);
      yield* registry.discovered(listed("a", "b"));
      yield* until(() => textOf(path) !== "");
      yield* sleeping(1_000);
      yield* registry.steer("a", "draining", "me");
      yield* registry.steer("b", "draining", "me");
      yield* TestClock.adjust("999 millis");
      // Time enough for a write, were one begun.
      for (let turn = 0; turn < 200; turn++) yield* TimeSlices.turn;
      assert.deepStrictEqual(chosenIn(path), []);
      yield* TestClock.adjust("1 millis");
      yield* until(() => chosenIn(path).length > 0);
      assert.deepStrictEqual(chosenIn(path), ["a draining", "b draining"], "both by one write");
      const { mtimeMs } = statSync(path);
      yield* TestClock.adjust("1 minute");
      for (let turn = 0; turn < 200; turn++) yield* TimeSlices.turn;
      assert.strictEqual(statSync(path).mtimeMs, mtimeMs, "nothing has changed");
    }),
  );

  it.scoped("keeps another weight or limit that discovery says", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "state.json");
      const first = yield* begin(path);
      yield* first.registry.discovered(listed("a"));
      yield* until(() => textOf(path) !== "");
      yield* sleeping(1_000);
      yield* TestClock.adjust("1 second");
      yield* first.registry.discovered(listed("a").map((one) => ({ ...one, weight: 9, limit: 5 })));
      yield* until(() => textOf(path).includes('"weight":9,"max_connections":5'));
    }),
  );

  const damages: ReadonlyArray<readonly [name: string, damaged: (text: string) => string, why: string]> = [
    ["cut off", (text: string) => text.slice(0, -30), "at byte"],
    [
      "of another version",
      (text: string) => text.replace('"version":1', '"version":9'),
      "version is 9, not 1",
    ],
    ["empty", () => "", "not JSON"],
    ["something else", () => "\u0000\u0001\ufffd", "not JSON"],
    ["of another program", () => "[{}]", "entry 1: format"],
  ];
  it.scoped.each(damages)("is set aside where it is %s, and stops nothing", ([, damaged, why]) =>
    Effect.gen(function* () {
      const path = join(yield* folder, "state.json");
      const first = yield* begin(path);
      yield* first.registry.discovered(listed("a"));
      yield* first.end;
      const broken = damaged(textOf(path));
      writeFileSync(path, broken);
      writeFileSync(`${path}.broken`, "an earlier one");

      const { log, registry, status } = yield* begin(path);
      const [line] = log.take(LogLevel.Warning);
      assert.strictEqual(line?.message, "the state file is broken and is set aside");
      assert.include(line?.annotations, { file: path, now: `${path}.broken` });
      assert.include(String(line?.annotations["why"]), why);
      assert.strictEqual(textOf(`${path}.broken`), broken, "one is kept, the newest");
      assert.isUndefined(status()?.loaded);
      yield* registry.discovered(listed("b"));
      yield* until(() => textOf(path).includes('"id":"b"'));
    }),
  );

  it.scoped("stops nothing where it is no file", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "state.json");
      mkdirSync(path);
      const { log, registry } = yield* begin(path);
      assert.strictEqual(log.take(LogLevel.Warning)[0]?.message, "the state file cannot be read");
      assert.strictEqual((yield* registry.discovered(listed("a"))).added.length, 1);
    }),
  );

  it.scoped("is tried again and again where it cannot be written, which is said once", () =>
    Effect.gen(function* () {
      const inside = join(yield* folder, "not-yet-there");
      const path = join(inside, "state.json");
      const { log, registry, status } = yield* begin(path);
      yield* registry.discovered(listed("a"));
      yield* until(() => status()?.error !== undefined);
      assert.include(status()?.error, "ENOENT");
      for (let n = 0; n < 3; n++) {
        yield* sleeping(5_000);
        yield* TestClock.adjust("5 seconds");
      }
      assert.deepStrictEqual(
        log.take(LogLevel.Warning).map(({ annotations, message }) => [message, annotations["code"]]),
        [["the state file is not written; it is tried again and again", "ENOENT"]],
      );
      yield* sleeping(5_000);
      mkdirSync(inside);
      yield* TestClock.adjust("5 seconds");
      yield* until(() => textOf(path).includes('"id":"a"'));
      yield* until(() => status()?.error === undefined);
      assert.isDefined(status()?.written);
      assert.strictEqual(log.take(LogLevel.Info).at(-1)?.message, "the state file is written again");
      assert.deepStrictEqual(readdirSync(inside), ["state.json"]);
    }),
  );

  it.scoped.skipIf(process.platform === "win32")(
    "holds the end up for three seconds where the disk does not answer",
    () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "state.json");
        const { end, log, registry } = yield* begin(path);
        yield* registry.discovered(listed("a"));
        yield* until(() => textOf(path).includes('"id":"a"'));
        yield* sleeping(1_000);
        // To open a pipe waits until somebody reads from it, as a disk that does not answer does.
        const silent = `${path}.${process.pid}.tmp`;
        execFileSync("mkfifo", [silent]);
        yield* registry.steer("a", "draining", "me");
        const ending = yield* Effect.fork(end);
        yield* sleeping(3_000);
        yield* TestClock.adjust("2999 millis");
        assert.isTrue(Option.isNone(yield* Fiber.poll(ending)));
        yield* TestClock.adjust("1 millis");
        yield* Fiber.join(ending);
        assert.deepStrictEqual(
          log.take(LogLevel.Warning).map(({ annotations, message }) => [message, annotations["why"]]),
          [["the state file is not written at the end", "the disk has not answered within 3s"]],
        );
        assert.deepStrictEqual(chosenIn(path), [], "the file is that of before, and whole");
        // It answers again, and the thread that waits for it goes on.
        const reader = openSync(silent, constants.O_RDONLY | constants.O_NONBLOCK);
        yield* until(() => !readdirSync(join(path, "..")).includes(`state.json.${process.pid}.tmp`));
        closeSync(reader);
      }),
  );

  it.scoped("removes what processes left that were killed, and nothing else", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "state.json");
      // More than there can be of them (PID_MAX_LIMIT of Linux is 4,194,304).
      const gone = "state.json.2147483646.tmp";
      const others = [`state.json.${process.ppid}.tmp`, "state.json.x.tmp", "other.json.2147483646.tmp"];
      for (const name of [gone, ...others]) writeFileSync(join(path, "..", name), "");
      yield* begin(path);
      assert.deepStrictEqual(readdirSync(join(path, "..")).sort(), [...others].sort());
    }),
  );

  it.scoped("needs an absolute path", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(begin("state.json"));
      assert.include(error.message, 'path is "state.json"; accepted: the absolute path of a file');
    }),
  );
});
