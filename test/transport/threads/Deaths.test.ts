import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import koffi from "koffi";
import * as Library from "../../../src/libc/Library.js";
import { Engine } from "../../../src/transport/linux/Engine.js";
import * as KoffiLibc from "../../../src/transport/linux/KoffiLibc.js";
import { addressSize, inetLength, writeAddress } from "../../../src/transport/linux/Libc.js";
import * as NodeHostLoop from "../../../src/transport/linux/NodeHostLoop.js";
import { Socket } from "../../../src/transport/linux/Socket.js";
import { ThreadHandle } from "../../../src/transport/threads/ThreadHandle.js";
import { dataThreadFile } from "../../support/DataThreadFile.js";
import { eventually, serve } from "../../support/Sockets.js";

const file = await dataThreadFile();

const deaths = 100;

/** What this process has open, by kind: `socket`, `pipe`, `anon_inode:[eventpoll]`. */
const open = (): Readonly<Record<string, number>> => {
  const kinds: Record<string, number> = {};
  for (const fd of readdirSync("/proc/self/fd")) {
    let kind: string;
    try {
      kind = readlinkSync(`/proc/self/fd/${fd}`).replace(/:\[\d+\]$/, "");
    } catch {
      continue; // of the folder that was read
    }
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
};

/** Mappings of rings, whose memory the kernel has locked. */
const ringMappings = (): number =>
  readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => line.includes("[io_uring]")).length;

describe("a data thread that is ended at any moment", () => {
  it.scopedLive.each(["epoll", "io_uring"])(
    `leaves no descriptor, no pipe and no mapping, ${deaths} times, on %s`,
    (by) =>
      Effect.gen(function* () {
        // Sends bulk at once, so that connections have pipes, and takes all; some of them end by themselves.
        const bulk = Buffer.alloc(4_000_000);
        let served = 0;
        const backend = yield* serve((socket) => {
          served += 1;
          socket.on("error", () => {});
          if (served % 2 === 0) socket.end("small");
          else socket.write(bulk);
          socket.on("end", () => socket.destroy());
          socket.resume();
        });
        const libc = KoffiLibc.make(koffi);
        const counters = KoffiLibc.makeEventCounters(koffi);
        const native = Library.openNative() ?? assert.fail("koffi's file is not known");
        yield* Effect.addFinalizer(() => Effect.sync(native.close));
        const engine = yield* Effect.acquireRelease(
          Effect.sync(
            () => new Engine(libc, NodeHostLoop.make(koffi), 10_000, (fault) => assert.fail(String(fault))),
          ),
          (engine) => Effect.sync(() => engine.shutdown()),
        );
        const address = libc.allocate(addressSize);
        writeAddress(address, { family: 2, bytes: [127, 0, 0, 1], port: backend.port, scope: 0 });
        const to = { family: 2, address, length: inetLength };
        /** A client: a socket that is connected to the backend itself, and so sends as it does, and takes what it sends. */
        const client = (): Socket => {
          const fd = libc.socket(2);
          libc.connect(fd, address, inetLength);
          return new Socket(engine, fd, { host: "127.0.0.1", port: backend.port }, true);
        };

        const die = (delay: number) =>
          Effect.async<void>((resume) => {
            let lost = 0;
            let handed = 0;
            const told = {
              ended: ({ end }: { readonly end: string }) => {
                if (end === "thread-lost") lost += 1;
                handed -= 1;
                more();
              },
              failed: () => {
                handed -= 1;
              },
              threw: (defect: unknown) => assert.fail(String(defect)),
            };
            const link = new ThreadHandle(engine, counters, {
              name: "mortal",
              slots: 100,
              descriptors: 10_000,
              pipeBudget: 16 * 1024 * 1024,
              clearRing: by === "io_uring" ? KoffiLibc.makeClearRemains(koffi) : undefined,
              onReady: () => {
                for (let i = 0; i < 20; i++) more();
                setTimeout(() => void worker.terminate(), delay);
              },
              onFault: assert.fail,
            });
            let over = false;
            const more = (): void => {
              if (over || !link.hasPlace) return;
              handed += 1;
              link.handOver(client(), to, { timeoutMillis: 5_000 }, { received: 0, sent: 0 }, told);
            };
            const worker = new Worker(file, { workerData: { ...link.memory, koffi: native.path } });
            worker.on("error", (error) => assert.fail(String(error)));
            worker.once("exit", () => {
              over = true;
              assert.isAbove(link.state.connections, 0);
              link.close();
              assert.strictEqual(handed, 0, "a connection that nobody has heard of again");
              assert.isAbove(lost, 0, "there was nothing to lose");
              resume(Effect.void);
            });
          });

        yield* die(1);
        yield* eventually(() => backend.sockets.size === 0);
        const before = open();
        // libuv of newer versions of Node has rings of its own.
        const ringsBefore = ringMappings();
        for (let death = 0; death < deaths; death++) yield* die(1 + (death % 10));
        // The backend's own sockets close in turns of the loop that follow.
        yield* eventually(() => backend.sockets.size === 0);
        assert.deepStrictEqual(open(), before);
        assert.strictEqual(ringMappings(), ringsBefore);
      }).pipe(Effect.orDie),
    300_000,
  );
});
