/**
 * The addresses that an engine's sockets connect from, as the kernel takes them.
 */
import * as SourceTurns from "../SourceTurns.js";
import { parse } from "./InetAddress.js";
import {
  AF_INET6,
  addressSize,
  type Block,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
  type Service as LibcService,
  type Result,
  writeAddress,
} from "./Libc.js";

/** An address without a port. */
export interface Source {
  readonly family: number;
  readonly address: Block;
  readonly length: number;
}

/** Undefined where there are none. What is no IP address is left out. */
export const make = (
  libc: LibcService,
  hosts: ReadonlyArray<string>,
): SourceTurns.Sources<Source> | undefined =>
  SourceTurns.of(
    hosts.flatMap((host) => {
      const raw = parse({ host, port: 0 });
      if (raw === undefined) return [];
      const address = libc.allocate(addressSize);
      return [{ family: raw.family, address, length: writeAddress(address, raw) }];
    }),
    ({ family }) => family === AF_INET6,
  );

/** Has a socket connect from an address. */
export const bind = (libc: LibcService, fd: number, { address, length }: Source): Result => {
  // Where the kernel is too old for it (before 4.2), bind takes a port that nothing else has.
  libc.setOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  return libc.bind(fd, address, length);
};
