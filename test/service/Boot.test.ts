import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named, talk } from "../support/Backends.js";
import * as Namespace from "../support/Namespace.js";
import { boot, eventually, Host, media, unavailable } from "./Host.js";
import { configured, unit } from "./Service.js";

/** The network is up as soon as there is a file. */
const network = `[Unit]
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'until [ -e /run/network-is-up ]; do sleep 0.1; done'
[Install]
WantedBy=network-online.target
`;

describe.skipIf(unavailable !== undefined)(
  `at boot, the service${unavailable ? ` (${unavailable})` : ""}`,
  () => {
    it.scopedLive("waits for the network, and for the address that it listens on to be there", () =>
      Effect.gen(function* () {
        const host = yield* boot;
        const backend = yield* named("a");
        yield* host.run(`dpkg --install ${media}/1.0.0/*.deb`);
        yield* host.write("/etc/systemd/system/network.service", network);
        yield* host.run(
          `printf '%s\\n' ENVIRONMENT=production BACKENDS=${listOf(backend)} BIND_ADDRESS=127.0.0.1 >>/etc/zeitwork/load-balancer.env
        systemctl enable network ${unit}`,
        );
        yield* Namespace.run("ip address delete 127.0.0.1/8 dev lo");
        yield* host.reboot;
        yield* eventually(
          Effect.map(
            host.run("systemctl list-jobs --no-legend"),
            (jobs) =>
              /\bnetwork\.service +start +running/.test(jobs) &&
              /\bzeitwork-load-balancer\.service +start +waiting/.test(jobs),
          ),
        );
        yield* Namespace.run("ip address add 127.0.0.1/8 dev lo");
        yield* host.run("touch /run/network-is-up");
        yield* host.booted;
        assert.strictEqual(yield* host.run(`systemctl is-active ${unit}`), "active\n");
        assert.strictEqual(yield* host.run(`systemctl show --property=NRestarts --value ${unit}`), "0\n");
        assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scopedLive("goes on when the clock is set fifty years on", () =>
      Effect.gen(function* () {
        const host = yield* boot;
        const backend = yield* named("a");
        yield* host.run(`dpkg --install ${media}/1.0.0/*.deb`);
        // The clock is the machine's, and cannot be set here: what libfaketime says in its place can.
        yield* host.write("/run/clock", "-50y");
        const service = yield* Effect.provideService(
          configured(
            { BACKENDS: listOf(backend), IDLE_TIMEOUT: "1h", MAX_CONNECTION_AGE: "1d", ACCESS_LOG: "all" },
            {
              service: [
                "WatchdogSec=2s",
                "Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
                "Environment=FAKETIME_TIMESTAMP_FILE=/run/clock FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1",
              ],
            },
          ),
          Host,
          host,
        );
        yield* service.start;
        const year = new Date().getFullYear();
        yield* service.says(new RegExp(`"message":"listening".*"timestamp":"(${year - 50}|${year - 49})`));
        const pid = yield* service.pid;
        const client = yield* talk(8082);
        yield* host.run("echo +0 >/run/clock");
        assert.strictEqual(yield* ask(8082), "a");
        yield* service.says(new RegExp(`"timestamp":"${year}`));
        assert.strictEqual(yield* client.says("still here"), "still here");
        // More than the watchdog waits for.
        yield* Effect.sleep("3 seconds");
        assert.strictEqual(yield* client.says("still here"), "still here");
        assert.strictEqual(yield* service.pid, pid);
        assert.strictEqual(
          yield* service.property("StatusText"),
          "1 of 1 backend healthy, 1 connection open",
        );
      }),
    );
  },
);
