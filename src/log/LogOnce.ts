/**
 * Logs each item of an answer that is got again and again (every poll, every list) once: an item that was in the answer
 * before is not logged again, one that was away and comes back is.
 */
import { Effect } from "effect";

/** The most items that have a line of their own, for each answer. */
const mostLines = 10;
/** The most items of one answer that are remembered until the next. */
const mostRemembered = 1000;

/**
 * Takes the items of each answer. Those that were not in the answer before are new: the first ten of them are logged by
 * `line`, and the number of the others by `more`.
 */
export const make = <A>(options: {
  /** Two items with the same text are the same. */
  readonly textOf: (item: A) => string;
  readonly line: (item: A) => Effect.Effect<void>;
  readonly more: (count: number) => Effect.Effect<void>;
}): ((items: ReadonlyArray<A>) => Effect.Effect<void>) => {
  let known: ReadonlySet<string> = new Set();
  return (items) =>
    Effect.suspend(() => {
      const now = new Map(items.slice(0, mostRemembered).map((item) => [options.textOf(item), item]));
      const fresh = [...now].filter(([text]) => !known.has(text)).map(([, item]) => item);
      known = new Set(now.keys());
      const others = fresh.length - mostLines;
      return Effect.zipRight(
        Effect.forEach(fresh.slice(0, mostLines), options.line, { discard: true }),
        others > 0 ? options.more(others) : Effect.void,
      );
    });
};
