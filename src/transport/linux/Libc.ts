/**
 * The system calls of the Linux transport, and all that is known here of the kernel's numbers and memory layouts.
 *
 * Every call is synchronous, works on numbers and memory that was allocated before, and returns a number: the result of
 * the system call, or a negated errno. So the hot path allocates nothing, and a simulated kernel can stand behind it.
 *
 * The numbers are those of Linux's generic headers, which x86-64 and 64-bit ARM share, in glibc and in musl; the one
 * layout that differs is `epoll_event`, packed on x86-64 alone.
 */

/** Memory that stays where it is for as long as something refers to this object. */
export interface Block {
  readonly bytes: Uint8Array;
  /** Where the kernel finds `bytes`. */
  readonly address: number;
}

/** A count, a descriptor or zero; below zero a negated errno, for which {@link errnoName} has the word. */
export type Result = number;

export interface Service {
  /** Zeroed memory. Meant for few and long-lived blocks. */
  readonly allocate: (size: number) => Block;

  /** A TCP socket, non-blocking and close-on-exec. */
  readonly socket: (family: number) => Result;
  /** Addresses are given at the start of a block: {@link writeAddress}. */
  readonly bind: (fd: number, address: Block, length: number) => Result;
  readonly listen: (fd: number, backlog: number) => Result;
  /**
   * The next connection, non-blocking and close-on-exec; the peer's address is written at the start of the block
   * ({@link addressSize}). It inherits what Linux lets it inherit: NODELAY, LINGER, KEEPALIVE
   * and its times.
   */
  readonly accept: (fd: number, address: Block) => Result;
  readonly connect: (fd: number, address: Block, length: number) => Result;
  /** Writes the socket's own address at the start of the block ({@link addressSize}). */
  readonly socketName: (fd: number, address: Block) => Result;
  /** An option whose value is an `int`. */
  readonly setOption: (fd: number, level: number, option: number, value: number) => Result;
  /** Whether `close`, and the end of this process, send RST: SO_LINGER with no time, or off. */
  readonly resetOnClose: (fd: number, on: boolean) => Result;
  /** Takes SO_ERROR: the socket's pending error as a positive errno, 0 for none. */
  readonly takeError: (fd: number) => Result;
  /** Writes what the kernel knows of a connection at the start of a block, as {@link tcpInfo} says. */
  readonly connectionInfo: (fd: number, info: Block) => Result;
  /** Makes an inherited descriptor non-blocking (O_NONBLOCK), for all processes that share it. */
  readonly setNonBlocking: (fd: number) => Result;
  /** Sends FIN (SHUT_WR). */
  readonly shutdown: (fd: number) => Result;
  /** The descriptor is closed afterwards, whatever the result (close(2), "Dealing with error returns"). */
  readonly close: (fd: number) => Result;

  /**
   * From sockets only. After a short read there is no more now, unless FIN, an error or urgent data follow: what
   * arrives later causes an event of its own (epoll(7), question 9).
   */
  readonly read: (fd: number, block: Block, offset: number, length: number) => Result;
  /**
   * As {@link read}, from the start of the block, and leaves what it reads to be read again (MSG_PEEK). Bytes that come
   * later bring an event.
   */
  readonly peek: (fd: number, block: Block, length: number) => Result;
  /** How many bytes of a connection wait to be read (SIOCINQ). A pending error stays pending. */
  readonly unread: (fd: number) => Result;
  /** How many bytes that were written to a connection its peer has not acknowledged (SIOCOUTQ). */
  readonly unacknowledged: (fd: number) => Result;
  /** `more` keeps a small rest back for what must follow at once, bytes or FIN, to go along with it (MSG_MORE). */
  readonly write: (fd: number, block: Block, offset: number, length: number, more?: boolean) => Result;
  /**
   * About how many bytes a socket would take now, by the kernel's account of its buffer (SO_MEMINFO, Linux 4.12).
   */
  readonly sendRoom: (fd: number) => Result;
  /** Copies from a pipe; returns less than was requested only if the pipe holds less. */
  readonly readPipe: (fd: number, block: Block, offset: number, length: number) => Result;
  /** A non-blocking pipe: the reading and the writing descriptor as two `int` at the start of the block. */
  readonly pipe: (ends: Block) => Result;
  /** F_SETPIPE_SZ. Returns the capacity in bytes. */
  readonly setPipeSize: (fd: number, bytes: number) => Result;
  /** Moves at most `length` bytes between a socket and a pipe; never waits for the pipe. */
  readonly splice: (from: number, to: number, length: number) => Result;

  /** Close-on-exec. */
  readonly epollCreate: () => Result;
  /**
   * `fd` and `incarnation` come back with every event, as the two halves of its data. Both are unsigned 32-bit numbers.
   */
  readonly epollControl: (
    epoll: number,
    operation: number,
    fd: number,
    events: number,
    incarnation: number,
  ) => Result;
  /**
   * Writes at most `most` events from the start of the block, as {@link epollEvent} says.
   * Waits for `timeoutMillis`; 0 does not wait, -1 has no limit.
   */
  readonly epollWait: (epoll: number, events: Block, most: number, timeoutMillis: number) => Result;
}

/** Address families. */
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Levels and options of {@link Service}'s `setOption`. */
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_KEEPALIVE = 9;
export const SO_REUSEPORT = 15;
export const IPPROTO_IP = 0;
/** Of IPv6 sockets too. bind(2) leaves the port to connect(2), which needs one that is free towards its target alone. */
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
/** In seconds; the kernel rounds up to whole retransmissions of SYN-ACK. */
export const TCP_DEFER_ACCEPT = 9;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_QUICKACK = 12;
/** Linux 6.15. The longest time between two retransmissions or window probes, in milliseconds. */
export const TCP_RTO_MAX_MS = 44;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;

