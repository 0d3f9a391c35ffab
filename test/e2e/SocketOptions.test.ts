import { readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { listOf } from "../support/Backends.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import { dial, serve } from "../support/Sockets.js";

// Takes another process's sockets by pidfd_getfd (438 on every architecture) and asks them for their options.
const ask = `
import ctypes, os, re, socket, sys
pid, ports = int(sys.argv[1]), set(map(int, sys.argv[2:]))
libc = ctypes.CDLL(None, use_errno=True)
process = os.pidfd_open(pid)
for name in os.listdir(f"/proc/{pid}/fd"):
    try:
        if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"): continue
    except FileNotFoundError: continue
    fd = libc.syscall(438, process, int(name), 0)
    if fd < 0: raise OSError(ctypes.get_errno(), "pidfd_getfd")
    s = socket.socket(fileno=fd)
    if s.family not in (socket.AF_INET, socket.AF_INET6) or s.type != socket.SOCK_STREAM: continue
    try: peer = s.getpeername()[1]
    except OSError: continue
    if peer in ports:
        nodelay = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        keepalive = s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        print(peer, int(nodelay != 0), int(keepalive != 0))
`;

const skippable = (
  packages: Readonly<Record<string, string>>,
  title: string,
  body: Parameters<typeof it.scopedLive>[1],
) => {
  const why = process.platform === "linux" ? Real.missing(packages) : "for Linux only";
  return why === undefined ? it.scopedLive(title, body) : it.skip(`${title} (${why})`, () => {});
};

for (const transport of Program.transports) {
  describe(`sockets, on ${transport}`, () => {
    skippable({ python3: "python3" }, "send at once and notice peers that have vanished, on both sides", () =>
      Effect.gen(function* () {
        const backend = yield* serve((socket) => socket.resume());
        const program = yield* Program.start(transport, { BACKENDS: listOf(backend) });
        yield* program.healthy(1);
        const client = yield* dial(program.port);
        client.write("hello");
        const local = client.localPort ?? 0;
        const options = yield* Program.until(
          Effect.map(
            Real.run("python3", ["-c", ask, String(program.pid), String(backend.port), String(local)]),
            (text) => {
              const lines = text.trim().split("\n");
              const kept = lines.filter((line) => line.endsWith(" 1")).map((line) => line.split(" ")[0]);
              return kept.includes(String(local)) && kept.includes(String(backend.port)) ? lines : undefined;
            },
          ),
        );
        for (const line of options) assert.match(line, /^\d+ 1 1$/, "port, TCP_NODELAY, SO_KEEPALIVE");
      }),
    );

    skippable({ ss: "iproute2" }, "listen with a queue of 4096, or of as many as the kernel allows", () =>
      Effect.gen(function* () {
        const program = yield* Program.start(transport, { BACKENDS: "127.0.0.1:1" });
        const allowed = Number(readFileSync("/proc/sys/net/core/somaxconn", "utf8"));
        const [line = ""] = (yield* Real.run("ss", ["-Hltn", `sport = :${program.port}`])).trim().split("\n");
        assert.strictEqual(Number(line.trim().split(/\s+/)[2]), Math.min(4096, allowed));
      }),
    );
  });
}
