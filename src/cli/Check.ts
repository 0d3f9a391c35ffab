/**
 * `load-balancer check`: what would happen if it were started now. It changes nothing; its ports are opened for a
 * moment.
 */
import { Duration, Effect, Either } from "effect";
import type { Instance } from "../backend/Backend.js";
import * as Environment from "../config/Environment.js";
import * as Misspelling from "../config/Misspelling.js";
import { describe, type Found, type Settings, table } from "../config/Settings.js";
import { Discovery } from "../discovery/Discovery.js";
import * as HealthChecker from "../health/HealthChecker.js";
import { quantity } from "../log/Quantity.js";
import { format } from "../net/SocketAddress.js";
import { cannotListen } from "./CommandError.js";
import * as PortCheck from "./PortCheck.js";
import { cell, figure, painted, render } from "./Table.js";

/** How many backends are probed at once. */
const atOnce = 64;

export interface Probed {
  readonly id: string;
  readonly address: string;
  /** How long connecting took, in milliseconds; null when it failed. */
  readonly connect_ms: number | null;
  /** Why it failed. */
  readonly why: string | null;
}

export interface Port {
  /** The variable that names it. */
  readonly variable: string;
  readonly state: "free" | "taken" | "unusable";
  /** The process that has it, if known. */
  readonly by: PortCheck.Process | null;
  /** Why it cannot be listened on. */
  readonly why: string | null;
}

/** How it would start: `ready`, with part of its backends, or without any backend. */
export type Verdict = "ready" | "degraded" | "unavailable";

export interface Report {
  readonly verdict: Verdict;
  readonly settings: Readonly<Record<string, string>>;
  /** Values and variables that would be ignored. */
  readonly warnings: ReadonlyArray<string>;
  readonly ports: ReadonlyArray<Port>;
  /** What was asked for the backends. */
  readonly source: string;
  /** Why it did not answer. */
  readonly discovery_error: string | null;
  /** Listed entries that cannot be backends, and why. */
  readonly skipped: ReadonlyArray<{ readonly entry: string; readonly why: string }>;
  readonly backends: ReadonlyArray<Probed>;
}

/** What the process exits with. */
export const exitCode: Readonly<Record<Verdict, number>> = { ready: 0, unavailable: 1, degraded: 2 };

const probed = ({ address, id }: Instance, timeoutMillis: number) =>
  Effect.map(
    Effect.timed(Effect.either(HealthChecker.probe(address, timeoutMillis))),
    ([took, result]): Probed => ({
      id,
      address: format(address),
      connect_ms: Either.isRight(result) ? Math.round(Duration.toMillis(took) * 1000) / 1000 : null,
      why: Either.isLeft(result) ? result.left.message : null,
    }),
  );

const portOf = (
  host: string | undefined,
  port: number,
  variable: string,
  address: string,
): Effect.Effect<Port> =>
  Effect.gen(function* () {
    const result = yield* PortCheck.check(host, port);
    if (Either.isRight(result)) return { variable, state: "free", by: null, why: null } as const;
    const why = cannotListen(result.left, variable, address);
    if (result.left.reason !== "in-use") return { variable, state: "unusable", by: null, why } as const;
    const by = (yield* PortCheck.owner(port)) ?? null;
    return { variable, state: "taken", by, why } as const;
  });

const ports = (settings: Settings): Effect.Effect<ReadonlyArray<Port>> =>
  Effect.all([
    portOf(settings.bindAddress, settings.port, table.port.name, table.bindAddress.name),
    portOf(
      settings.healthBindAddress,
      settings.healthPort,
      table.healthPort.name,
      table.healthBindAddress.name,
    ),
  ]);

/** Opens the ports for a moment, asks once for the backends, and probes each of them once. */
export const check = ({ settings, warnings }: Found) =>
  Effect.gen(function* () {
    const discovery = yield* Discovery;
    const timeoutMillis = Duration.toMillis(settings.healthCheckTimeout);
    const checkedPorts = yield* ports(settings);
    const answer = yield* Effect.either(discovery.list);
    const { instances, skipped } = Either.getOrElse(answer, () => ({ instances: [], skipped: [] }));
    const backends = yield* Effect.forEach(instances, (instance) => probed(instance, timeoutMillis), {
      concurrency: atOnce,
    });
    const answering = backends.filter(({ why }) => why === null).length;
    const complete = answering === backends.length && skipped.length === 0;
    const startable = checkedPorts.every(({ state }) => state !== "unusable");
    const report: Report = {
      verdict: !startable || answering === 0 ? "unavailable" : complete ? "ready" : "degraded",
      settings: describe(settings),
      warnings: [...warnings, ...Misspelling.ofSettings(Environment.names())].map(({ line }) => line),
      ports: checkedPorts,
      source: discovery.source,
      discovery_error: Either.isLeft(answer) ? answer.left.message : null,
      skipped,
      backends,
    };
    return report;
  });

const lastLine: Readonly<Record<Verdict, string>> = {
  ready: "Ready: every backend answers.",
  degraded: "Degraded: not everything that is listed can be sent clients.",
  unavailable: "Unavailable: it would not start, or clients would be refused.",
};

/** A port that is taken is often that of the balancer itself, which runs already: it says nothing of the next start. */
const portLine = ({ by, state, variable, why }: Port, colours: boolean): ReadonlyArray<string> => {
  switch (state) {
    case "free":
      return [];
    case "unusable":
      return [painted(cell(`${variable}: ${why}`).text, "red", colours)];
    case "taken": {
      const holder =
        by === null ? "another program, or by the balancer that runs now" : `${by.name} (process ${by.pid})`;
      return [painted(cell(`${variable} is taken by ${holder}`).text, "yellow", colours)];
    }
  }
};

/** The report for people. */
export const text = (report: Report, colours: boolean): string => {
  const settings = Object.entries(report.settings).map(([name, value]) => [cell(name), cell(value)]);
  const backends = report.backends.map(({ address, connect_ms, id, why }) => [
    cell(id),
    cell(address),
    figure(connect_ms),
    why === null ? cell("answers", "green") : cell(why, "red"),
  ]);
  const found =
    report.discovery_error === null
      ? `${report.source}: ${quantity(report.backends.length, "backend")}`
      : painted(cell(report.discovery_error).text, "red", colours);
  return [
    render(["SETTING", "VALUE"], settings, colours),
    "",
    ...report.warnings.map((line) => painted(cell(line).text, "yellow", colours)),
    ...report.ports.flatMap((port) => portLine(port, colours)),
    found,
    ...report.skipped.map(({ entry, why }) =>
      painted(cell(`${entry} is left out: ${why}`).text, "yellow", colours),
    ),
    ...(backends.length === 0 ? [] : [render(["ID", "ADDRESS", "CONNECT MS", "PROBE"], backends, colours)]),
    "",
    painted(lastLine[report.verdict], report.verdict === "ready" ? "green" : "red", colours),
  ].join("\n");
};
