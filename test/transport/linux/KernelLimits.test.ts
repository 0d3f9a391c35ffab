import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import {
  type KernelLimits,
  parse,
  read,
  shortOfLockedMemory,
  shortOfPipePages,
} from "../../../src/transport/linux/KernelLimits.js";

// As Linux writes them (proc_pid_limits(5), proc_pid_status(5)).
const limits = (locked: string) =>
  [
    "Limit                     Soft Limit           Hard Limit           Units     ",
    "Max open files            1024                 524288               files     ",
    `Max locked memory         ${locked.padEnd(21)}8388608              bytes     `,
    "",
  ].join("\n");
const status = (effective: string) =>
  `Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t${effective}\nCapBnd:\t000001ffffffffff\n`;

const unprivileged = "0000000000000000";

const parsed = (locked: string, effective: string, pages: string): KernelLimits =>
  parse({
    limits: limits(locked),
    status: status(effective),
    pipeUserPagesSoft: `${pages}\n`,
    pageBytes: 4_096,
  });

describe("limits of the kernel", () => {
  it("are those of a user without privileges", () => {
    assert.deepStrictEqual(parsed("65536", unprivileged, "16384"), {
      lockedBytes: 65_536,
      pipePages: 16_384,
      pageBytes: 4_096,
    });
  });

  it("are none where there is none, and for whoever has the capability that goes beyond", () => {
    assert.isUndefined(parsed("unlimited", unprivileged, "0").lockedBytes);
    assert.isUndefined(parsed("unlimited", unprivileged, "0").pipePages);
    // CAP_IPC_LOCK, CAP_SYS_RESOURCE and CAP_SYS_ADMIN.
    const ofEach = ["0000000000004000", "0000000001000000", "0000000000200000"].map((effective) =>
      parsed("65536", effective, "100"),
    );
    assert.deepStrictEqual(
      ofEach.map(({ lockedBytes, pipePages }) => [lockedBytes, pipePages]),
      [
        [undefined, 100],
        [65_536, undefined],
        [65_536, undefined],
      ],
    );
  });

  it("are known so far as there are files that tell them", () => {
    assert.strictEqual(
      parse({
        limits: limits("65536"),
        status: status(unprivileged),
        pipeUserPagesSoft: "",
        pageBytes: 4_096,
      }).lockedBytes,
      65_536,
    );
    assert.deepStrictEqual(parse({ limits: "", status: "", pipeUserPagesSoft: "", pageBytes: 4_096 }), {
      lockedBytes: undefined,
      pipePages: undefined,
      pageBytes: 4_096,
    });
  });

  it.runIf(process.platform === "linux")("have the size of a page of this machine", () => {
    const { pageBytes } = read();
    assert.isAtLeast(pageBytes, 4_096);
    assert.strictEqual(Math.log2(pageBytes) % 1, 0);
  });
});

describe("what is short", () => {
  const none: KernelLimits = { lockedBytes: undefined, pipePages: undefined, pageBytes: 4_096 };

  it("is nothing where there is no limit", () => {
    assert.isUndefined(shortOfLockedMemory(none, 64));
    assert.isUndefined(shortOfPipePages(none));
  });

  it("is told of locked memory with what all rings take: 1 MiB, and a quarter for each data thread", () => {
    assert.deepStrictEqual(shortOfLockedMemory({ ...none, lockedBytes: 65_536 }, 2), {
      limit: "locked memory of a user (RLIMIT_MEMLOCK)",
      allowed: "64 KiB",
      needed: "1536 KiB",
      cure: "LimitMEMLOCK=1536K in the systemd unit, or ulimit -l 1536; more where other processes of the user lock memory",
    });
  });

  it("is told of pipe pages below 32 MiB, whatever the size of a page", () => {
    fc.assert(
      fc.property(fc.nat(20_000), fc.constantFrom(4_096, 16_384, 65_536), (pipePages, pageBytes) => {
        const short = shortOfPipePages({ ...none, pipePages, pageBytes });
        assert.strictEqual(short !== undefined, pipePages * pageBytes < 32 * 1024 * 1024);
        if (short === undefined) return;
        assert.strictEqual(short.allowed, String(pipePages));
        assert.strictEqual(Number(short.needed) * pageBytes, 32 * 1024 * 1024);
        assert.include(short.cure, `fs.pipe-user-pages-soft=${short.needed};`);
      }),
    );
  });
});
