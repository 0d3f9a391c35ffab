/** Who asks monitoring in the soak, each from a seed: machines that scrape, and viewers of the live page. */
import { get, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../transport/linux/simulation/Random.js";
import { Wrong } from "./Clients.js";

const asked = (port: number, path: string, gzip: boolean): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    get(
      {
        host: "127.0.0.1",
        port,
        path,
        headers: { connection: "close", ...(gzip ? { "accept-encoding": "gzip" } : {}) },
      },
      resolve,
    ).on("error", reject);
  });

/** The whole of a page. */
const page =
  (path: string) =>
  async (port: number, random: Random): Promise<void> => {
    const answer = await asked(port, path, random.oneIn(2));
    if (answer.statusCode !== 200) throw new Wrong(`${path} answered ${answer.statusCode}`);
    let bytes = 0;
    for await (const chunk of answer) bytes += (chunk as Buffer).length; // no encoding was set
    if (bytes === 0) throw new Wrong(`${path} was empty`);
  };

/** A viewer for a while: one that reads, or one that does not. */
const viewer = async (port: number, random: Random): Promise<void> => {
  const answer = await asked(port, "/events", false);
  answer.on("error", () => {});
  if (!random.oneIn(3)) answer.resume();
  await sleep(random.between(100, 10_000));
  answer.destroy();
};

/** Each takes the port of monitoring and choices, and throws {@link Wrong}. */
export const scrapers: ReadonlyArray<(port: number, random: Random) => Promise<void>> = [
  page("/metrics"),
  page("/metrics"),
  page("/status"),
  page("/backends"),
  viewer,
  viewer,
  viewer,
];
