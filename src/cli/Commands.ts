/**
 * The commands beside running: `check`, `status`, `backends`, `connections`, `demo`. Loaded only when one of them is asked for.
 */
import type { HttpClient } from "@effect/platform/HttpClient";
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient";
import {
  Clock,
  Config,
  Console,
  Effect,
  Either,
  type Layer,
  Logger,
  LogLevel,
  Ref,
  Schedule,
  Schema,
} from "effect";
import { weightBounds } from "../balancing/Members.js";
import { type Settings, variables } from "../config/Settings.js";
import type { Discovery } from "../discovery/Discovery.js";
import { printable } from "../log/ForeignText.js";
import { connectionsListed, Status } from "../monitoring/Api.js";
import type { Delay, IgnoredSignals } from "../process/Signals.js";
import type { Transport } from "../transport/Transport.js";
import * as Check from "./Check.js";
import { type Argument, type Command, type Given, misuse, type Option, type Path, parse } from "./Command.js";
import { CommandError, EX_USAGE, settings } from "./CommandError.js";
import * as Completions from "./Completions.js";
import * as Help from "./Help.js";
import * as Remote from "./Remote.js";
import * as StatusText from "./StatusText.js";

/** What the commands are made of; main.ts chooses. */
export interface Parts {
  readonly version: string;
  /** The balancer itself, until a signal ends it. */
  readonly serve: Effect.Effect<void, CommandError, Delay | IgnoredSignals>;
  readonly discovery: (settings: Settings) => Layer.Layer<Discovery>;
  readonly transport: (settings: Settings) => Layer.Layer<Transport, CommandError>;
  readonly demo: Effect.Effect<void, CommandError>;
}

type Run = Effect.Effect<void, CommandError, Delay | HttpClient | IgnoredSignals>;

/** Colour is for people: on a terminal, and not where they asked for none (https://no-color.org). */
const colours: Effect.Effect<boolean> = Config.string("NO_COLOR").pipe(
  Effect.orElseSucceed(() => ""),
  Effect.map((noColour) => process.stdout.isTTY === true && noColour === ""),
);

const json: Option = { name: "json", about: "Print JSON." };

const url: Option = {
  name: "url",
  value: "URL",
  about:
    "Where the balancer's monitoring answers, such as http://10.0.0.5:8083. Without it: here, as HEALTH_PORT and HEALTH_BIND_ADDRESS say.",
};

const watch: Option = { name: "watch", letter: "w", about: "Go on every second, until Ctrl-C." };

const help: Option = { name: "help", letter: "h", about: "Print what there is to type, and each setting." };

/** Options of every command. */
const everywhere: ReadonlyArray<Option> = [help];

const version: Option = { name: "version", about: "Print the version." };

const completions: Option = {
  name: "completions",
  value: "SHELL",
  choices: Completions.shells,
  about: `Print a script that your shell can source: ${Completions.shells.join(", ")}.`,
};

/** Where the balancer is that is asked. */
const locate = ({ values }: Given): Effect.Effect<string, CommandError> => {
  const text = values.get(url.name);
  if (text === undefined) return Effect.map(settings, (found) => Remote.urlOf(found.settings));
  return /^https?:\/\//.test(text) && URL.canParse(text)
    ? Effect.succeed(text.replace(/\/+$/, ""))
    : new CommandError({
        message: `--url ${printable(text)}: accepted: a URL such as http://127.0.0.1:8083`,
        code: EX_USAGE,
      });
};

const exitWith = (code: number) =>
  Effect.sync(() => {
    process.exitCode = code;
  });

const check = (parts: Parts, { flags }: Given): Run =>
  Effect.gen(function* () {
    const found = yield* settings;
    const report = yield* Check.check(found).pipe(
      Effect.provide([parts.discovery(found.settings), parts.transport(found.settings)]),
      // What it has to say it prints.
      Logger.withMinimumLogLevel(LogLevel.None),
    );
    yield* Console.log(
      flags.has(json.name) ? JSON.stringify(report, null, 2) : Check.text(report, yield* colours),
    );
    yield* exitWith(Check.exitCode[report.verdict]);
  });

/** From one look to the next. */
const everySecond = Schedule.spaced("1 second");

const clear = "\u001b[H\u001b[2J";

const encodeStatus = Schema.encodeSync(Status);

