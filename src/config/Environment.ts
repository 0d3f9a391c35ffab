/**
 * The environment of this process.
 */
import { ConfigProvider } from "effect";
import { nearest } from "./Misspelling.js";
import { type Problem, variables } from "./Settings.js";
import { quote } from "./Variable.js";

/** The variables of this process, and others for those that are unset or empty. */
export const over = (defaults: Readonly<Record<string, string>>): ConfigProvider.ConfigProvider => {
  const given = Object.entries(process.env).flatMap(
    ([name, text = ""]): Array<[string, string]> => (text.trim() === "" ? [] : [[name, text]]),
  );
  return ConfigProvider.fromMap(new Map([...Object.entries(defaults), ...given]));
};

/**
 * Variables of this process that look like misspelt settings. Others' variables stand in the same environment, so
 * nothing is refused for this.
 */
export const misspelt = (): ReadonlyArray<Problem> => {
  const known = variables.map(({ name }) => name);
  return Object.keys(process.env).flatMap((name) => {
    if (known.includes(name)) return [];
    const meant = nearest(name.toUpperCase(), known);
    return meant === undefined
      ? []
      : [{ names: [name], line: `${quote(name)} is no setting; did you mean ${meant}?` }];
  });
};
