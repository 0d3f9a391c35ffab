/** What a data thread runs: the main thread starts it as a worker. */
import { readlinkSync, writeFileSync } from "node:fs";
import { workerData } from "node:worker_threads";
import koffi from "koffi";
import * as KoffiLibc from "../linux/KoffiLibc.js";
import { DataThread } from "./DataThread.js";
import type { Memory } from "./Protocol.js";
import { ThreadCounts } from "./ThreadCounts.js";

const memory: Memory = workerData; // from ThreadHandle

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
