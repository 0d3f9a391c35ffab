/** A process that was started for the benchmark and ends with the scope it was started in. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Data, Effect, type Scope } from "effect";

export interface Daemon {
  readonly pid: number;
  /** What it wrote so far, the last 64 KiB of it. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: () => boolean;
  /** Waits for its end. */
  readonly end: Effect.Effect<number | null>;
}

export class DaemonError extends Data.TaggedError("DaemonError")<{
  readonly reason: "not-started" | "ended" | "not-ready" | "failed";
  readonly message: string;
}> {}

const kept = 65_536;
/** How long it may take to end when asked, before it is made to. */
const patience = "2 seconds";

const collect = (stream: ChildProcess["stdout"], read?: (text: string) => void): (() => string) => {
  let text = "";
  stream?.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-kept);
    read?.(chunk);
  });
  return () => text;
};

/** Its last words, for a message. */
export const lastWords = ({ stdout, stderr }: Daemon): string =>
  (stderr().trim() || stdout().trim()).split("\n").slice(-3).join("; ").slice(-600);

/**
 * Starts a command. It stays in our process group, so that Ctrl-C reaches it even if we are killed meanwhile. `read` gets
 * all that it writes on stdout.
 */
export const start = (
  command: string,
  args: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>> = {},
  read?: (text: string) => void,
): Effect.Effect<Daemon, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const { child, closed, stdout, stderr } = yield* Effect.acquireRelease(
      Effect.async<
        { child: ChildProcess; closed: Promise<unknown>; stdout: () => string; stderr: () => string },
        DaemonError
      >((resume) => {
        const child = spawn(command, args, {
          env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...environment },
          stdio: ["ignore", "pipe", "pipe"],
        });
        const closed = once(child, "close").catch(() => undefined);
        const stdout = collect(child.stdout, read);
        const stderr = collect(child.stderr);
        child.once("error", (cause) =>
          resume(
            Effect.fail(
              new DaemonError({
                reason: "not-started",
                message: `${command} cannot be started (${cause.message})`,
              }),
            ),
          ),
        );
        child.once("spawn", () => resume(Effect.succeed({ child, closed, stdout, stderr })));
      }),
      ({ child, closed }) =>
        Effect.suspend(() => {
          child.kill("SIGTERM");
          return Effect.promise(() => closed).pipe(
            Effect.interruptible,
            Effect.timeoutTo({
              duration: patience,
              onSuccess: () => Effect.void,
              onTimeout: () =>
                Effect.promise(() => {
                  child.kill("SIGKILL");
                  return closed;
                }),
            }),
            Effect.flatten,
            Effect.fork,
            Effect.flatMap((fiber) => fiber.await),
          );
        }),
    );
    return {
      pid: child.pid ?? 0,
      stdout,
      stderr,
      ended: () => child.exitCode !== null || child.signalCode !== null,
      end: Effect.map(
        Effect.promise(() => closed),
        () => child.exitCode,
      ),
    };
  });

/** Runs a command to its end and gives what it wrote; fails if it fails or takes longer than so many seconds. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  seconds: number,
): Effect.Effect<{ readonly stdout: string; readonly stderr: string }, DaemonError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const daemon = yield* start(command, args);
      const code = yield* Effect.timeoutFail(daemon.end, {
        duration: seconds * 1000,
        onTimeout: () =>
          new DaemonError({ reason: "failed", message: `${command} took longer than ${seconds} s` }),
      });
      if (code !== 0) {
        const message = `${command} failed (${code ?? "by a signal"}): ${lastWords(daemon)}`;
        return yield* new DaemonError({ reason: "failed", message });
      }
      return { stdout: daemon.stdout(), stderr: daemon.stderr() };
    }),
  );

/** Looks every 5 ms until there is something, for so long, or until the process has ended. */
export const awaited = <A>(
  daemon: Daemon,
  name: string,
  look: Effect.Effect<A | undefined>,
  longest: `${number} seconds` = "10 seconds",
): Effect.Effect<A, DaemonError> =>
  Effect.suspend(function again(): Effect.Effect<A, DaemonError> {
    return Effect.flatMap(look, (found): Effect.Effect<A, DaemonError> => {
      if (found !== undefined) return Effect.succeed(found);
      return daemon.ended()
        ? new DaemonError({ reason: "ended", message: `${name} ended at once: ${lastWords(daemon)}` })
        : Effect.delay(Effect.suspend(again), "5 millis");
    });
  }).pipe(
    Effect.timeoutFail({
      duration: longest,
      onTimeout: () =>
        new DaemonError({
          reason: "not-ready",
          message: `${name} was not ready in ${longest}: ${lastWords(daemon)}`,
        }),
    }),
  );
