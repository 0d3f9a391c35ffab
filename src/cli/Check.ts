/**
 * `load-balancer check`: what would happen if it were started now. Nothing listens and nothing is changed.
 */
import { Duration, Effect, Either } from "effect";
import type { Instance } from "../backend/Backend.js";
import { describe, type Settings } from "../config/Settings.js";
import { Discovery } from "../discovery/Discovery.js";
import * as HealthChecker from "../health/HealthChecker.js";
import { quantity } from "../log/Quantity.js";
import { format } from "../net/SocketAddress.js";
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

/** How it would start: `ready`, with part of its backends, or with nobody to send clients to. */
export type Verdict = "ready" | "degraded" | "unavailable";

export interface Report {
  readonly verdict: Verdict;
  readonly settings: Readonly<Record<string, string>>;
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

/** Asks once for the backends, and probes each of them once. */
export const check = (settings: Settings) =>
  Effect.gen(function* () {
    const discovery = yield* Discovery;
    const timeoutMillis = Duration.toMillis(settings.healthCheckTimeout);
    const answer = yield* Effect.either(discovery.list);
    const { instances, skipped } = Either.getOrElse(answer, () => ({ instances: [], skipped: [] }));
    const backends = yield* Effect.forEach(instances, (instance) => probed(instance, timeoutMillis), {
      concurrency: atOnce,
    });
    const answering = backends.filter(({ why }) => why === null).length;
    const whole = answering === backends.length && skipped.length === 0;
    const report: Report = {
      verdict: answering === 0 ? "unavailable" : whole ? "ready" : "degraded",
      settings: describe(settings),
      source: discovery.source,
      discovery_error: Either.isLeft(answer) ? answer.left.message : null,
      skipped,
      backends,
    };
    return report;
  });

const last: Readonly<Record<Verdict, string>> = {
  ready: "Ready: every backend answers.",
  degraded: "Degraded: not everything that is listed can be sent clients.",
  unavailable: "Unavailable: clients would be refused.",
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
    found,
    ...report.skipped.map(({ entry, why }) =>
      painted(cell(`${entry} is left out: ${why}`).text, "yellow", colours),
    ),
    ...(backends.length === 0 ? [] : [render(["ID", "ADDRESS", "CONNECT MS", "PROBE"], backends, colours)]),
    "",
    painted(last[report.verdict], report.verdict === "ready" ? "green" : "red", colours),
  ].join("\n");
};
