/**
 * One environment variable: how its text is read, what holds without it, and how it may be shown. The kinds of values
 * are in `Kinds.ts`, and the variables themselves in `Settings.ts`.
 */
import { Config, ConfigError, Either } from "effect";

/**
 * What reading an environment variable takes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Readable<A> {
  readonly name: string;
  /** What holds when it is unset, as one would write it; undefined when nothing does. */
  readonly default: string | undefined;
  /** What it is, in words that can stand in a table. */
  readonly about: string;
  /** What is accepted, in words that can follow "accepted:". */
  readonly accepted: string;
  /** The value that stands for "unset". */
  readonly unset: A;
  /** Reads a text that is trimmed and not empty; on the left, what is wrong with it. */
  readonly read: (text: string) => Either.Either<A, string>;
  /** A text that could not be read, as it may be printed: without secrets. */
  readonly showText: (text: string) => string;
  /** What a wrong value brings about: the start is refused, or the value is ignored with a warning. */
  readonly whenWrong: "refuse" | "ignore";
}

/**
 * All that is to be known of one environment variable.
 *
 * @since 0.2.0
 * @category models
 */
export interface Variable<A> extends Readable<A> {
  /** The value as it may be printed: without secrets. */
  readonly show: (value: A) => string;
}

/** A text as it may stand in a message: on one line, and not longer than one can read. */
export const quote = (text: string): string => {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  // The characters that JSON leaves alone and a terminal does not.
  return JSON.stringify(shown).replace(/[\u007f-\u009f\u2028\u2029]/g, "\ufffd");
};

/** What a kind of value needs to become a variable. */
export type Definition<A> = Pick<Variable<A>, "name" | "about" | "accepted" | "read" | "show"> &
  Partial<Pick<Variable<A>, "showText">>;

/** A variable with a default, which is written as a user would write it. */
export const withDefault = <A>(text: string, definition: Definition<A>): Variable<A> => ({
  showText: quote,
  whenWrong: "refuse",
  ...definition,
  default: text,
  unset: Either.getOrThrowWith(definition.read(text), (wrong) => new Error(`${definition.name}: ${wrong}`)),
});

/** A variable that is undefined while it is unset. */
export const withoutDefault = <A>(definition: Definition<A>): Variable<A | undefined> => ({
  showText: quote,
  whenWrong: "refuse",
  ...definition,
  default: undefined,
  unset: undefined,
  show: (value) => (value === undefined ? "none" : definition.show(value)),
});

/**
 * The variable with wrong values ignored, with a warning. OpenTelemetry asks this for its variables, which are often
 * set for many programs at once.
 */
export const ignoringWrong = <A>(variable: Variable<A>): Variable<A> => ({
  ...variable,
  whenWrong: "ignore",
});

/**
 * The variable as an effect `Config` that fails where the value is wrong, also where that is to be ignored. White space
 * around the text is ignored, and an empty text counts as unset. Errors carry the path at which the value was found,
 * the prefix of a nested `ConfigProvider` included, and no secret.
 */
export const strict = <A>(variable: Readable<A>): Config.Config<A> =>
  Config.primitive(variable.accepted, (text): Either.Either<A, ConfigError.ConfigError> => {
    const trimmed = text.trim();
    if (trimmed === "") return Either.right(variable.unset);
    return Either.mapLeft(variable.read(trimmed), (wrong) =>
      ConfigError.InvalidData([], `${variable.showText(trimmed)}: ${wrong}; accepted: ${variable.accepted}`),
    );
  }).pipe(
    Config.nested(variable.name),
    Config.withDefault(variable.unset),
    Config.withDescription(variable.about),
  );

/** The variable as an effect `Config`; see {@link strict}. */
export const config = <A>(variable: Readable<A>): Config.Config<A> =>
  variable.whenWrong === "refuse"
    ? strict(variable)
    : Config.orElseIf(strict(variable), {
        if: ConfigError.isInvalidData,
        orElse: () => Config.succeed(variable.unset),
      });
