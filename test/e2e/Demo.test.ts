import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, assert, describe, it } from "@effect/vitest";

const main = fileURLToPath(new URL("../../load-balancer", import.meta.url));

let running: ChildProcess | undefined;
afterEach(() => {
  running?.kill("SIGKILL");
});

/** Starts the built demo; `until` reads on to the line that matches. */
const start = (environment: Readonly<Record<string, string>>) => {
  const child = spawn(process.execPath, [main, "demo"], {
    env: { PATH: process.env["PATH"], PORT: "0", HEALTH_PORT: "0", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running = child;
  let complaints = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const exited = once(child, "exit");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const seen: Array<string> = [];
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const { done, value } = await lines.next();
      if (done === true) {
        return assert.fail(`no line like ${pattern} in:\n${seen.join("\n")}\nstderr:\n${complaints}`);
      }
      seen.push(value);
      const match = pattern.exec(value);
      if (match !== null) return match;
    }
  };
  return {
    until,
    end: async (signal: NodeJS.Signals) => {
      child.kill(signal);
      return (await exited)[0];
    },
    exited: async () => (await exited)[0],
    complaints: () => complaints,
  };
};

const text = async (url: string) => (await fetch(url, { signal: AbortSignal.timeout(120_000) })).text();
const json = async (url: string): Promise<unknown> => JSON.parse(await text(url));

describe("npm run demo", () => {
  it("prints addresses that answer, shows a backend dying and returning, and ends at Ctrl-C", async () => {
    const demo = start({ PAUSE: "200 millis" });
    const [, page = ""] = await demo.until(/Open (http:\S+) in a browser/);
    const [, proxy = ""] = await demo.until(/curl (http:\S+) /);
    const [, health = ""] = await demo.until(/curl (http:\S+\/health) /);
    const [, backends = ""] = await demo.until(/curl (http:\S+\/backends) /);
    const [, readyz = ""] = await demo.until(/curl (http:\S+\/readyz) /);
    assert.include(await text(page), "<title>Load balancer</title>");
    assert.match(await text(proxy), /^hello from backend-[123]\n$/);
    assert.property(await json(health), "status");
    assert.lengthOf((await json(backends)) as ReadonlyArray<unknown> /* lengthOf says if not */, 3);
    assert.strictEqual((await fetch(readyz)).status, 200);

    await demo.until(/six requests now: backend-1 [0-9], backend-2 [0-9], backend-3 [0-9]$/);
    await demo.until(/backend-2 dies$/);
    await demo.until(/the balancer noticed after [0-9.]+ s: .*ECONNREFUSED/);
    await demo.until(/six requests now: backend-1 [0-9], backend-3 [0-9]$/);
    await demo.until(/backend-2 returns$/);
    await demo.until(/the balancer noticed after [0-9.]+ s$/);
    await demo.until(/six requests now: backend-1 [0-9], backend-2 [0-9], backend-3 [0-9]$/);
    assert.strictEqual(await demo.end("SIGINT"), 0);
    assert.strictEqual(demo.complaints(), "");
  });

  it("says which settings are wrong", async () => {
    const demo = start({ LB_ALGORITHM: "dice" });
    assert.strictEqual(await demo.exited(), 64);
    assert.include(demo.complaints(), "LB_ALGORITHM");
    assert.notInclude(demo.complaints(), "    at ");
  });
});
