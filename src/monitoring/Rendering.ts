/**
 * An answer that is long to render and the same for all who ask: rendered in slices, once for all who ask at the same
 * time, and compressed off the event loop.
 */
import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";
import { Deferred, Effect, FiberId, type Scope } from "effect";

/** A text in pieces, in UTF-8. */
export interface Rendering {
  readonly pieces: ReadonlyArray<Uint8Array>;
  /** In all pieces. */
  readonly bytes: number;
  /** The same compressed, made once and only where somebody asks for it. */
  readonly compressed: Effect.Effect<Uint8Array>;
}

const compress = promisify(gzip);

/** Below this many bytes compressing is not worth its headers. */
const leastCompressed = 1_024;

/** A rendering of these pieces. */
export const make = (pieces: ReadonlyArray<Uint8Array>): Effect.Effect<Rendering> =>
  Effect.map(
    // The thread pool does it. The quickest level: metrics repeat themselves so much that another gains little.
    Effect.cached(
      Effect.uninterruptible(
        Effect.promise(() => compress(Buffer.concat(pieces), { level: constants.Z_BEST_SPEED })),
      ),
    ),
    (compressed) => ({
      pieces,
      bytes: pieces.reduce((sum, { length }) => sum + length, 0),
      compressed,
    }),
  );

/** Whether a rendering is worth compressing for a client that accepts these encodings (RFC 9110, 12.5.3). */
export const isCompressed = ({ bytes }: Rendering, acceptEncoding: string | undefined): boolean =>
  bytes >= leastCompressed &&
  /(?:^|,)\s*(?:gzip|x-gzip)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)/i.test(acceptEncoding ?? "");

/**
 * Shares what an effect makes among all who ask before it begins. While it runs, those who ask wait for the next run: what
 * they get is never older than their question. An asker that goes away ends nothing.
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
