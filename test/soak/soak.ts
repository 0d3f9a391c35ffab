/**
 * `npm run test:soak -- --minutes 10 --transport linux`: the built program for so long under a mixed load, backends that
 * fail in several ways, stalls of its own and scrapers; and whether its memory and its descriptors are flat then.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Random } from "../transport/linux/simulation/Random.js";
import { Backend } from "./Backend.js";
import { clients } from "./Clients.js";
import { scrapers } from "./Scrapers.js";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    transport: { type: "string", default: "linux" },
    seed: { type: "string" },
  },
});
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? Math.floor(Math.random() * 4_000_000_000) : Number(values.seed);
if (!(minutes > 0) || !Number.isSafeInteger(seed) || seed < 0) {
  process.stderr.write(
    "usage: npm run test:soak -- [--minutes NUMBER] [--transport linux|io_uring|node] [--seed NUMBER]\n",
  );
  process.exit(64);
}

/** Clients at one time. */
const atOnce = 60;

/** Empty pipes that the Linux transport keeps open, two descriptors each, and sockets of monitoring. */
const spareDescriptors = 20;

/** How much more memory is still flat: a tenth, and what a collector of garbage may leave until its next turn. */
const flat = (before: number): number => before * 1.1 + 16 * 1024 * 1024;

// From .bench/test/soak.
const program = fileURLToPath(new URL("../../../load-balancer", import.meta.url));

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const median = (all: ReadonlyArray<number>): number =>
  [...all].sort((one, other) => one - other)[Math.floor(all.length / 2)] ?? 0;

const descriptors = ({ pid }: ChildProcess): number => readdirSync(`/proc/${pid}/fd`).length;

const memory = ({ pid }: ChildProcess): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

const megabytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);

/** A backend in a process of its own, which can be stopped: its queue is short, and then nobody who connects is answered. */
const stoppable = async (): Promise<{ readonly process: ChildProcess; readonly port: number }> => {
  const child = spawn(process.execPath, [fileURLToPath(new URL("Stoppable.js", import.meta.url))], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.on("exit", () => child.kill("SIGKILL"));
  const [line] = (await once(createInterface(child.stdout), "line")) as [string]; // its port
  return { process: child, port: Number(line) };
};

const run = async (): Promise<boolean> => {
  const dying = new Backend();
  const resetting = new Backend();
  const own = [dying, resetting, new Backend()];
  for (const backend of own) await backend.start();
  const frozen = await stoppable();
  const backends = [...own, frozen];
  const child = spawn(program, [], {
    env: {
      PATH: process.env["PATH"],
      BACKENDS: backends.map(({ port }) => `127.0.0.1:${port}`).join(","),
      BIND_ADDRESS: "127.0.0.1",
      HEALTH_BIND_ADDRESS: "127.0.0.1",
      PORT: "0",
      HEALTH_PORT: "0",
      ENVIRONMENT: "production",
      HEALTH_CHECK_INTERVAL: "500ms",
      HEALTH_CHECK_TIMEOUT: "500ms",
      CONNECT_TIMEOUT: "1s",
      ACCESS_LOG: "off",
      LB_TRANSPORT: values.transport,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.on("exit", () => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const ports = new Map<string, number>();
  for await (const line of createInterface(child.stdout)) {
    const { annotations, message } = JSON.parse(line) as {
      readonly message: string;
      readonly annotations: { readonly address?: string };
    }; // what production writes
    ports.set(message, Number(annotations.address?.split(":").at(-1)));
    if (message === "listening") break;
  }
  child.stdout.resume();
  const port = ports.get("listening") ?? 0;
  const status = async (): Promise<{
    readonly open: number;
    readonly total: number;
    readonly healthy_backends: number;
  }> => (await fetch(`http://127.0.0.1:${ports.get("monitoring")}/status`)).json() as Promise<never>; // its contract
  while ((await status()).healthy_backends < backends.length) await sleep(50);

  say(`${minutes} minutes on ${values.transport}, seed ${seed}`);
  const before = descriptors(child);
  const until = performance.now() + minutes * 60_000;
  const lasting = (): boolean => performance.now() < until && child.exitCode === null;
  let done = 0;
  let troubled = 0;

  const client = async (random: Random): Promise<void> => {
    while (lasting()) {
      await random.pick(clients)(port, random);
      done += 1;
    }
  };
  /** Something goes wrong for a while, again and again, and is well at the end. */
  const trouble = async (
    random: Random,
    every: readonly [number, number],
    lasts: readonly [number, number],
    begin: () => unknown,
    end: () => unknown,
  ): Promise<void> => {
    while (lasting()) {
      await sleep(random.between(...every));
      await begin();
      await sleep(random.between(...lasts));
      await end();
    }
  };
  const troubles = (random: () => Random): ReadonlyArray<Promise<void>> => [
    // Refused, and what is open breaks.
    trouble(
      random(),
      [2_000, 8_000],
      [500, 4_000],
      () => dying.die(),
      () => dying.start(),
    ),
    // Accepted, and reset at once.
    trouble(
      random(),
      [5_000, 15_000],
      [500, 3_000],
      () => {
        resetting.resetting = true;
      },
      () => {
        resetting.resetting = false;
      },
    ),
    // Not answered, and what is open stands still.
    trouble(
      random(),
      [5_000, 15_000],
      [1_000, 5_000],
      () => frozen.process.kill("SIGSTOP"),
      () => frozen.process.kill("SIGCONT"),
    ),
    // The balancer itself stands still.
    trouble(
      random(),
      [15_000, 40_000],
      [600, 3_000],
      () => child.kill("SIGSTOP"),
      () => child.kill("SIGCONT"),
    ),
  ];
  const scraper = async (scrape: (typeof scrapers)[number], random: Random): Promise<void> => {
    while (lasting()) {
      await scrape(ports.get("monitoring") ?? 0, random);
      await sleep(random.below(500));
    }
  };
  const sizes: Array<number> = [];
  const watch = async (): Promise<void> => {
    let last = 0;
    while (lasting()) {
      sizes.push(memory(child));
      if (performance.now() - last >= 60_000) {
        last = performance.now();
        say(`${done} connections, ${megabytes(memory(child))} MB, ${descriptors(child)} descriptors`);
      }
      await sleep(Math.min(1_000, Math.max(1, until - performance.now())));
    }
  };
  await Promise.all([
    ...Array.from({ length: atOnce }, (_, i) => client(new Random(seed + i))),
    ...scrapers.map((scrape, i) => scraper(scrape, new Random(seed + 1_000 + i))),
    ...troubles(() => new Random(seed + 2_000 + troubled++)),
    watch(),
  ]);
  if (child.exitCode !== null) throw new Error(`the load balancer ended with exit code ${child.exitCode}`);

  for (let i = 0; (await status()).open > 0; i++) {
    if (i === 600) throw new Error("connections are still open a minute after the last client");
    await sleep(100);
  }
  const after = descriptors(child);
  const third = Math.ceil(sizes.length / 3);
  const [middle, end] = [median(sizes.slice(third, 2 * third)), median(sizes.slice(2 * third))];
  child.kill("SIGTERM");
  await exited;
  for (const backend of own) await backend.die();
  frozen.process.kill("SIGKILL");
  const steady = after <= before + spareDescriptors && end <= flat(middle);
  say(
    `${done} connections; descriptors: ${before} before, ${after} after; memory: ${megabytes(middle)} MB in the second third, ${megabytes(end)} MB in the last: ${steady ? "flat" : "NOT FLAT"}`,
  );
  return steady;
};

process.exitCode = (await run()) ? 0 : 1;
