/**
 * Two load balancers that have each other for a backend. Each client of one goes round until there is no place left.
 */
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as Ports from "../support/Ports.js";
import * as Program from "../support/RunningProgram.js";
import { dial } from "../support/Sockets.js";

/** Node needs more than 128 to load the program's modules. */
const fewDescriptors: readonly [string, ...Array<string>] = [
  "bash",
  "-c",
  'ulimit -n 256; exec "$0"',
  Program.executable,
];

const open = (program: Program.Program) =>
  Effect.map(
    program.get("/status"),
    ({ body }) => (body as { readonly open: number }) /* its contract */.open,
  );

// Node's health checks are accepted, and go round themselves.
for (const transport of Program.transports.filter((name) => name !== "node")) {
  describe(`a loop of load balancers on ${transport}`, () => {
    it.scopedLive("gets empty once the clients that began it are gone", () =>
      Effect.gen(function* () {
        const ports = [yield* Ports.unused, yield* Ports.unused] as const;
        const start = (port: number, other: number) =>
          Program.start(
            transport,
            { PORT: String(port), BACKENDS: `127.0.0.1:${other}` },
            { command: fewDescriptors },
          );
        const programs = yield* Effect.all([start(ports[0], ports[1]), start(ports[1], ports[0])]);
        yield* Effect.forEach(programs, (program) => program.healthy(1));

        const clients = yield* Effect.forEach(Array.from({ length: 5 }), () => dial(ports[0]));
        for (const client of clients) client.write("round and round");
        // It is full: clients wait, and it says that it could not accept them.
        yield* Program.untilTrue(
          Effect.sync(() =>
            programs.some((program) =>
              program.log().some(({ annotations }) => annotations["failed in all"] !== undefined),
            ),
          ),
        );
        assert.isAbove(yield* open(programs[0]), 5);

        // In order: a reset would go round by itself.
        for (const client of clients) client.end();
        for (const client of clients) client.destroy();
        yield* Effect.forEach(programs, (program) =>
          Program.untilTrue(Effect.map(open(program), (count) => count === 0)),
        );
        const refusals = programs.map((program) => program.logged("connection refused"));
        assert.isNotEmpty(refusals.flat());
      }),
    );
  });
}
