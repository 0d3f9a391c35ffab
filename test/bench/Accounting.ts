/**
 * What a process has used, by the kernel's own books: processor time of all threads of it and of the processes it
 * started, and memory. Work that the kernel does for it in interrupts is charged to whoever was running then, for
 * every process alike.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Processor time of a tree of processes at a moment. */
export interface CpuTimes {
  /** Nanoseconds by thread, of threads that are still there. */
  readonly threads: ReadonlyMap<number, number>;
  /** Which of them are data threads of this load balancer. */
  readonly dataThreads: ReadonlySet<number>;
  /** Of whole processes, ended threads included, in nanoseconds; in steps of a clock tick. */
  readonly processes: number;
}

/** A clock tick as /proc counts it, in nanoseconds: USER_HZ is 100 on every architecture that Node runs on. */
const tick = 10_000_000;

/** The first field of /proc/PID/task/TID/schedstat: nanoseconds on a processor. */
export const parseSchedstat = (text: string): number => Number(text.split(" ")[0]);

/** utime and stime of /proc/PID/stat, in nanoseconds. The name before them may hold spaces and brackets. */
export const parseStat = (text: string): number => {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * tick;
};

/** VmRSS of /proc/PID/status, in bytes; 0 of what has no memory. */
export const parseResident = (text: string): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;

// What ended between two looks is not there any more, which is no error.
const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

const threadsOf = (pid: number): ReadonlyArray<number> => {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
};

/** The process and all that it started, directly or not. */
const tree = (pid: number): ReadonlyArray<number> => [
  pid,
  ...threadsOf(pid)
    .flatMap((thread) => (read(`/proc/${pid}/task/${thread}/children`) ?? "").split(" "))
    .filter((child) => child.trim() !== "")
    .flatMap((child) => tree(Number(child))),
];

export const cpuTimes = (pid: number): CpuTimes => {
  const threads = new Map<number, number>();
  const dataThreads = new Set<number>();
  let processes = 0;
  for (const each of tree(pid)) {
    processes += parseStat(read(`/proc/${each}/stat`) ?? "");
    for (const thread of threadsOf(each)) {
      const text = read(`/proc/${each}/task/${thread}/schedstat`);
      if (text !== undefined) threads.set(thread, parseSchedstat(text));
      if (read(`/proc/${each}/task/${thread}/comm`)?.startsWith("data thread")) dataThreads.add(thread);
    }
  }
  return { threads, dataThreads, processes };
};

/** Seconds of processor time of the threads that are there at both moments. */
export interface Shares {
  /** The process's first thread. */
  readonly main: number;
  readonly data: number;
  /** The runtime's own: compilation, garbage collection. */
  readonly other: number;
}

/** What each kind of thread took; undefined of a process without data threads. */
export const cpuShares = (pid: number, before: CpuTimes, after: CpuTimes): Shares | undefined => {
  if (after.dataThreads.size === 0) return undefined;
  const shares = { main: 0, data: 0, other: 0 };
  for (const [thread, time] of after.threads) {
    const share = thread === pid ? "main" : after.dataThreads.has(thread) ? "data" : "other";
    shares[share] += (time - (before.threads.get(thread) ?? 0)) / 1e9;
  }
  return shares;
};

/** Seconds of processor time from one moment to another: exact, unless a thread ended and took its count along. */
export const cpuSeconds = (before: CpuTimes, after: CpuTimes): number => {
  let sum = 0;
  for (const [thread, time] of after.threads) sum += time - (before.threads.get(thread) ?? 0);
  const lost = [...before.threads.keys()].some((thread) => !after.threads.has(thread));
  return (lost ? after.processes - before.processes : sum) / 1e9;
};

/** The times of a process before its start. */
export const nothing: CpuTimes = { threads: new Map(), dataThreads: new Set(), processes: 0 };

/** Bytes of memory that the processes of the tree have in place; what two share counts twice. */
export const resident = (pid: number): number =>
  tree(pid).reduce((sum, each) => sum + parseResident(read(`/proc/${each}/status`) ?? ""), 0);

/** What the machine's processors did, in clock ticks. */
export interface MachineTimes {
  readonly busy: number;
  readonly stolen: number;
  readonly all: number;
}

/** The first line of /proc/stat. Guests' time is part of user time already. */
export const parseMachine = (text: string): MachineTimes => {
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, stolen = 0] = (
    /^cpu +(.*)$/m.exec(text)?.[1] ?? ""
  )
    .split(" ")
    .map(Number);
  const busy = user + nice + system + irq + soft;
  return { busy, stolen, all: busy + stolen + idle + wait };
};

export const machineTimes = (): MachineTimes => parseMachine(read("/proc/stat") ?? "");

/** Shares of all processors' time between two moments, 0 to 1. */
export const machineShares = (before: MachineTimes, after: MachineTimes) => {
  const all = Math.max(after.all - before.all, 1);
  return { busy: (after.busy - before.busy) / all, stolen: (after.stolen - before.stolen) / all };
};
