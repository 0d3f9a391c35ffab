/**
 * `npm run test:soak -- --minutes 10 --transport linux`: the built program under a mixed load for so long, and whether
 * its memory and its descriptors are flat then.
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
    "usage: npm run test:soak -- [--minutes NUMBER] [--transport linux|node] [--seed NUMBER]\n",
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

const run = async (): Promise<boolean> => {
  const backends = [new Backend(), new Backend(), new Backend()];
  for (const backend of backends) await backend.start();
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

  const client = async (random: Random): Promise<void> => {
    while (lasting()) {
      await random.pick(clients)(port, random);
      done += 1;
    }
  };
  const death = async (random: Random): Promise<void> => {
    const backend = backends[0];
    while (lasting() && backend !== undefined) {
      await sleep(random.between(2_000, 8_000));
      await backend.die();
      await sleep(random.between(500, 4_000));
      await backend.start();
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
    death(new Random(seed + atOnce)),
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
  for (const backend of backends) await backend.die();
  const steady = after <= before + spareDescriptors && end <= flat(middle);
  say(
    `${done} connections; descriptors: ${before} before, ${after} after; memory: ${megabytes(middle)} MB in the second third, ${megabytes(end)} MB in the last: ${steady ? "flat" : "NOT FLAT"}`,
  );
  return steady;
};

process.exitCode = (await run()) ? 0 : 1;
