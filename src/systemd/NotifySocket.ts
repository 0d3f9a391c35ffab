/**
 * The socket on which systemd listens for what its services say of themselves (sd_notify(3)): datagrams to a Unix
 * address, which Node itself cannot send.
 */
import { getSystemErrorName } from "node:util";
import { Data, Effect, type Scope } from "effect";

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

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EAGAIN = 11;

/** `sun_path` of `struct sockaddr_un`. */
const longestPath = 108;

/**
 * A `sockaddr_un`: a path, or where it begins with `@` an address in the abstract namespace, which begins with a zero
 * byte and has no end but its length (unix(7)). Undefined for anything else.
 */
export const addressOf = (name: string): Uint8Array | undefined => {
  const path = Buffer.from(name);
  if (!/^[@/]/.test(name) || path.length < 2 || path.length >= longestPath) return undefined;
  const abstract = name.startsWith("@");
  const address = Buffer.alloc(2 + path.length + (abstract ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  path.copy(address, 2);
  if (abstract) address[2] = 0;
  return address;
};

/** Opens a socket to what NOTIFY_SOCKET names. */
export const open = (name: string): Effect.Effect<NotifySocket, NotifySocketError, Scope.Scope> =>
  Effect.gen(function* () {
    const address = addressOf(name);
    if (address === undefined) {
      return yield* new NotifySocketError({
        message: `NOTIFY_SOCKET is not the address of a Unix socket: ${name}`,
      });
    }
    const calls = yield* Effect.tryPromise({
      try: async () => {
        const { default: koffi } = await import("koffi");
        const library = koffi.load(null);
        return {
          socket: library.func("int socket(int, int, int)"),
          sendto: library.func("long sendto(int, const uint8_t *, size_t, int, const uint8_t *, uint)"),
          close: library.func("int close(int)"),
          errno: () => koffi.errno(),
        };
      },
      catch: (cause) =>
        new NotifySocketError({
          message: `the C library cannot be called (${cause instanceof Error ? cause.message : String(cause)})`,
        }),
    });
    const fd = yield* Effect.acquireRelease(
      Effect.filterOrFail(
        Effect.sync((): number => calls.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        (fd) => fd >= 0,
        () => new NotifySocketError({ message: "no Unix socket can be opened" }),
      ),
      (fd) => Effect.sync(() => calls.close(fd)),
    );
    return {
      send: (text) => {
        const bytes = Buffer.from(text);
        const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        const sent: number = calls.sendto(fd, bytes, bytes.length, flags, address, address.length);
        // A failure without an errno is one that something overwrote: it is to be tried again.
        return sent < 0 ? getSystemErrorName(-(calls.errno() || EAGAIN)) : undefined;
      },
    };
  });
