/**
 * This load balancer beside HAProxy, nginx and no proxy at all: `npm run bench`, and `npm run bench -- --help`.
 *
 * Prints the figures as Markdown on stdout and how far it is on stderr. It ends with 0 whatever the figures are, with
 * 64 when asked wrongly, and with 1 where nothing can be measured.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { NodeRuntime } from "@effect/platform-node";
import { Effect, Either } from "effect";
import { machineShares, machineTimes } from "./Accounting.js";
import { judged, noise, rows } from "./Judgement.js";
import * as Machine from "./Machine.js";
import * as Options from "./Options.js";
import * as Origin from "./Origin.js";
import { install, peers } from "./Peer.js";
import * as Picture from "./Picture.js";
import * as Referee from "./Referee.js";
import * as Report from "./Report.js";

/** The built program at the root of the repository, seen from where this file is compiled to. */
const executable = fileURLToPath(new URL("../../../load-balancer", import.meta.url));

const print = (text: string) => Effect.sync(() => void process.stdout.write(`${text}\n`));
const progress = (text: string) => Effect.sync(() => void process.stderr.write(`${text}\n`));
const ends = (code: number) =>
  Effect.sync(() => {
    process.exitCode = code;
  });

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "bench-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
);

const written = (path: string | undefined, text: string) =>
  path === undefined
    ? Effect.void
    : Effect.tryPromise(() => writeFile(path, text)).pipe(
        Effect.catchAll(({ error }) => progress(`${path} cannot be written: ${String(error)}`)),
      );

const measure = (options: Options.Options) =>
  Effect.gen(function* () {
    const pathOf = (path: string | undefined) => resolve(path ?? executable);
    const all = peers(pathOf(options.balancer), pathOf(options.before), options.threads).filter(({ name }) =>
      options.peers.includes(name),
    );
    const machine = yield* Machine.look;
    const place = yield* folder;
    const origin = yield* Origin.start(place);
    const before = machineTimes();
    const { notes, series } = yield* Referee.run(options, all, origin.port, place, progress);
    const { stolen } = machineShares(before, machineTimes());
    const table = rows(
      series,
      all.map(({ name }) => name),
    );
    const titles = new Map(all.map(({ name, title }) => [name, title]));
    const report: Report.Report = {
      machine,
      options,
      titles,
      rows: table,
      judged: judged(table),
      notes: [...notes, ...Machine.doubts(machine, stolen), ...noise(table)],
    };
    yield* print(Report.markdown(report));
    yield* written(options.json, Report.json(report));
    yield* written(options.svg, Picture.svg(table, titles));
  }).pipe(
    Effect.scoped,
    Effect.catchTag("DaemonError", ({ message }) =>
      Effect.zipRight(progress(`nothing can be measured: ${message} (${install})`), ends(1)),
    ),
  );

const program = Either.match(Options.parse(process.argv.slice(2)), {
  onLeft: (wrong) => Effect.zipRight(progress(wrong), ends(64)),
  onRight: (options) => (options === "help" ? print(Options.help) : measure(options)),
});

NodeRuntime.runMain(program);
