/**
 * Why the program, or a command of it, does not do what it was asked: printed on stderr, without a stack trace.
 */
import { Data, Effect } from "effect";
import * as Settings from "../config/Settings.js";
import type { ListenError } from "../net/ListenError.js";

/** The message is for the user; the code is what the process exits with. */
export class CommandError extends Data.TaggedError("CommandError")<{
  readonly message: string;
  readonly code: number;
}> {}

/** A wrong setting, command or option: EX_USAGE of sysexits.h. */
export const EX_USAGE = 64;

/** The settings, or what is wrong with them. */
export const settings: Effect.Effect<Settings.Found, CommandError> = Effect.mapError(
  Settings.read,
  ({ message }) => new CommandError({ message, code: EX_USAGE }),
);

/** Why an address cannot be listened on, and what to do; `port` and `address` are the variables that name it. */
export const cannotListen = ({ message, reason }: ListenError, port: string, address: string): string => {
  switch (reason) {
    case "in-use":
      return `${message}: choose another port with ${port}, or end that program`;
    case "not-permitted":
      return `${message}: choose a port from 1024 up with ${port}, or run with CAP_NET_BIND_SERVICE`;
    case "no-such-address":
      return `${message}: set ${address} to one that is`;
    case "other":
      return `${message}: look at ${address} and ${port}`;
  }
};
