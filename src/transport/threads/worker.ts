/**
 * What a data thread runs: the main thread starts it as a worker. The build makes one file of it and all that it imports,
 * `worker.cjs`, whose text is read once: a thread that starts later needs no file.
 */
import { readlinkSync, writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { workerData } from "node:worker_threads";
import { loadNative } from "../../libc/Library.js";
import * as KoffiLibc from "../linux/KoffiLibc.js";
import { DataThread } from "./DataThread.js";
import type { Start } from "./Protocol.js";
import { ThreadCounts } from "./ThreadCounts.js";

const memory: Start = workerData; // from DataThreads
const koffi = loadNative(memory.koffi);

try {
  writeFileSync("/proc/thread-self/comm", memory.name);
  // PROCESS/task/THREAD
  new ThreadCounts(memory.counts).begin(Number(readlinkSync("/proc/thread-self").split("/").at(-1)));
} catch {
  // Where there is no /proc it has the name of the process, and no number.
}

const owned = new Uint8Array(memory.owned);

new DataThread(
  KoffiLibc.make(koffi, owned),
  KoffiLibc.makeEventCounters(koffi),
  memory.ring === undefined ? undefined : KoffiLibc.makeUring(koffi, owned, memory.ring),
  memory,
  () => performance.now(),
).run();
