/**
 * The socket on which systemd listens for what its services say of themselves (sd_notify(3)).
 */
import { getSystemErrorName } from "node:util";
import { Data, Effect, type Scope } from "effect";
import * as Library from "../libc/Library.js";
import * as UnixDatagrams from "../libc/UnixDatagrams.js";

export class NotifySocketError extends Data.TaggedError("NotifySocketError")<{
  readonly message: string;
}> {}

export interface NotifySocket {
  /**
   * Sends one datagram, without waiting: undefined when systemd has it, otherwise the code of what went wrong, which
   * is EAGAIN while its queue is full.
   */
  readonly send: (text: string) => string | undefined;
}

/** Opens a socket to what NOTIFY_SOCKET names. */
export const open = (name: string): Effect.Effect<NotifySocket, NotifySocketError, Scope.Scope> =>
  Effect.gen(function* () {
    const address = UnixDatagrams.addressOf(name);
    if (address === undefined) {
      return yield* new NotifySocketError({
        message: `NOTIFY_SOCKET is not the address of a Unix socket: ${name}`,
      });
    }
    const datagrams = yield* Effect.tryPromise({
      try: async () => UnixDatagrams.make(await Library.load()),
      catch: (cause) =>
        new NotifySocketError({
          message: `the C library cannot be called (${cause instanceof Error ? cause.message : String(cause)})`,
        }),
    });
    const fd = yield* Effect.acquireRelease(
      Effect.filterOrFail(
        Effect.sync(datagrams.socket),
        (fd) => fd >= 0,
        (errno) =>
          new NotifySocketError({ message: `no Unix socket can be opened (${getSystemErrorName(errno)})` }),
      ),
      (fd) => Effect.sync(() => datagrams.close(fd)),
    );
    return {
      send: (text) => {
        const sent = datagrams.send(fd, Buffer.from(text), address);
        return sent < 0 ? getSystemErrorName(sent) : undefined;
      },
    };
  });
