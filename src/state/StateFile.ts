/**
 * The state file: what was listed last and what operators chose, kept over restarts, crashes and reboots. It is read before
 * discovery lists: its list serves until the first discovery ends well, and a drained backend stays drained. Written when
 * one of them changes, at most once a second, as a whole or not at all.
 *
 * Nothing waits for the file but the start, and that for a few seconds at most. A file that is broken, a disk that is full or
 * a folder that cannot be written to is a warning.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { BackendRegistry, DiscoverySync, StateFile, StaticDiscovery } from "zeitwork-load-balancer"
 *
 * const discovery = StaticDiscovery.layer({ backends: [{ host: "web.internal", port: 3000 }] })
 *
 * const synced = DiscoverySync.layer().pipe(
 *   // Below discovery, which lists into a registry that is restored.
 *   Layer.provide(StateFile.layer({ path: "/var/lib/balancer/state.json" })),
 *   Layer.provide(discovery),
 *   Layer.provideMerge(BackendRegistry.layer({})),
 * )
 * ```
 */
import { Clock, Context, Duration, Effect, Either, Fiber, Layer, Queue, type Scope, Stream } from "effect";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import type { Pool } from "../backend/Pool.js";
import type { PoolEvent } from "../backend/PoolEvent.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as WallClock from "../clock/WallClock.js";
import * as InvalidOption from "../config/InvalidOption.js";
import { Discovery } from "../discovery/Discovery.js";
import * as Json from "../json/Json.js";
import { JsonList } from "../json/JsonList.js";
import * as State from "./State.js";
import * as WholeFile from "./WholeFile.js";

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** An absolute path. Each balancer needs a file of its own. */
  readonly path: string;
}

/**
 * What was found in the file at the start.
 *
 * @since 0.2.0
 * @category models
 */