/** `struct tcp_info`: as many bytes of it as are used here, and where in them is what (include/uapi/linux/tcp.h). */
export const tcpInfo = {
  size: 60,
  state: 0,
  retransmits: 2,
  probes: 3,
  unacked: 24,
  lastDataReceived: 52,
  lastAckReceived: 56,
} as const;
/** A value of its state. */
export const TCP_SYN_SENT = 2;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;

export const EPOLLIN = 0x1;
/** Urgent data is in the queue. */
export const EPOLLPRI = 0x2;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
/** As an unsigned number: `|` makes it negative, which the kernel reads as the same 32 bits. */
export const EPOLLET = 0x8000_0000;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const ENOSPC = 28;
export const EPIPE = 32;
export const ENONET = 64;
export const EPROTO = 71;
export const ENOTSOCK = 88;
export const ENOPROTOOPT = 92;
export const EOPNOTSUPP = 95;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETDOWN = 100;
export const ENETUNREACH = 101;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ENOBUFS = 105;
export const ENOTCONN = 107;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTDOWN = 112;
export const EHOSTUNREACH = 113;
export const EINPROGRESS = 115;
/** The result of a cancelled operation of io_uring. */
export const ECANCELED = 125;

const names: ReadonlyMap<number, string> = new Map(
  Object.entries({
    EPERM,
    ENOENT,
    EINTR,
    EBADF,
    EAGAIN,
    ENOMEM,
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    ENFILE,
    EMFILE,
    ENOSPC,
    EPIPE,
    EPROTO,
    ENOTSOCK,
    EOPNOTSUPP,
    EAFNOSUPPORT,
    EADDRINUSE,
    EADDRNOTAVAIL,
    ENETDOWN,
    ENETUNREACH,
    ECONNABORTED,
    ECONNRESET,
    ENOBUFS,
    ENOTCONN,
    ETIMEDOUT,
    ECONNREFUSED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EINPROGRESS,
    ECANCELED,
    ENONET,
    ENOPROTOOPT,
  }).map(([name, number]) => [number, name]),
);

/** The word for an errno, negated or not: ECONNRESET. */
export const errnoName = (errno: number): string => names.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`;

/** Where the parts of an `epoll_event` are, in 32-bit words. */
export interface EpollEventLayout {
  /** From one event to the next. */
  readonly words: number;
  /** The event mask. */
  readonly events: number;
  /** The low half of its data: the descriptor. */
  readonly fd: number;
  /** The high half of its data: which use of the descriptor it is. */
  readonly incarnation: number;
}

/** `arch` is one of `process.arch`. Both halves of the data are where a little-endian machine has them. */
export const epollEventOf = (arch: string): EpollEventLayout =>
  arch === "x64"
    ? { words: 3, events: 0, fd: 1, incarnation: 2 }
    : { words: 4, events: 0, fd: 2, incarnation: 3 };

export const epollEvent: EpollEventLayout = epollEventOf(process.arch);

/** A `sockaddr_in6`, the longest address that is used here, and the length that the kernel tells, an `int`. */
export const addressSize = 32;
/** Where that length is in such a block. */
export const addressLengthOffset = 28;
/** `sizeof(struct sockaddr_in)` and `sizeof(struct sockaddr_in6)`. */
export const inetLength = 16;
export const inet6Length = 28;

/** An IP address and a port, as bytes in the order of the network. */
export interface RawAddress {
  readonly family: typeof AF_INET | typeof AF_INET6;
  /** 4 or 16 bytes. */
  readonly bytes: ReadonlyArray<number>;
  readonly port: number;
  /** The interface that a link-local IPv6 address is on; 0 for none. */
  readonly scope: number;
}

/** Writes an address at the start of a block of {@link addressSize}; returns its length. */
export const writeAddress = ({ bytes }: Block, address: RawAddress): number => {
  bytes.fill(0, 0, addressSize);
  // sa_family_t is in the byte order of the machine, the port in that of the network.
  bytes[0] = address.family;
  bytes[2] = address.port >> 8;
  bytes[3] = address.port & 0xff;
  const inet = address.family === AF_INET;
  bytes.set(address.bytes, inet ? 4 : 8);
  if (inet) return inetLength;
  for (let i = 0; i < 4; i++) bytes[24 + i] = (address.scope >>> (8 * i)) & 0xff;
  return inet6Length;
};

// Not by spreading a part of the block: its iterator costs more than all else of an accepted connection's address.
const copy = (bytes: Uint8Array, from: number, length: number): ReadonlyArray<number> => {
  const part: Array<number> = [];
  for (let i = from; i < from + length; i++) part.push(bytes[i] ?? 0);
  return part;
};

/** Reads the address at the start of a block; undefined for a family that is not IP. */
export const readAddress = ({ bytes }: Block): RawAddress | undefined => {
  const family = (bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8);
  const port = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0);
  if (family === AF_INET) return { family, bytes: copy(bytes, 4, 4), port, scope: 0 };
  if (family !== AF_INET6) return undefined;
  let scope = 0;
  for (let i = 3; i >= 0; i--) scope = scope * 256 + (bytes[24 + i] ?? 0);
  return { family, bytes: copy(bytes, 8, 16), port, scope };
};
