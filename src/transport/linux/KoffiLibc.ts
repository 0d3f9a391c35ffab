/**
 * The system calls of the Linux transport, as functions of the C library. Every length here fits an `int`.
 */
import { functionsOf, type Koffi, MSG_NOSIGNAL, SOCK_CLOEXEC } from "../../libc/Library.js";
import type { EventCounters } from "./EventCounter.js";
import {
  addressLengthOffset,
  addressSize,
  type Block,
  epollEvent,
  errnoName,
  IPPROTO_TCP,
  inet6Length,
  type Result,
  type Service,
  SO_REUSEADDR,
  SOL_SOCKET,
  tcpInfo,
} from "./Libc.js";
import { pageSize, type RingRemains, type Uring } from "./Uring.js";

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const EPOLL_CLOEXEC = 0o2000000;
const SO_ERROR = 4;
const SO_LINGER = 13;
const TCP_INFO = 11;
const SO_MEMINFO = 55;
/** What SO_MEMINFO fills in, in 32-bit words (include/uapi/linux/sock_diag.h). */
const memoryInfo = { words: 9, sendBuffer: 3, queued: 5 };
const SHUT_WR = 1;
const SIOCINQ = 0x541b;
const SIOCOUTQ = 0x5411;
const MSG_MORE = 0x8000;
const MSG_PEEK = 0x2;
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;

/**
 * Forces V8 to store `address` as a boxed heap number; an unboxed double field allocates 16 bytes on each call that it
 * is passed to, four times a request. V8 unboxes only fields that have never held anything but floating-point numbers.
 */
class Pinned implements Block {
  readonly address: number;

  constructor(
    readonly bytes: Uint8Array,
    address: number,
  ) {
    this.address = undefined as unknown as number; // for V8 alone: overwritten in the next line
    this.address = address;
  }
}

/** The address of a byte of a block. The offset is usually 0; then the existing number is reused without allocation. */
const placeIn = ({ address }: Block, offset: number): number => (offset === 0 ? address : address + offset);

/**
 * Throws where the process does not have one of the functions.
 *
 * `owned[fd]` is 1 while these calls own descriptor `fd`; numbers beyond its end are not recorded. V8 can terminate a
 * thread only at a function entry or a loop back-edge, so none falls between the system call and the flag. It is
 * cleared before `close`, since afterwards another thread may get the number.
 */
