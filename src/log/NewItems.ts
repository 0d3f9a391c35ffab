/**
 * A log line for each new item of an answer that is had again and again: what was in the answer before is not said once
 * more.
 */
import { Effect } from "effect";

/** How many items are named after one answer. */
const mostNamed = 10;
/** How many are remembered as named. */
const mostRemembered = 1000;

/**
 * Takes the items of each answer: those that were not in the one before are logged by `line`, the first ten of them; `more`
 * logs how many others there are.
 */
export const make = <A>(options: {
  /** Two items with the same text are the same. */
  readonly textOf: (item: A) => string;
  readonly line: (item: A) => Effect.Effect<void>;
  readonly more: (count: number) => Effect.Effect<void>;
}): ((items: ReadonlyArray<A>) => Effect.Effect<void>) => {
  let named: ReadonlySet<string> = new Set();
  return (items) =>
    Effect.suspend(() => {
      const now = new Map(items.slice(0, mostRemembered).map((item) => [options.textOf(item), item]));
      const fresh = [...now].filter(([text]) => !named.has(text)).map(([, item]) => item);
      named = new Set(now.keys());
      const others = fresh.length - mostNamed;
      return Effect.zipRight(
        Effect.forEach(fresh.slice(0, mostNamed), options.line, { discard: true }),
        others > 0 ? options.more(others) : Effect.void,
      );
    });
};
