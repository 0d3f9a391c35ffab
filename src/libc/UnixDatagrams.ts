/**
 * Datagrams to an address of a Unix socket (unix(7)), which Node itself cannot send.
 */
import { functionsOf, type Koffi, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC } from "./Library.js";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;

/** `sun_path` of `struct sockaddr_un`. */
const longestPath = 108;

/**
 * A `sockaddr_un`: a path, or where it begins with `@` an address in the abstract namespace, which begins with a zero
 * byte and has no end but its length. Undefined for anything else.
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

/** Each call returns the C library's result, or a negated errno. */
export interface UnixDatagrams {
  /** A socket, close-on-exec. */
  readonly socket: () => number;
  /** Sends one datagram without waiting; EAGAIN while the receiver's queue is full. */
  readonly send: (fd: number, bytes: Uint8Array, address: Uint8Array) => number;
  readonly close: (fd: number) => number;
}

export const make = (koffi: Koffi): UnixDatagrams => {
  const { call, checked, library } = functionsOf(koffi);
  const socket = call("int socket(int, int, int)");
  const close = call("int close(int)");
  // By pointers, which koffi takes from typed arrays wherever these are: some datagrams in a minute.
  const sendto = library.func("long sendto(int, const uint8_t *, size_t, int, const uint8_t *, uint)") as (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    to: Uint8Array,
    size: number,
  ) => number;
  return {
    socket: () => checked(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
    send: (fd, bytes, address) =>
      checked(sendto(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length)),
    close: (fd) => checked(close(fd)),
  };
};