export const make = (koffi: Koffi, owned: Uint8Array = new Uint8Array(0)): Service => {
  const { call, checked, failed, library } = functionsOf(koffi);
  const socket = call("int socket(int, int, int)");
  const bind = call("int bind(int, uintptr_t, uint)");
  const listen = call("int listen(int, int)");
  const accept4 = call("int accept4(int, uintptr_t, uintptr_t, int)");
  const connect = call("int connect(int, uintptr_t, uint)");
  const getsockname = call("int getsockname(int, uintptr_t, uintptr_t)");
  const setsockopt = call("int setsockopt(int, int, int, uintptr_t, uint)");
  const getsockopt = call("int getsockopt(int, int, int, uintptr_t, uintptr_t)");
  const shutdown = call("int shutdown(int, int)");
  const close = call("int close(int)");
  const read = call("int read(int, uintptr_t, size_t)");
  const recv = call("int recv(int, uintptr_t, size_t, int)");
  const send = call("int send(int, uintptr_t, size_t, int)");
  const pipe2 = call("int pipe2(uintptr_t, int)");
  // Variadic in C: its third argument has to be given with its type.
  const fcntl = library.func("int fcntl(int, int, ...)") as (
    fd: number,
    command: number,
    type: string,
    value: number,
  ) => number;
  // Variadic too, but its argument is passed as in any other call by every C library of x86-64 and 64-bit ARM Linux.
  const ioctl = call("int ioctl(int, ulong, uintptr_t)");
  const splice = call("int splice(int, uintptr_t, int, uintptr_t, size_t, uint)");
  const epollCreate1 = call("int epoll_create1(int)");
  const epollCtl = call("int epoll_ctl(int, int, int, uintptr_t)");
  const epollWait = call("int epoll_wait(int, uintptr_t, int, int)");

  const allocate = (size: number): Block => {
    // A small typed array of its own would be on V8's heap, where things move; an ArrayBuffer's memory does not.
    const bytes = new Uint8Array(new ArrayBuffer(size));
    return new Pinned(bytes, Number(koffi.address(bytes)));
  };
  const scratch = allocate(16);
  const words = new Int32Array(scratch.bytes.buffer);
  /** Both descriptors of a pipe. */
  const scratchEnds = scratch.bytes.subarray(0, 8);
  // With room for the length behind it.
  const memoryBlock = allocate(4 * memoryInfo.words + 4);
  const memory = new Uint32Array(memoryBlock.bytes.buffer);
  const event = allocate(4 * epollEvent.words);
  const eventWords = new Uint32Array(event.bytes.buffer);

  const addressed = (
    named: (fd: number, address: number, length: number) => number,
    fd: number,
    address: Block,
  ): Result => {
    address.bytes[addressLengthOffset] = inet6Length;
    address.bytes[addressLengthOffset + 1] = 0;
    address.bytes[addressLengthOffset + 2] = 0;
    address.bytes[addressLengthOffset + 3] = 0;
    return checked(named(fd, address.address, address.address + addressLengthOffset));
  };
  const acceptFrom = (fd: number, address: number, length: number) =>
    accept4(fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);

  const libc: Service = {
    allocate,
    socket: (family) => {
      const fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) return failed();
      owned[fd] = 1;
      return fd;
    },
    bind: (fd, address, length) => checked(bind(fd, address.address, length)),
    listen: (fd, backlog) => checked(listen(fd, backlog)),
    accept: (fd, address) => addressed(acceptFrom, fd, address),
    connect: (fd, address, length) => checked(connect(fd, address.address, length)),
    socketName: (fd, address) => addressed(getsockname, fd, address),
    setOption: (fd, level, option, value) => {
      words[0] = value;
      return checked(setsockopt(fd, level, option, scratch.address, 4));
    },
    resetOnClose: (fd, on) => {
      // struct linger: on or off, for no time.
      words[0] = on ? 1 : 0;
      words[1] = 0;
      return checked(setsockopt(fd, SOL_SOCKET, SO_LINGER, scratch.address, 8));
    },
    takeError: (fd) => {
      words[0] = 0;
      words[2] = 4;
      const result = getsockopt(fd, SOL_SOCKET, SO_ERROR, scratch.address, scratch.address + 8);
      return result < 0 ? failed() : (words[0] ?? 0);
    },
    connectionInfo: (fd, info) => {
      words[2] = tcpInfo.size;
      return checked(getsockopt(fd, IPPROTO_TCP, TCP_INFO, info.address, scratch.address + 8));
    },
    setNonBlocking: (fd) => {
      const flags = fcntl(fd, F_GETFL, "int", 0);
      return checked(flags < 0 ? flags : fcntl(fd, F_SETFL, "int", flags | O_NONBLOCK));
    },
    shutdown: (fd) => checked(shutdown(fd, SHUT_WR)),
    close: (fd) => {
      owned[fd] = 0;
      const result = close(fd);
      return result < 0 ? failed() : result;
    },
    read: (fd, block, offset, length) => checked(recv(fd, placeIn(block, offset), length, 0)),
    peek: (fd, block, length) => checked(recv(fd, block.address, length, MSG_PEEK)),
    unread: (fd) => {
      words[0] = 0;
      const result = ioctl(fd, SIOCINQ, scratch.address);
      return result < 0 ? failed() : (words[0] ?? 0);
    },
    unacknowledged: (fd) => {
      words[0] = 0;
      const result = ioctl(fd, SIOCOUTQ, scratch.address);
      return result < 0 ? failed() : (words[0] ?? 0);
    },
    write: (fd, block, offset, length, more = false) =>
      checked(send(fd, placeIn(block, offset), length, more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL)),
    sendRoom: (fd) => {
      memory[memoryInfo.words] = 4 * memoryInfo.words;
      const result = getsockopt(
        fd,
        SOL_SOCKET,
        SO_MEMINFO,
        memoryBlock.address,
        memoryBlock.address + 4 * memoryInfo.words,
      );
      if (result < 0) return failed();
      // Inside the array, which the kernel filled.
      return Math.max(0, (memory[memoryInfo.sendBuffer] as number) - (memory[memoryInfo.queued] as number));
    },
    readPipe: (fd, block, offset, length) => checked(read(fd, block.address + offset, length)),
    pipe: (ends) => {
      const result = pipe2(scratch.address, O_NONBLOCK | O_CLOEXEC);
      if (result < 0) return failed();
      owned[words[0] as number] = 1; // written by the kernel, as is the next
      owned[words[1] as number] = 1;
      ends.bytes.set(scratchEnds);
      return result;
    },
    setPipeSize: (fd, bytes) => checked(fcntl(fd, F_SETPIPE_SZ, "int", bytes)),
    splice: (from, to, length) => checked(splice(from, 0, to, 0, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)),
    epollCreate: () => {
      const fd = epollCreate1(EPOLL_CLOEXEC);
      if (fd < 0) return failed();
      owned[fd] = 1;
      return fd;
    },
    epollControl: (epoll, operation, fd, events, incarnation) => {
      eventWords[epollEvent.events] = events;
      eventWords[epollEvent.fd] = fd;
      eventWords[epollEvent.incarnation] = incarnation;
      return checked(epollCtl(epoll, operation, fd, event.address));
    },
    epollWait: (epoll, events, most, timeoutMillis) =>
      checked(epollWait(epoll, events.address, most, timeoutMillis)),
  };
  verify(libc);
  return libc;
};