const status = (given: Given): Run =>
  Effect.gen(function* () {
    const asJson = given.flags.has(json.name);
    const watches = given.flags.has(watch.name);
    const coloured = yield* colours;
    const from = yield* locate(given);
    const look = Effect.map(Remote.status(from), (now) =>
      asJson ? JSON.stringify(encodeStatus(now), null, watches ? 0 : 2) : StatusText.status(now, coloured),
    );
    if (!watches) return yield* Effect.flatMap(look, Console.log);
    const redraws = !asJson && process.stdout.isTTY === true;
    const show = (text: string) => Console.log(redraws ? `${clear}${text}` : asJson ? text : `${text}\n`);
    // One that went away may come back. Beside a stream of answers, each is said when it happens, not every second.
    const absence = yield* Ref.make<string | undefined>(undefined);
    const say = (text: string) => Effect.sync(() => process.stderr.write(`load-balancer: ${text}\n`));
    const away = (why: string) =>
      Effect.flatMap(Ref.getAndSet(absence, why), (before) =>
        redraws ? show(why) : before === why ? Effect.void : say(why),
      );
    const back = Effect.flatMap(Ref.getAndSet(absence, undefined), (before) =>
      redraws || before === undefined ? Effect.void : say(`the load balancer at ${from} is back`),
    );
    yield* Effect.repeat(
      look.pipe(
        Effect.tap(() => back),
        Effect.flatMap(show),
        Effect.catchTag("CommandError", ({ message }) => away(message)),
      ),
      everySecond,
    );
  });

/** The weight that was typed. */
const weightOf = (text: string): Effect.Effect<number | null, CommandError> => {
  const { least, most } = weightBounds;
  const weight = text === "null" ? null : Number(text);
  return weight === null || (/^\d+$/.test(text) && weight >= least && weight <= most)
    ? Effect.succeed(weight)
    : new CommandError({
        message: `WEIGHT ${printable(text)}: accepted: a whole number from ${least} to ${most}, or null, which gives it back to discovery`,
        code: EX_USAGE,
      });
};

const steer = (choosing: Effect.Effect<Remote.Choice, CommandError>, given: Given): Run =>
  Effect.gen(function* () {
    const choice = yield* choosing;
    const { adminToken } = (yield* settings).settings;
    const from = yield* locate(given);
    const backend = yield* Remote.steer(from, adminToken, choice, given.arguments[0] ?? "");
    const now = new Date(yield* Clock.currentTimeMillis).toISOString();
    yield* Console.log(
      given.flags.has(json.name)
        ? JSON.stringify(backend, null, 2)
        : StatusText.backends([backend, ...backend.others], now, yield* colours),
    );
  });

const backendId: Argument = {
  name: "ID",
  about: "The id of a listed backend, or its beginning where no other begins so.",
};

const steering = (choice: Exclude<Remote.Choice, object>, about: string): Command<Run> => ({
  name: choice,
  about,
  options: [url, json],
  arguments: [backendId],
  commands: [],
  run: (given) => steer(Effect.succeed(choice), given),
});

const weighing: Command<Run> = {
  name: "weight",
  about: "Another weight for this backend than the listed one, or that one again.",
  options: [url, json],
  arguments: [
    backendId,
    {
      name: "WEIGHT",
      about: `Its share relative to the others, ${weightBounds.least} to ${weightBounds.most}; with 0 it gets no new connections. null gives it back to discovery.`,
    },
  ],
  commands: [],
  run: (given) =>
    steer(
      Effect.map(weightOf(given.arguments[1] ?? ""), (weight) => ({ weight })),
      given,
    ),
};

const { least, most, limit, order, orders } = connectionsListed;

/** What is asked of the open connections: each option is called as its parameter of the HTTP API. */
const selecting: ReadonlyArray<Option> = [
  {
    name: "order",
    value: "ORDER",
    choices: orders,
    about: `Which come first: those that are open for the longest time, that carry the most bytes per second, or that came last. Without it: ${order}.`,
  },
  {
    name: "limit",
    value: "COUNT",
    about: `No more than so many, ${least} to ${most}. Without it: ${limit}.`,
  },
  { name: "backend", value: "ID", about: "Those of this backend alone, by its whole id or its name." },
  {
    name: "client",
    value: "ADDRESSES",
    about: "Those of these clients alone: IP addresses and CIDRs, separated by commas.",
  },
];

