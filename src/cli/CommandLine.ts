/**
 * The commands beside running: `check`, `status`, `backends`, `demo`. Loaded only when one of them is asked for.
 */
import { stripVTControlCharacters } from "node:util";
import { Args, CliConfig, Command, HelpDoc, Options, Span, type ValidationError } from "@effect/cli";
import * as NodeContext from "@effect/platform-node/NodeContext";
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient";
import { Console, Effect, type Layer, Logger, LogLevel, Option, Ref, Schedule, Schema } from "effect";
import { settings as readSettings, type Settings, variables } from "../config/Settings.js";
import type { Discovery } from "../discovery/Discovery.js";
import { printable } from "../log/ForeignText.js";
import { Status } from "../monitoring/Api.js";
import type { IgnoredSignals } from "../process/Signals.js";
import type { Transport } from "../transport/Transport.js";
import * as Check from "./Check.js";
import { Refusal, usage } from "./Refusal.js";
import * as Remote from "./Remote.js";
import * as StatusText from "./StatusText.js";

/** What the commands are made of; main.ts chooses. */
export interface Parts {
  readonly version: string;
  /** The balancer itself, until it is told to stop. */
  readonly serve: Effect.Effect<void, Refusal, IgnoredSignals>;
  readonly discovery: (settings: Settings) => Layer.Layer<Discovery>;
  readonly transport: (settings: Settings) => Layer.Layer<Transport, Refusal>;
  readonly demo: Effect.Effect<void, Refusal>;
}

/** The settings, or what is wrong with them. */
const settings = Effect.mapError(readSettings, ({ message }) => new Refusal({ message, code: usage }));

/** Colour is for people: on a terminal, and not where they asked for none (https://no-color.org). */
const colours = (): boolean => process.stdout.isTTY === true && (process.env["NO_COLOR"] ?? "") === "";

const json = Options.boolean("json").pipe(Options.withDescription("Print JSON"));

const url = Options.text("url").pipe(
  Options.withDescription(
    "Where the balancer's monitoring answers, such as http://10.0.0.5:8083. Without it: here, as HEALTH_PORT and HEALTH_BIND_ADDRESS say",
  ),
  Options.optional,
);

const locate = (given: Option.Option<string>) =>
  Option.match(given, {
    onNone: () => Effect.map(settings, Remote.urlOf),
    onSome: (text) =>
      /^https?:\/\//.test(text) && URL.canParse(text)
        ? Effect.succeed(text.replace(/\/+$/, ""))
        : new Refusal({
            message: `--url ${printable(text)}: accepted: a URL such as http://127.0.0.1:8083`,
            code: usage,
          }),
  });

const exitWith = (code: number) =>
  Effect.sync(() => {
    process.exitCode = code;
  });

const check = (parts: Parts) =>
  Command.make("check", { json }, ({ json }) =>
    Effect.gen(function* () {
      const found = yield* settings;
      const report = yield* Check.check(found).pipe(
        Effect.provide([parts.discovery(found), parts.transport(found)]),
        // What it has to say it prints.
        Logger.withMinimumLogLevel(LogLevel.None),
      );
      yield* Console.log(json ? JSON.stringify(report, null, 2) : Check.text(report, colours()));
      yield* exitWith(Check.exitCode[report.verdict]);
    }),
  ).pipe(
    Command.withDescription(
      "Read the settings, ask once for the backends and probe each once. Exits with 0 when every backend answers, 2 when only some do, 1 when none does, 64 when a setting is wrong",
    ),
  );

/** From one look to the next. */
const everySecond = Schedule.spaced("1 second");

const clear = "\u001b[H\u001b[2J";

const encodeStatus = Schema.encodeSync(Status);

