/** The installed service, as an operator sees it. */
import type { Context } from "effect";
import { Effect, type Scope } from "effect";
import { eventually, Host } from "./Host.js";

export const unit = "zeitwork-load-balancer";

/** A line of the journal. */
export interface Line {
  /** 3 is an error, 4 a warning, 6 information. */
  readonly priority: number;
  readonly message: string;
  /** `systemd`, or the name of the program. */
  readonly writer: string;
}

export interface Service {
  /** Runs systemctl with these arguments, which must succeed. */
  readonly systemctl: (args: string) => Effect.Effect<string>;
  /** Starts it, and waits until it has. */
  readonly start: Effect.Effect<void>;
  /** What systemd says of it: `NRestarts`. */
  readonly property: (name: string) => Effect.Effect<string>;
  readonly pid: Effect.Effect<number>;
  /** What the journal has of it since the test began, systemd's own lines included. */
  readonly journal: Effect.Effect<ReadonlyArray<Line>>;
  /** Waits for a line of the journal. */
  readonly says: (words: RegExp) => Effect.Effect<void>;
}

/** What the journal has of a unit behind a place of it. */
const journalOf = (host: Context.Tag.Service<Host>, name: string, cursor: string) =>
  Effect.map(
    host.run(
      `journalctl --sync; journalctl --unit=${name} --output=json --after-cursor='${cursor}' --no-pager`,
    ),
    (text) =>
      text
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line))
        .map(
          (fields): Line => ({
            priority: Number(fields.PRIORITY),
            message: String(fields.MESSAGE),
            writer: String(fields.SYSLOG_IDENTIFIER),
          }),
        ),
  );

const lines = (variables: Readonly<Record<string, string>>): string =>
  Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");

/** Settings with which a test need not wait long. */
const quick = {
  ENVIRONMENT: "production",
  HEALTH_CHECK_INTERVAL: "200ms",
  DRAIN_TIMEOUT: "1s",
};

export interface Options {
  /** What a drop-in of the service has in its section [Service]. */
  readonly service?: ReadonlyArray<string>;
  /** The name of the unit, where it is another. */
  readonly name?: string;
  /** Where its settings stand, if that is elsewhere. */
  readonly file?: string;
}

/** The service with these settings, not started. When the scope closes it is stopped, and all that it kept is gone. */
export const configured = (
  settings: Readonly<Record<string, string>>,
  options: Options = {},
): Effect.Effect<Service, never, Host | Scope.Scope> =>
  Effect.gen(function* () {
    const host = yield* Host;
    const { file = "/etc/zeitwork/load-balancer.env", name = unit, service = [] } = options;
    const dropIn = `/etc/systemd/system/${name}.service.d/test.conf`;
    const systemctl = (args: string) => host.run(`systemctl ${args}`);
    yield* Effect.acquireRelease(
      Effect.gen(function* () {
        yield* host.write(file, lines({ ...quick, ...settings }), "0600");
        if (service.length === 0) return;
        yield* host.write(dropIn, ["[Service]", ...service, ""].join("\n"));
        yield* systemctl("daemon-reload");
      }),
      () =>
        Effect.asVoid(
          host.run(`
            systemctl kill --signal=KILL ${name}.service 2>/dev/null
            systemctl disable --quiet --now ${name}.socket ${name}.service
            systemctl reset-failed ${name}.socket ${name}.service 2>/dev/null
            rm -rf ${dropIn} /var/lib/private/*
            systemctl daemon-reload`),
        ),
    );
    const shown = yield* host.run("journalctl --quiet --lines=0 --show-cursor");
    const cursor = /^-- cursor: (\S+)$/m.exec(shown)?.[1] ?? "";
    const journal = journalOf(host, `${name}.service`, cursor);
    const property = (property: string) =>
      Effect.map(systemctl(`show --value --property=${property} ${name}.service`), (value) => value.trim());
    return {
      systemctl,
      start: Effect.flatMap(host.attempt(`systemctl start ${name}`), ({ code, stderr }) =>
        code === 0
          ? Effect.void
          : Effect.flatMap(journal, (all) =>
              Effect.dieMessage(`${stderr}${all.map(({ message }) => message).join("\n")}`),
            ),
      ),
      property,
      pid: Effect.map(property("MainPID"), Number),
      journal,
      says: (words) =>
        eventually(Effect.map(journal, (all) => all.some(({ message }) => words.test(message)))),
    };
  });
