import { readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Exit } from "effect";
import { listOf } from "../support/Backends.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import { dial, serve } from "../support/Sockets.js";

// Takes another process's sockets by pidfd_getfd (438 on every architecture) and asks them for their options.
const ask = `
import ctypes, errno, os, socket, struct, sys
pid, ports = int(sys.argv[1]), set(map(int, sys.argv[2:]))
libc = ctypes.CDLL(None, use_errno=True)
process = os.pidfd_open(pid)
for name in os.listdir(f"/proc/{pid}/fd"):
    try:
        if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"): continue
    except FileNotFoundError: continue
    fd = libc.syscall(438, process, int(name), 0)
    if fd < 0:
        if ctypes.get_errno() == errno.EBADF: continue # closed since it was listed
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    s = socket.socket(fileno=fd)
    if s.family not in (socket.AF_INET, socket.AF_INET6) or s.type != socket.SOCK_STREAM: continue
    try: ends = {s.getsockname()[1], s.getpeername()[1]}
    except OSError: continue
    for port in ends & ports:
        nodelay = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        keepalive = s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        linger = struct.unpack("ii", s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        print(port, int(linger == (1, 0)), int(nodelay != 0), int(keepalive != 0))
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
    skippable(
      { python3: "python3" },
      "send at once, notice peers that have vanished, and are reset when the program is killed, on both sides",
      () =>
        Effect.gen(function* () {
          // Health checks say nothing. Seen in the middle of connecting, one has no options yet.
          const relayed = yield* Deferred.make<number>();
          const backend = yield* serve((socket) =>
            socket.once("data", () => Deferred.unsafeDone(relayed, Exit.succeed(socket.remotePort ?? 0))),
          );
          const program = yield* Program.start(transport, { BACKENDS: listOf(backend) });
          yield* program.healthy(1);
          const client = yield* dial(program.port);
          client.write("hello");
          const ports = [client.localPort ?? 0, yield* Deferred.await(relayed)].map(String);
          // Nothing holds back the first write to a connection; and one that may be over at once need not be kept alive yet.
          client.write("again");
          const options = yield* Program.until(
            Effect.map(Real.run("python3", ["-c", ask, String(program.pid), ...ports]), (text) => {
              const lines = text.trim().split("\n");
              return lines.every((line) => line.endsWith(" 1")) ? lines : undefined;
            }),
          );
          // Node has no call for it.
          const resets = transport === "node" ? 0 : 1;
          const wanted = ports.map((port) => `${port} ${resets} 1 1`);
          assert.sameMembers(options, wanted, "port, SO_LINGER without time, TCP_NODELAY, SO_KEEPALIVE");
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
