/**
 * What the data threads do in each second, over a window that slides. Pure.
 */
import type { Status } from "../monitoring/Api.js";

/** The data threads at one moment. */
export interface Moment {
  /** In milliseconds, by a clock that nobody sets. */
  readonly at: number;
  readonly threads: (typeof Status.Type)["data_threads"];
}

/** What a data thread does in each second. */
export interface Rates {
  /** The part of a processor that it uses; undefined where that is not known. */
  readonly processor: number | undefined;
  readonly turns: number;
}

/** How long the window is, in milliseconds: a figure can be read before it changes. */
export const windowMillis = 5_000;

/** With the moment of now; what no window needs any more is left out. */
export const append = (all: ReadonlyArray<Moment>, now: Moment): ReadonlyArray<Moment> => [
  ...all.filter(({ at }) => at >= now.at - windowMillis),
  now,
];

/** By the name of each thread that was there before, and is the same still: one in its place counts from 0. */
export const rates = (all: ReadonlyArray<Moment>): ReadonlyMap<string, Rates> => {
  const [first, last] = [all[0], all.at(-1)];
  if (first === undefined || last === undefined || first.at >= last.at) return new Map();
  const seconds = (last.at - first.at) / 1000;
  const before = new Map(first.threads.map((thread) => [thread.name, thread]));
  return new Map(
    last.threads.flatMap(({ cpu_seconds, name, turns }) => {
      const old = before.get(name);
      if (old === undefined || turns < old.turns) return [];
      const processor =
        cpu_seconds === null || old.cpu_seconds === null
          ? undefined
          : (cpu_seconds - old.cpu_seconds) / seconds;
      return [[name, { processor, turns: (turns - old.turns) / seconds }]];
    }),
  );
};
