import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest";
import { Duration } from "effect";
import { defaults, table } from "../../src/config/Settings.js";

const name = "zeitwork-load-balancer.service";
const socketName = "zeitwork-load-balancer.socket";
const read = (file: string) =>
  readFileSync(new URL(`../../deployments/systemd/${file}`, import.meta.url), "utf8");
const unit = read(name);
const socket = read(socketName);

/** Every value that the unit gives to a key, in order. */
const values = (key: string): ReadonlyArray<string> =>
  [...unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, value = ""]) => value);

const only = (key: string): string => {
  const [value, ...others] = values(key);
  assert.isDefined(value, `${key} is missing`);
  assert.deepStrictEqual(others, [], `${key} stands there more than once`);
  return value;
};

describe(`deployments/systemd/${name}`, () => {
  it("gives draining the time it takes by default", () => {
    const stop = only("TimeoutStopSec");
    assert.match(stop, /^[0-9]+s$/);
    assert.isAbove(Number.parseInt(stop, 10), Duration.toSeconds(defaults.drainTimeout));
    assert.strictEqual(only("KillSignal"), "SIGTERM");
  });

  it("comes back for ever, but not with settings that are wrong", () => {
    assert.strictEqual(only("Restart"), "always");
    assert.strictEqual(only("StartLimitIntervalSec"), "0");
    assert.strictEqual(only("RestartPreventExitStatus"), "64");
  });

  it("waits to be told, by the program itself", () => {
    assert.strictEqual(only("Type"), "notify");
    assert.strictEqual(only("NotifyAccess"), "main");
    assert.match(only("WatchdogSec"), /^[1-9][0-9]*s$/);
  });

  it("has a socket for the default port", () => {
    assert.match(socket, new RegExp(`^ListenStream=${table.port.default}$`, "m"));
  });

  it("has one capability, and no more than that can be gained", () => {
    assert.strictEqual(only("AmbientCapabilities"), "CAP_NET_BIND_SERVICE");
    assert.strictEqual(only("CapabilityBoundingSet"), "CAP_NET_BIND_SERVICE");
    assert.strictEqual(only("NoNewPrivileges"), "yes");
    assert.notStrictEqual(only("User"), "root");
  });

  it("leaves V8 and the sockets what they need", () => {
    assert.deepStrictEqual(values("MemoryDenyWriteExecute"), []);
    assert.deepStrictEqual(values("PrivateUsers"), []);
    // Netlink is how libraries find the interface that the zone of an IPv6 address names.
    assert.sameMembers(only("RestrictAddressFamilies").split(" "), [
      "AF_INET",
      "AF_INET6",
      "AF_NETLINK",
      "AF_UNIX",
    ]);
    assert.strictEqual(values("SystemCallFilter")[0], "@system-service");
    assert.strictEqual(only("SystemCallErrorNumber"), "EPERM");
  });

  it("is as each of several instances is, names apart", () => {
    const directives = (text: string) =>
      text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    const instance = read("zeitwork-load-balancer@.service")
      .replaceAll("zeitwork-lb-%i", "zeitwork-load-balancer")
      .replaceAll("load-balancer-%i", "load-balancer")
      .replace("balancer %i", "balancer");
    assert.deepStrictEqual(directives(instance), directives(unit));
  });

  it("has no comment behind a value", () => {
    for (const line of unit.split("\n")) {
      if (!line.startsWith("#")) assert.notInclude(line, "#");
    }
  });
});

const analyze = (...args: ReadonlyArray<string>) =>
  spawnSync("systemd-analyze", args, { encoding: "utf8", timeout: 120_000 });

const missing = analyze("--version").error !== undefined;
// Without it nothing can be said here; in CI that must not go by unseen.
const skipped = missing && process.env["CI"] === undefined;

describe.skipIf(skipped)(
  `systemd-analyze of ${name}${skipped ? " (systemd-analyze is not installed)" : ""}`,
  () => {
    let directory = "";
    let path = "";

    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), "systemd-unit-"));
      path = join(directory, name);
      // What is installed on a host is not there where tests run; any program that exists does for the check.
      writeFileSync(path, unit.replace(/^ExecStart=.*$/m, `ExecStart=${process.execPath}`));
      writeFileSync(join(directory, socketName), socket);
    });

    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    it("verify finds nothing to say", () => {
      const { error, status, stderr, stdout } = analyze("verify", path, join(directory, socketName));
      assert.isUndefined(error, "systemd-analyze could not be run; Debian has it in the package systemd");
      // Of other units of the host it may say what it likes.
      for (const file of [name, socketName]) assert.notInclude(`${stdout}${stderr}`, file);
      assert.strictEqual(status, 0, stderr);
    });

    it("security puts the exposure at 1.5 at most", () => {
      const { status, stderr, stdout } = analyze(
        "security",
        "--offline=true",
        "--threshold=15",
        "--no-pager",
        path,
      );
      assert.match(stdout, /Overall exposure level/, stderr);
      assert.strictEqual(status, 0, stdout);
    });
  },
);
