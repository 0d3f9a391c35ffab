/**
 * An answer that is long to render and the same for all who ask: rendered in slices, once for all who ask at the same
 * time, and compressed off the event loop.
 */
import { Readable } from "node:stream";
import { constants, createGzip } from "node:zlib";
import { Deferred, Effect, FiberId, type Scope, Stream } from "effect";
import * as TimeSlices from "../clock/TimeSlices.js";

/** Bytes in pieces. */
export interface Pieces {
  readonly pieces: ReadonlyArray<Uint8Array>;
  /** In all pieces. */
  readonly bytes: number;
}

/** A text in UTF-8. */
export interface Rendering extends Pieces {
  /** The same compressed, made once and only on request. */
  readonly compressed: Effect.Effect<Pieces>;
}

const measured = (pieces: ReadonlyArray<Uint8Array>): Pieces => ({
  pieces,
  bytes: pieces.reduce((sum, { length }) => sum + length, 0),
});

/**
 * The thread pool does it, piece by piece: put together first, the text would be copied in one go. The quickest level:
 * metrics repeat themselves so much that another gains little.
 */
const compress = async (pieces: ReadonlyArray<Uint8Array>): Promise<Pieces> => {
  const gzip = Readable.from(pieces).pipe(createGzip({ level: constants.Z_BEST_SPEED }));
  const compressed: Array<Buffer> = [];
  for await (const piece of gzip) compressed.push(piece);
  return measured(compressed);
};

/** Below this many bytes compressing is not worth its headers. */
const leastCompressed = 1_024;

/** A rendering of these pieces. */
export const make = (pieces: ReadonlyArray<Uint8Array>): Effect.Effect<Rendering> =>
  Effect.map(
    // Other requests may wait for it too.
    Effect.cached(Effect.uninterruptible(Effect.promise(() => compress(pieces)))),
    (compressed) => ({ ...measured(pieces), compressed }),
  );

/**
 * The pieces one by one, with a turn of the event loop before each: otherwise all would be written in one turn for a
 * client that reads quickly, and writing megabytes takes long.
 */
export const stream = ({ pieces }: Pieces): Stream.Stream<Uint8Array> =>
  Stream.mapEffect(Stream.rechunk(Stream.fromIterable(pieces), 1), (piece) =>
    Effect.as(TimeSlices.turn, piece),
  );

/** Whether a rendering is worth compressing for a client that accepts these encodings (RFC 9110, 12.5.3). */
export const isCompressed = ({ bytes }: Rendering, acceptEncoding: string | undefined): boolean =>
  bytes >= leastCompressed &&
  /(?:^|,)\s*(?:gzip|x-gzip)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)/i.test(acceptEncoding ?? "");

/**
 * Coalesces concurrent requests; one arriving during a run joins the next run, so that its result is never older than
 * the request. Interrupting a caller does not cancel it.
 */
export const shared = <A>(render: Effect.Effect<A>): Effect.Effect<Effect.Effect<A>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    let next: Deferred.Deferred<A> | undefined;
    let running = false;

    const run: Effect.Effect<void> = Effect.suspend(() => {
      const asked = next;
      if (asked === undefined) {
        running = false;
        return Effect.void;
      }
      next = undefined;
      return Effect.exit(render).pipe(
        Effect.tap((exit) => Deferred.done(asked, exit)),
        Effect.zipRight(run),
      );
    });

    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        next ??= Deferred.unsafeMake<A>(FiberId.none);
        const mine = next;
        const started = running ? Effect.void : Effect.forkIn(Effect.interruptible(run), scope);
        running = true;
        return Effect.zipRight(started, restore(Deferred.await(mine)));
      }),
    );
  });