/** `__NR_io_uring_setup` and the two that follow it, the same on every architecture. */
const NR_IO_URING_SETUP = 425;
const NR_IO_URING_ENTER = 426;
const NR_IO_URING_REGISTER = 427;
const IORING_ENTER_GETEVENTS = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const EFD_CLOEXEC_NONBLOCK = O_CLOEXEC | O_NONBLOCK;

/** Throws like {@link make}; `owned` as there. */
export const makeEventCounters = (koffi: Koffi, owned: Uint8Array = new Uint8Array(0)): EventCounters => {
  const { call, checked, failed } = functionsOf(koffi);
  const eventfd = call("int eventfd(uint, int)");
  const read = call("int read(int, uintptr_t, size_t)");
  const write = call("int write(int, uintptr_t, size_t)");
  // Read and written by the kernel: 64-bit numbers, which stay where they are for as long as the functions below do.
  const count = new BigUint64Array(new ArrayBuffer(8));
  const one = new BigUint64Array(new ArrayBuffer(8)).fill(1n);
  const countAddress = Number(koffi.address(count));
  const oneAddress = Number(koffi.address(one));
  return {
    eventCounter: () => {
      const fd = eventfd(0, EFD_CLOEXEC_NONBLOCK);
      if (fd < 0) return failed();
      owned[fd] = 1;
      return fd;
    },
    raiseCounter: (counter) => checked(write(counter, oneAddress, one.byteLength)),
    clearCounter: (counter) => checked(read(counter, countAddress, count.byteLength)),
  };
};

const munmapOf = (koffi: Koffi) => functionsOf(koffi).call("int munmap(uintptr_t, size_t)");