export interface Loaded {
  /** When it was written, in milliseconds since the epoch. */
  readonly written: number;
  /** Of its list; 0 where that is of another source than the one that is asked now, and so does not serve. */
  readonly backends: number;
  /** Of operators. */
  readonly choices: number;
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Status {
  readonly file: string;
  /** Undefined where there was no file, or a broken one. */
  readonly loaded: Loaded | undefined;
  /** When this process last wrote it, in monotonic milliseconds; undefined before the first time. */
  readonly written: number | undefined;
  /** Why it could not be written when that was last tried; undefined while all is well. */
  readonly error: string | undefined;
}

/**
 * @since 0.2.0
 * @category tags
 */
export class StateFile extends Context.Tag("zeitwork-load-balancer/StateFile")<
  StateFile,
  {
    /** Undefined where no file is kept. */
    readonly status: () => Status | undefined;
  }
>() {}

/** How long the start waits for the file. */
const readTimeout = Duration.seconds(5);
/** Between two versions. */
const pause = Duration.seconds(1);
/** Between two tries to write one. */
const retryPause = Duration.seconds(5);
/** A disk that has not answered for so long is said to be silent. It is waited for nevertheless. */
const silentAfter = Duration.seconds(10);
/** How long the end waits for the last version. */
const lastTimeout = Duration.seconds(3);

/** A file that is not what was written to it. */
interface Broken {
  readonly broken: string;
}

/** What can be wrong with the JSON. */
const problems = {
  "not-json": "it is not JSON, or it ends too early",
  "not-a-list": "it is not a list",
  bytes: `it is longer than ${State.limits.bytes / 1024 / 1024} MiB`,
  entries: `it has more than ${State.limits.entries} entries`,
  depth: `it is nested deeper than ${State.limits.depth}`,
};

const load = (path: string): Effect.Effect<State.State | Broken, WholeFile.FileError> =>
  Effect.gen(function* () {
    const reader = new State.Reader();
    let last = 0;
    const list = new JsonList(State.limits, (entry, place) => {
      last = place;
      reader.add(entry, place);
    });
    yield* WholeFile.read(path, (piece) =>
      Effect.map(
        TimeSlices.run(list.push(piece)),
        (problem) => problem === undefined && reader.problem === undefined,
      ),
    );
    const problem = reader.problem === undefined ? list.end() : undefined;
    if (problem !== undefined) {
      return { broken: `after entry ${last}, at byte ${list.bytes} at most: ${problems[problem]}` };
    }
    const state = reader.end();
    return "wrong" in state ? { broken: state.wrong } : state;
  });

const isKept = ({ _tag }: PoolEvent): boolean =>
  _tag === "Added" || _tag === "Removed" || _tag === "Altered" || _tag === "Steered" || _tag === "Weighed";

const make = ({
  path,
}: Options): Effect.Effect<
  typeof StateFile.Service,
  InvalidOption.InvalidOption,
  BackendRegistry | Discovery | Scope.Scope
> =>
  Effect.gen(function* () {
    yield* InvalidOption.absolutePath("path", path);
    const registry = yield* BackendRegistry;
    const { source } = yield* Discovery;
    const toEpoch = yield* WallClock.make;
    const replace = WholeFile.replacer(path);

    let loaded: Loaded | undefined;
    let written: number | undefined;
    let failure: WholeFile.FileError | undefined;

    const restore = (state: State.State) =>
      Effect.gen(function* () {
        const { phase } = yield* registry.pool;
        const serves = state.source === source && state.instances.length > 0 && phase === "starting";
        loaded = {
          written: state.written,
          backends: serves ? state.instances.length : 0,
          choices: state.choices.length,
        };
        yield* Effect.logInfo(
          serves
            ? "the state file is read; its list serves until discovery succeeds"
            : "the state file is read",
        ).pipe(
          Effect.annotateLogs({
            file: path,
            written: new Date(state.written).toISOString(),
            backends: state.instances.length,
            choices: state.choices.length,
            ...(state.source === source ? {} : { source: `another one: ${state.source.slice(0, 200)}` }),
          }),
        );
        const at = yield* MonotonicClock.now;
        const now = yield* Clock.currentTimeMillis;
        // The clock of an earlier process, or of the host before it was set, may have been ahead of this one.
        const monotonic = (epoch: number): number => at - Math.max(0, now - epoch);
        yield* registry.restore(
          state.choices.map(({ chosenWeight, steered, ...choice }) => ({
            ...choice,
            steered: steered && { ...steered, at: monotonic(steered.at) },
            chosenWeight: chosenWeight && { ...chosenWeight, at: monotonic(chosenWeight.at) },
          })),
        );
        if (serves) yield* registry.discovered(state.instances);
      });

    // It is kept for whoever wants to know what happened to it, and is out of the way of the next one.
    const setAside = (why: string) =>
      Effect.matchEffect(WholeFile.moved(path, `${path}.broken`), {
        onSuccess: () =>
          Effect.logWarning("the state file is broken and is set aside").pipe(
            Effect.annotateLogs({ file: path, why, now: `${path}.broken` }),
          ),
        onFailure: ({ message }) =>
          Effect.logWarning("the state file is broken and cannot be set aside").pipe(
            Effect.annotateLogs({ file: path, why, aside: message }),
          ),
      });

    const noAnswer = new WholeFile.FileError({
      code: "timeout",
      message: `no answer within ${Duration.format(readTimeout)}`,
    });
    const found = yield* WholeFile.tidy(path).pipe(
      Effect.zipRight(Effect.either(load(path))),
      Effect.disconnect,
      Effect.timeoutTo({
        duration: readTimeout,
        onSuccess: (found) => found,
        onTimeout: () => Either.left(noAnswer),
      }),
    );
    yield* Either.match(found, {
      onRight: (found) => ("broken" in found ? setAside(found.broken) : restore(found)),
      onLeft: ({ code, message }) =>
        code === "ENOENT"
          ? Effect.annotateLogs(Effect.logInfo("there is no state file yet"), { file: path })
          : Effect.annotateLogs(Effect.logWarning("the state file cannot be read"), {
              file: path,
              why: message,
            }),
    });

    /** What is in the file, as far as it is known. */
    let kept: Pick<Pool, "chosen" | "lists"> = yield* registry.pool;
    let altered = false;

    // Without a list nothing of this changes: the file may have one.
    const isStale = (pool: Pool): boolean =>
      altered || pool.chosen !== kept.chosen || pool.lists !== kept.lists;

    const failed = (error: WholeFile.FileError) =>
      Effect.suspend(() => {
        const isNews = failure?.code !== error.code;
        failure = error;
        return (
          isNews
            ? Effect.logWarning("the state file is not written; it is tried again and again")
            : Effect.logDebug("the state file is still not written")
        ).pipe(Effect.annotateLogs({ file: path, code: error.code, why: error.message }));
      });

    const recovered = Effect.suspend(() => {
      const before = failure;
      failure = undefined;
      return before === undefined
        ? Effect.void
        : Effect.annotateLogs(Effect.logInfo("the state file is written again"), { file: path });
    });

    const silence = Effect.sleep(silentAfter).pipe(
      Effect.zipRight(
        Effect.suspend(() =>
          failed(
            new WholeFile.FileError({
              code: "timeout",
              message: `the disk has not answered for ${Duration.format(silentAfter)}`,
            }),
          ),
        ),
      ),
      Effect.zipRight(Effect.never),
    );

    const tooLarge = (what: string) => new WholeFile.FileError({ code: "too-large", message: what });

    /** Writes the pool of now. */
    const write = Effect.gen(function* () {
      const pool = yield* registry.pool;
      if (!isStale(pool)) return;
      if (pool.listed > State.mostBackends) {
        return yield* tooLarge(`there are more than ${State.mostBackends} backends`);
      }
      const now = yield* Clock.currentTimeMillis;
      const wasAltered = altered;
      altered = false;
      yield* TimeSlices.run(
        Json.list(State.entries(pool, { source, written: now, toEpoch: toEpoch() }), "", "\n", ",\n"),
      ).pipe(
        Effect.filterOrFail(
          (pieces) => pieces.reduce((sum, { length }) => sum + length, 0) <= State.limits.bytes,
          () => tooLarge(problems.bytes),
        ),
        Effect.flatMap((pieces) => Effect.raceFirst(replace(pieces), silence)),
        Effect.onError(() =>
          Effect.sync(() => {
            altered ||= wasAltered;
          }),
        ),
      );
      kept = { chosen: pool.chosen, lists: pool.lists };
      written = yield* MonotonicClock.now;
      yield* recovered;
    });

    const changed = yield* Queue.sliding<void>(1);
    yield* Effect.forkScoped(
      Stream.runForEach(Stream.filter(yield* registry.events, isKept), ({ _tag }) => {
        altered ||= _tag === "Altered";
        return Queue.offer(changed, undefined);
      }),
    );

    const writeInTime: Effect.Effect<void> = write.pipe(
      Effect.catchAll((error) =>
        failed(error).pipe(Effect.zipRight(Effect.sleep(retryPause)), Effect.zipRight(writeInTime)),
      ),
      Effect.catchAllDefect((defect) => Effect.logError("keeping the state failed by a defect", defect)),
    );
    const keeping = Effect.forever(
      Queue.take(changed).pipe(Effect.zipRight(writeInTime), Effect.zipRight(Effect.sleep(pause))),
    );

    // What was chosen in the last second is written at the end, unless the disk is silent.
    yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(keeping)), (fiber) =>
      Fiber.interrupt(fiber).pipe(
        Effect.zipRight(write),
        Effect.catchAll(failed),
        Effect.disconnect,
        Effect.timeoutTo({
          duration: lastTimeout,
          onSuccess: () => Effect.void,
          onTimeout: () =>
            Effect.annotateLogs(Effect.logWarning("the state file is not written at the end"), {
              file: path,
              why: `the disk has not answered within ${Duration.format(lastTimeout)}`,
            }),
        }),
        Effect.flatten,
        Effect.interruptible,
      ),
    );

    return StateFile.of({
      status: () => ({ file: path, loaded, written, error: failure?.message }),
    });
  });

/**
 * Restores the registry from the file, and keeps the file for as long as its scope is open.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options,
): Layer.Layer<StateFile, InvalidOption.InvalidOption, BackendRegistry | Discovery> =>
  Layer.scoped(StateFile, make(options));

/**
 * No file is kept.
 *
 * @since 0.2.0
 * @category layers
 */
export const none: Layer.Layer<StateFile> = Layer.succeed(StateFile, { status: () => undefined });
