/**
 * Finds the known word that a misspelt one probably stands for, and variables that are probably misspelt settings.
 * Pure.
 */
import { type Problem, variables } from "./Settings.js";
import { quote } from "./Variable.js";

/**
 * How many characters have to be inserted, left out, replaced or exchanged with their neighbour to make one word of the
 * other (optimal string alignment distance). Infinity as soon as it is certain to be more than `most`.
 */
export const distance = (one: string, other: string, most = Number.POSITIVE_INFINITY): number => {
  let beforeLast: ReadonlyArray<number> = [];
  let last: ReadonlyArray<number> = Array.from({ length: other.length + 1 }, (_, j) => j);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const replaced = (last[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      const exchanged =
        i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
          ? (beforeLast[j - 2] ?? 0) + 1
          : Number.POSITIVE_INFINITY;
      row.push(Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replaced, exchanged));
    }
    // No value of a later row is below the least of two rows in succession.
    if (Math.min(...row, ...last) > most) return Number.POSITIVE_INFINITY;
    beforeLast = last;
    last = row;
  }
  return last[other.length] ?? 0;
};

/** A difference that is still a slip: more would take other words for misspelt ones. */
const most = (length: number): number => (length < 6 ? 1 : 2);

/** The known word that this one comes nearest to, if it comes near any. It differs in more than its case. */
export const nearest = (word: string, known: ReadonlyArray<string>): string | undefined => {
  const found = known
    .filter((name) => Math.abs(name.length - word.length) <= 2)
    .map((name) => ({ name, most: most(Math.min(name.length, word.length)) }))
    .map(({ most, name }) => ({ name, most, apart: distance(word, name, most) }))
    .filter(({ apart, most }) => apart > 0 && apart <= most)
    .sort((a, b) => a.apart - b.apart);
  return found[0]?.name;
};

/**
 * Names of variables that look like misspelt settings. The variables of other programs are in the same environment, so
 * this is a warning only.
 */
export const ofSettings = (names: ReadonlyArray<string>): ReadonlyArray<Problem> => {
  const known = variables.map(({ name }) => name);
  return names.flatMap((name) => {
    if (known.includes(name)) return [];
    const meant = nearest(name.toUpperCase(), known);
    return meant === undefined
      ? []
      : [{ names: [name], line: `${quote(name)} is no setting; did you mean ${meant}?` }];
  });
};