const status = Command.make(
  "status",
  {
    url,
    json,
    watch: Options.boolean("watch").pipe(
      Options.withAlias("w"),
      Options.withDescription("Go on every second, until Ctrl-C"),
    ),
  },
  ({ json, url, watch }) =>
    Effect.gen(function* () {
      const from = yield* locate(url);
      const look = Effect.map(Remote.status(from), (now) =>
        json ? JSON.stringify(encodeStatus(now), null, watch ? 0 : 2) : StatusText.status(now, colours()),
      );
      if (!watch) return yield* Effect.flatMap(look, Console.log);
      const redraws = !json && process.stdout.isTTY === true;
      const show = (text: string) => Console.log(redraws ? `${clear}${text}` : json ? text : `${text}\n`);
      // One that went away may come back. Beside a stream of answers, either is told when it happens, not every second.
      const absence = yield* Ref.make<string | undefined>(undefined);
      const tell = (text: string) => Effect.sync(() => process.stderr.write(`load-balancer: ${text}\n`));
      const away = (why: string) =>
        Effect.flatMap(Ref.getAndSet(absence, why), (before) =>
          redraws ? show(why) : before === why ? Effect.void : tell(why),
        );
      const back = Effect.flatMap(Ref.getAndSet(absence, undefined), (before) =>
        redraws || before === undefined ? Effect.void : tell(`the load balancer at ${from} is back`),
      );
      yield* Effect.repeat(
        look.pipe(
          Effect.tap(() => back),
          Effect.flatMap(show),
          Effect.catchTag("Refusal", ({ message }) => away(message)),
        ),
        everySecond,
      );
    }),
).pipe(Command.withDescription("What a running balancer does, and how its backends are"));

const id = Args.text({ name: "id" }).pipe(Args.withDescription("The id of a listed backend"));

const steering = (choice: Remote.Choice, about: string) =>
  Command.make(choice, { id, url, json }, ({ id, json, url }) =>
    Effect.gen(function* () {
      const { adminToken } = yield* settings;
      const from = yield* locate(url);
      const backend = yield* Remote.steer(from, adminToken, choice, id);
      yield* Console.log(
        json
          ? JSON.stringify(backend, null, 2)
          : StatusText.backends([backend], new Date().toISOString(), colours()),
      );
    }),
  ).pipe(Command.withDescription(about));

const backends = Command.make("backends").pipe(
  Command.withSubcommands([
    steering("drain", "No new connections for this backend; those it has run on"),
    steering("disable", "No new connections for this backend; those it has are reset"),
    steering("enable", "Normal again"),
  ]),
  Command.withDescription("Steer a backend of a running balancer; needs the ADMIN_TOKEN it was started with"),
);

const about = HelpDoc.blocks([
  HelpDoc.p("A layer 4 (TCP) load balancer. Without a command it runs until SIGTERM or SIGINT."),
  HelpDoc.p(
    "--help tells of each command, --version says which it is, and --completions bash (or zsh, fish, sh) prints what your shell can source.",
  ),
  HelpDoc.p("It is set by environment variables:"),
  ...variables.map(({ about, accepted, default: fallback, name }) =>
    HelpDoc.descriptionList([
      [Span.strong(`${name} (default ${fallback ?? "none"})`), HelpDoc.p(`${about}. Accepted: ${accepted}`)],
    ]),
  ),
]);

const command = (parts: Parts) =>
  Command.make("load-balancer", {}, () => parts.serve).pipe(
    Command.withDescription(about),
    Command.withSubcommands([
      check(parts),
      status,
      backends,
      Command.make("demo", {}, () => parts.demo).pipe(
        Command.withDescription("An Operator, three backends and the balancer in one process, to try it"),
      ),
    ]),
  );

// The library lists options of its own with every command, and one of them, --log-level, would promise what only
// LOG_LEVEL does.
const config = CliConfig.layer({ showBuiltIns: false });

// The library's own texts always have colours, and it prints an error that is told here anyway.
const plainWhereAsked = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Console.consoleWith((console) =>
    Console.withConsole(effect, {
      ...console,
      log: (...parts) =>
        console.log(...(colours() ? parts : parts.map((part) => stripVTControlCharacters(String(part))))),
      error: () => Effect.void,
    }),
  );

const oneLine = (error: ValidationError.ValidationError): string =>
  stripVTControlCharacters(HelpDoc.toAnsiText(error.error)).trim().replace(/\s+/g, " ");

/** Does what the arguments say (`process.argv`, whole). */
export const run = (
  argv: ReadonlyArray<string>,
  parts: Parts,
): Effect.Effect<void, Refusal, IgnoredSignals> =>
  Command.run(command(parts), { name: "load-balancer", version: parts.version, executable: "load-balancer" })(
    argv,
  ).pipe(
    plainWhereAsked,
    Effect.catchIf(
      (error) => !(error instanceof Refusal),
      (error) =>
        new Refusal({ message: `${oneLine(error)} (load-balancer --help lists what there is)`, code: usage }),
    ),
    Effect.provide([NodeContext.layer, NodeHttpClient.layer, config]),
  );
