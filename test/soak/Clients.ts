/**
 * What clients do in the soak, each from a seed. Whatever comes back is held to what was sent: never another byte, and
 * all of them if the connection ended in order.
 */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { Random } from "../transport/linux/simulation/Random.js";
import { Stream } from "../transport/linux/simulation/Stream.js";
import { ask, Backend, farewell } from "./Backend.js";

/**
 * No connection of the soak takes longer, unless something hangs. One of a backend that was stopped in the midst of the
 * handshake may take two minutes: its kernel drops what comes while its queue is full, and ours asks more and more rarely.
 */
const patience = 240_000;

/** The balancer did what it must not. */
export class Wrong extends Error {
  override readonly name = "Wrong";
}

/** `cut`: in order, but a backend has died meanwhile, so that what there is may not be all. */
type Ended = "in order" | "cut" | "broken";

const opened = (port: number): Socket => {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  // Errors are ends like others here; "close" tells of them.
  socket.on("error", () => {});
  return socket;
};

/** Waits for the end of a connection. */
const end = (socket: Socket): Promise<Ended> =>
  new Promise((resolve, reject) => {
    let over = false;
    const { deaths } = Backend;
    const timer = setTimeout(() => {
      const { bytesRead, bytesWritten, localPort } = socket;
      socket.destroy();
      reject(
        new Wrong(
          `a connection was not over after ${patience / 1000} s: from port ${localPort}, ${bytesWritten} bytes written and ${bytesRead} read`,
        ),
      );
    }, patience);
    socket.on("end", () => {
      over = true;
    });
    socket.on("close", (failed) => {
      clearTimeout(timer);
      resolve(!over || failed ? "broken" : deaths === Backend.deaths ? "in order" : "cut");
    });
  });

/** Counts what comes, and holds it to what was sent. */
const expecting = (socket: Socket, stream: Stream): { arrived: number; wrong: boolean } => {
  const seen = { arrived: 0, wrong: false };
  socket.on("data", (chunk) => {
    if (!stream.matches(seen.arrived, chunk)) seen.wrong = true;
    seen.arrived += chunk.length;
  });
  return seen;
};

const judged = (seen: { arrived: number; wrong: boolean }, sent: number, ended: Ended): void => {
  if (seen.wrong) throw new Wrong(`another byte came back among ${seen.arrived}`);
  if (ended === "in order" && seen.arrived !== sent) {
    throw new Wrong(`${seen.arrived} of ${sent} bytes came back, and then an orderly end`);
  }
};

/** Writes, and waits where the other side is slow. */
const write = async (socket: Socket, bytes: Uint8Array): Promise<void> => {
  if (socket.destroyed || socket.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
};

const echo =
  (chunk: (random: Random) => number, total: (random: Random) => number, slow: boolean) =>
  async (port: number, random: Random): Promise<void> => {
    const stream = new Stream(random.next());
    const socket = opened(port);
    const ended = end(socket);
    const seen = expecting(socket, stream);
    if (slow) {
      socket.on("data", () => {
        socket.pause();
        void sleep(random.below(3)).then(() => socket.resume());
      });
    }
    socket.write(Uint8Array.of(ask.echo));
    const all = total(random);
    let sent = 0;
    while (sent < all && !socket.destroyed) {
      const length = Math.min(all - sent, chunk(random));
      await write(socket, stream.bytes(sent, length));
      sent += length;
      if (random.oneIn(10)) await turn();
    }
    socket.end();
    judged(seen, sent, await ended);
  };

/** Asks for more than is held for it on the way, reads nothing for a while, and then all. */
const stalling = async (port: number, random: Random): Promise<void> => {
  const stream = new Stream(random.next());
  const socket = opened(port);
  const ended = end(socket);
  const seen = expecting(socket, stream);
  socket.pause();
  socket.write(Uint8Array.of(ask.echo));
  const sent = random.between(100_000, 8_000_000);
  const reads = sleep(random.between(500, 4_000)).then(() => socket.resume());
  for (let at = 0; at < sent && !socket.destroyed; at += 100_000) {
    await write(socket, stream.bytes(at, Math.min(100_000, sent - at)));
  }
  socket.end();
  await reads;
  judged(seen, sent, await ended);
};

const breaking = async (port: number, random: Random): Promise<void> => {
  const stream = new Stream(random.next());
  const socket = opened(port);
  const ended = end(socket);
  const seen = expecting(socket, stream);
  socket.write(Uint8Array.of(ask.echo));
  socket.write(stream.bytes(0, random.between(1, 100_000)));
  await sleep(random.below(20));
  socket.resetAndDestroy();
  await ended;
  judged(seen, 0, "broken");
};

const broken = async (port: number): Promise<void> => {
  const socket = opened(port);
  const ended = end(socket);
  socket.resume();
  socket.write(Uint8Array.of(ask.reset, 1));
  if ((await ended) === "in order") throw new Wrong("a backend's reset came as an orderly end");
};

const leaving = async (port: number, random: Random): Promise<void> => {
  const socket = opened(port);
  const ended = end(socket);
  socket.resume();
  if (random.oneIn(2)) await sleep(random.below(5));
  if (random.oneIn(2)) socket.end();
  else socket.destroy();
  await ended;
};

const outliving = async (port: number, random: Random): Promise<void> => {
  const socket = opened(port);
  const ended = end(socket);
  let text = "";
  const over = new Promise<void>((resolve) => socket.on("end", resolve).on("close", () => resolve()));
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk;
  });
  socket.write(Uint8Array.of(ask.farewell));
  await over;
  // The backend has ended its side; ours still takes bytes.
  for (let i = random.below(5); i > 0 && !socket.destroyed; i--) await write(socket, new Uint8Array(1000));
  socket.end();
  if ((await ended) === "in order" && text !== farewell.toString())
    throw new Wrong(`a farewell came as ${text}`);
};

/** Each takes a port and choices, and throws {@link Wrong}. */
export const clients: readonly [
  (port: number, random: Random) => Promise<void>,
  ...Array<(port: number, random: Random) => Promise<void>>,
] = [
  echo(
    (random) => random.between(1, 20_000),
    (random) => random.between(0, 200_000),
    false,
  ),
  echo(
    () => 300_000,
    (random) => random.between(100_000, 3_000_000),
    false,
  ),
  echo(
    () => 1,
    (random) => random.between(1, 200),
    false,
  ),
  echo(
    () => 200_000,
    (random) => random.between(100_000, 1_000_000),
    true,
  ),
  stalling,
  breaking,
  broken,
  leaving,
  outliving,
];
