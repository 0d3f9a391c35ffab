/**
 * The listening socket that systemd passes to a service with a `.socket` unit (sd_listen_fds(3)). systemd keeps it
 * over a restart of the service, so that clients that connect meanwhile wait instead of being refused.
 */
import { Data, Either } from "effect";

/** The first descriptor that is passed: SD_LISTEN_FDS_START. */
const first = 3;

export class InheritedSocketError extends Data.TaggedError("InheritedSocketError")<{
  readonly message: string;
}> {}

export interface Environment {
  /** The process that the sockets are meant for. */
  readonly LISTEN_PID?: string | undefined;
  /** How many there are. */
  readonly LISTEN_FDS?: string | undefined;
}

/**
 * The descriptor of the socket that was passed to the process with this id; undefined when none was. Fails when
 * there are several: the balancer listens on one.
 */
export const inherited = (
  { LISTEN_FDS, LISTEN_PID }: Environment = process.env,
  pid: number = process.pid,
): Either.Either<number | undefined, InheritedSocketError> => {
  // For others, whose children we are.
  if (LISTEN_FDS === undefined || LISTEN_PID !== String(pid)) return Either.right(undefined);
  if (LISTEN_FDS === "0") return Either.right(undefined);
  return LISTEN_FDS === "1"
    ? Either.right(first)
    : Either.left(
        new InheritedSocketError({
          message: `systemd passes LISTEN_FDS=${LISTEN_FDS} sockets: the load balancer takes one; leave one ListenStream= in the .socket unit`,
        }),
      );
};