const connections = (given: Given): Run =>
  Effect.gen(function* () {
    const { adminToken } = (yield* settings).settings;
    const from = yield* locate(given);
    const asked = Object.fromEntries(
      selecting.flatMap(({ name }) => {
        const value = given.values.get(name);
        return value === undefined ? [] : [[name, value] as const];
      }),
    );
    const found = yield* Remote.connections(from, adminToken, asked);
    yield* Console.log(
      given.flags.has(json.name)
        ? JSON.stringify(found, null, 2)
        : StatusText.connections(found, yield* colours),
    );
  });

const cut = (given: Given): Run =>
  Effect.gen(function* () {
    const { adminToken } = (yield* settings).settings;
    const from = yield* locate(given);
    const was = yield* Remote.cut(from, adminToken, given.arguments[0] ?? "");
    yield* Console.log(given.flags.has(json.name) ? JSON.stringify(was, null, 2) : StatusText.wasCut(was));
  });

/** Every command. */
const commands = (parts: Parts): Command<Run> => ({
  name: "load-balancer",
  about:
    "A layer 4 (TCP) load balancer. Without a command it runs, until SIGTERM, SIGINT or SIGQUIT ends it. It is set by environment variables.",
  options: [version, completions],
  arguments: [],
  run: () => parts.serve,
  commands: [
    {
      name: "check",
      about:
        "Read the settings, open the ports for a moment, ask once for the backends and probe each once. Exits with 0 when every backend answers, 2 when only some do, 1 when none does or a port is forbidden, 64 when a setting is wrong.",
      options: [json],
      arguments: [],
      commands: [],
      run: (given) => check(parts, given),
    },
    {
      name: "status",
      about: "What a running balancer does, and how its backends are.",
      options: [url, json, watch],
      arguments: [],
      commands: [],
      run: status,
    },
    {
      name: "backends",
      about: "Steer a backend of a running balancer; needs the ADMIN_TOKEN it was started with.",
      options: [],
      arguments: [],
      commands: [
        steering("drain", "No new connections for this backend; those it has run on."),
        steering("disable", "No new connections for this backend; those it has are reset."),
        steering("enable", "Normal again."),
        weighing,
      ],
    },
    {
      name: "connections",
      about:
        "Some of the open connections of a running balancer, looked at for a second; needs the ADMIN_TOKEN it was started with.",
      options: [...selecting, url, json],
      arguments: [],
      run: connections,
      commands: [
        {
          name: "cut",
          about: "Reset one of them.",
          options: [url, json],
          arguments: [{ name: "ID", about: "The id of an open connection." }],
          commands: [],
          run: cut,
        },
      ],
    },
    {
      name: "demo",
      about: "An Operator, three backends and the balancer in one process, to try it.",
      options: [],
      arguments: [],
      commands: [],
      run: () => parts.demo,
    },
  ],
});

/** The names by which the program is called: from a checkout, and as the package installs it. */
const programs = ["load-balancer", "zeitwork-load-balancer"];

const settingsSection: Help.Section = {
  title: "SETTINGS",
  entries: variables.map(({ about, accepted, default: text, name }) => ({
    head: `${name} (default ${text ?? "none"})`,
    about: `${about}. Accepted: ${accepted}`,
  })),
};

const printHelp = (path: Path<Run>): Effect.Effect<void> =>
  Effect.flatMap(colours, (coloured) =>
    Console.log(Help.text(path, everywhere, path.length === 1 ? [settingsSection] : [], coloured)),
  );

/** Does what the arguments say (those behind the program's name). */
export const run = (
  words: ReadonlyArray<string>,
  parts: Parts,
): Effect.Effect<void, CommandError, Delay | IgnoredSignals> => {
  const root = commands(parts);
  const refuse = (message: string) =>
    new CommandError({ message: `${message} (load-balancer --help lists what there is)`, code: EX_USAGE });
  const parsed = parse(root, everywhere, words);
  if (Either.isLeft(parsed)) return refuse(parsed.left);
  const { given, path } = parsed.right;
  if (given.flags.has(help.name)) return printHelp(path);
  if (given.flags.has(version.name)) return Console.log(parts.version);
  const shell = Completions.shells.find((name) => name === given.values.get(completions.name));
  if (shell !== undefined) {
    return Effect.sync(() => process.stdout.write(Completions.script(shell, programs, root, everywhere)));
  }
  const wrong = misuse(parsed.right);
  const command = path[path.length - 1] ?? root;
  return wrong !== undefined || command.run === undefined
    ? refuse(wrong ?? "")
    : Effect.provide(command.run(given), NodeHttpClient.layer);
};
