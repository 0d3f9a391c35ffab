/** What a data thread runs: the main thread starts it as a worker. */
import { workerData } from "node:worker_threads";
import koffi from "koffi";
import * as KoffiLibc from "../linux/KoffiLibc.js";
import { DataThread } from "./DataThread.js";

new DataThread(
  KoffiLibc.make(koffi),
  KoffiLibc.makeEventCounters(koffi),
  workerData /* a Memory, from ThreadLink */,
  () => performance.now(),
).run();
