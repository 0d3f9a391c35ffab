/** What a data thread runs: the main thread starts it as a worker. */
import { writeFileSync } from "node:fs";
import { workerData } from "node:worker_threads";
import koffi from "koffi";
import * as KoffiLibc from "../linux/KoffiLibc.js";
import { DataThread } from "./DataThread.js";
import type { Memory } from "./Protocol.js";

const memory: Memory = workerData; // from ThreadLink

try {
  writeFileSync("/proc/thread-self/comm", memory.name);
} catch {
  // Where there is no /proc it has the name of the process.
}

const owned = new Uint8Array(memory.owned);

new DataThread(
  KoffiLibc.make(koffi, owned),
  KoffiLibc.makeEventCounters(koffi),
  memory.ring === undefined ? undefined : KoffiLibc.makeUring(koffi, owned, memory.ring),
  memory,
  () => performance.now(),
).run();
