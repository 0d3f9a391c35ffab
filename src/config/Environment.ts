/**
 * The environment of this process.
 */
import { ConfigProvider } from "effect";

/** The variables of this process, and others for those that are unset or empty. */
export const over = (defaults: Readonly<Record<string, string>>): ConfigProvider.ConfigProvider => {
  const given = Object.entries(process.env).flatMap(
    ([name, text = ""]): Array<[string, string]> => (text.trim() === "" ? [] : [[name, text]]),
  );
  return ConfigProvider.fromMap(new Map([...Object.entries(defaults), ...given]));
};

/** The names of the variables of this process. */
export const names = (): ReadonlyArray<string> => Object.keys(process.env);