/** Unmaps what the ring of a thread that has died has left. Throws like {@link make}. */
export const makeClearRemains = (koffi: Koffi): ((remains: RingRemains) => void) => {
  const munmap = munmapOf(koffi);
  return ({ mappings }) => {
    const left = new Float64Array(mappings);
    for (let at = 0; at < left.length; at += 2) {
      const [address = 0, size = 0] = left.subarray(at, at + 2);
      if (address !== 0) munmap(address, size);
    }
    left.fill(0);
  };
};

/**
 * The calls of io_uring, which the C libraries have no functions for. Throws like {@link make}; `owned` as there, and
 * `remains` is where mappings are written down in the same way, and where buffers are.
 */
export const makeUring = (
  koffi: Koffi,
  owned: Uint8Array = new Uint8Array(0),
  remains?: RingRemains,
): Uring => {
  const { call, checked, failed } = functionsOf(koffi);
  const setup = call("int syscall(long, uint, uintptr_t)");
  const enter = call("int syscall(long, int, uint, uint, uint, uintptr_t, size_t)");
  const register = call("int syscall(long, int, uint, uintptr_t, uint)");
  const mmap = call("intptr_t mmap(uintptr_t, size_t, int, int, int, intptr_t)");
  const munmap = munmapOf(koffi);
  const mappings = new Float64Array(remains?.mappings ?? new ArrayBuffer(0));

  const pagesOf = (memory: Uint8Array, size: number): Block => {
    const start = Number(koffi.address(memory));
    const skip = (pageSize - (start % pageSize)) % pageSize;
    return new Pinned(memory.subarray(skip, skip + size), start + skip);
  };
  const allocatePages = (size: number): Block =>
    pagesOf(new Uint8Array(new ArrayBuffer(size + pageSize)), size);

  return {
    ...makeEventCounters(koffi, owned),
    allocatePages,
    allocateBuffers: (size) =>
      remains === undefined ? allocatePages(size) : pagesOf(new Uint8Array(remains.buffers), size),
    setup: (entries, { address }) => {
      const fd = setup(NR_IO_URING_SETUP, entries, address);
      if (fd < 0) return failed();
      owned[fd] = 1;
      return fd;
    },
    enter: (ring, submit) => checked(enter(NR_IO_URING_ENTER, ring, submit, 0, IORING_ENTER_GETEVENTS, 0, 0)),
    register: (ring, operation, argument, count) =>
      checked(register(NR_IO_URING_REGISTER, ring, operation, argument, count)),
    map: (ring, size, offset) => {
      const at = mappings.indexOf(0);
      const address = mmap(0, size, PROT_READ_WRITE, MAP_SHARED_POPULATE, ring, offset);
      if (address === -1) return undefined;
      mappings[at] = address;
      mappings[at + 1] = size;
      return { bytes: new Uint8Array(koffi.view(BigInt(address), size)), address };
    },
    unmap: ({ address, bytes: { byteLength } }) => {
      const at = mappings.indexOf(address);
      mappings[at] = 0;
      mappings[at + 1] = 0;
      munmap(address, byteLength);
    },
  };
};

/** That a call, an address, an option and an errno arrive as they are meant, before anything is built on them. */
const verify = (libc: Service): void => {
  const expect = (what: string, is: boolean, result: Result): void => {
    if (!is) throw new Error(`${what} answered ${result < 0 ? errnoName(result) : result}`);
  };
  const name = libc.allocate(addressSize);
  const fd = libc.socket(2);
  expect("socket", fd >= 0, fd);
  try {
    const set = libc.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    expect("setsockopt", set === 0, set);
    const named = libc.socketName(fd, name);
    expect("getsockname", named === 0 && name.bytes[0] === 2, named);
    const error = libc.takeError(fd);
    expect("getsockopt", error === 0, error);
  } finally {
    libc.close(fd);
  }
  const unknown = libc.read(-1, name, 0, 1);
  expect("reading from no descriptor", errnoName(unknown) === "EBADF", unknown);
};
