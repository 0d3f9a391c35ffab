/**
 * Loopback ports for tests that need one by its number: to listen there later, to come back there, or to find
 * nobody there.
 *
 * Asking the kernel for port 0, closing and using the number again is not enough: it may give that number to the
 * next who asks, in this process or another. These come from below the ports that it gives by itself (32768 and up
 * on Linux), in blocks of which each process claims one for its life, and go round in the block.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { Effect } from "effect";

const lowest = 10_240;
const highest = 32_767;
const blockSize = 256;
const blocks = Math.floor((highest - lowest + 1) / blockSize);

/** The first port of a block that no other process has, which the UDP port of the same number says. */
const claim = async (): Promise<number> => {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const first = lowest + blockSize * Math.floor(Math.random() * blocks);
    const lock = createSocket("udp4");
    try {
      lock.bind({ port: first, address: "127.0.0.1", exclusive: true });
      await once(lock, "listening");
      lock.unref();
      return first;
    } catch {
      lock.close();
    }
  }
  throw new Error(`no block of ${blockSize} ports from ${lowest} to ${highest} could be claimed`);
};

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer();
  try {
    // On every address, so that it is nobody's on any.
    server.listen({ port, exclusive: true });
    await once(server, "listening");
  } catch {
    return false;
  }
  const closed = once(server, "close");
  server.close();
  await closed;
  return true;
};

let claimed: Promise<number> | undefined;
let given = 0;

/** A port that nobody listens on, and that nobody else who asks here gets before 255 others were given. */
export const unused: Effect.Effect<number> = Effect.promise(async () => {
  claimed ??= claim();
  const first = await claimed;
  for (let attempt = 0; attempt < blockSize; attempt++) {
    const port = first + (given++ % blockSize);
    if (await isFree(port)) return port;
  }
  throw new Error(`all ports from ${first} to ${first + blockSize - 1} are in use`);
});
