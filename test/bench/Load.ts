/** wrk: as many requests as go through a port, each connection sending one after the other. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Effect, Either, Schema } from "effect";
import * as Daemon from "./Daemon.js";

/** What came of it. */
export interface Outcome {
  readonly requests: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Connections that failed or timed out, and answers that were no success. */
  readonly errors: number;
  /** Latencies in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export interface Shape {
  readonly path: string;
  readonly connections: number;
  readonly seconds: number;
  /** A new connection for each request. */
  readonly closing: boolean;
}

/** Seconds after which an answer counts as an error. The big file takes several where many share a small machine. */
const patience = 15;

const mark = "outcome: ";

// wrk's own summary rounds what it prints, and stops at the 99th percentile.
const outcome = `done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('${mark}{"requests":%d,"bytes":%.0f,"micros":%.0f,"errors":%d,"p50":%.0f,"p99":%.0f,"p999":%.0f}\\n',
    summary.requests, summary.bytes, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
`;

/** Asks for everything that takes long to render, in turn as text and compressed. */
const scrapes = `local paths = { "/metrics", "/status" }
local turn = 0
request = function()
  turn = turn + 1
  local headers = turn % 4 < 2 and { ["Accept-Encoding"] = "gzip" } or {}
  return wrk.format("GET", paths[turn % 2 + 1], headers)
end
${outcome}`;

/** wrk's scripts, as files. */
export interface Scripts {
  /** Requests of one kind. */
  readonly plain: string;
  /** Scrapes of monitoring. */
  readonly scrapes: string;
}

const Printed = Schema.parseJson(
  Schema.Struct({
    requests: Schema.Number,
    bytes: Schema.Number,
    micros: Schema.Number,
    errors: Schema.Number,
    p50: Schema.Number,
    p99: Schema.Number,
    p999: Schema.Number,
  }),
);

/** Reads what the script above printed; on the left, why it cannot be. */
export const parse = (output: string): Either.Either<Outcome, string> => {
  const line = output.split("\n").find((each) => each.startsWith(mark));
  if (line === undefined) return Either.left("wrk printed no outcome");
  return Schema.decodeUnknownEither(Printed)(line.slice(mark.length)).pipe(
    Either.mapBoth({
      onLeft: ({ message }) => `wrk printed ${line}: ${message}`,
      onRight: ({ micros, p50, p99, p999, ...counts }) => ({
        ...counts,
        seconds: micros / 1e6,
        p50: p50 / 1e3,
        p99: p99 / 1e3,
        p999: p999 / 1e3,
      }),
    }),
  );
};

/** Writes wrk's scripts into a folder. */
export const prepare = (folder: string): Effect.Effect<Scripts> =>
  Effect.promise(async () => {
    const [plain, scraping] = [join(folder, "outcome.lua"), join(folder, "scrapes.lua")];
    await writeFile(plain, outcome);
    await writeFile(scraping, scrapes);
    return { plain, scrapes: scraping };
  });

/** Whether wrk can be started here. */
export const installed: Effect.Effect<boolean> = Effect.scoped(
  Effect.flatMap(Daemon.start("wrk", ["--version"]), ({ end }) => end),
).pipe(
  Effect.as(true),
  Effect.orElseSucceed(() => false),
);

/** Runs it. Fails where nothing came, or a connection or an answer went wrong. */
export const run = (
  port: number,
  lua: string,
  { closing, connections, path, seconds }: Shape,
): Effect.Effect<Outcome, Daemon.DaemonError> =>
  Effect.gen(function* () {
    const { stdout } = yield* Daemon.run(
      "wrk",
      [
        ...[
          "-t",
          "1",
          "-c",
          String(connections),
          "-d",
          `${Math.ceil(seconds)}s`,
          "--timeout",
          `${patience}s`,
        ],
        ...["-s", lua],
        ...(closing ? ["-H", "Connection: close"] : []),
        `http://127.0.0.1:${port}${path}`,
      ],
      seconds + patience,
    );
    const found = yield* Either.mapLeft(
      parse(stdout),
      (message) => new Daemon.DaemonError({ reason: "failed", message }),
    );
    if (found.errors === 0 && found.bytes > 0) return found;
    const message = `wrk counted ${found.errors} errors, ${found.requests} answers and ${found.bytes} bytes`;
    return yield* new Daemon.DaemonError({ reason: "failed", message });
  });
