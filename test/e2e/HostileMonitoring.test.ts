import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, named } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as ScriptedOperator from "../support/ScriptedOperator.js";
import { dial } from "../support/Sockets.js";

/** A viewer that never reads. */
const viewer = (port: number) =>
  Effect.map(dial(port), (socket) => {
    socket.pause().write("GET /events HTTP/1.1\r\nhost: x\r\n\r\n");
  });

for (const transport of Program.transports) {
  describe(`hostile clients of monitoring on ${transport}`, () => {
    it.scopedLive("take bounded memory: 512 viewers of 500 backends, none of whom reads", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const instances = Array.from({ length: 500 }, (_, n) =>
          ScriptedOperator.instance(`i${n}`, backend.port),
        );
        const operator = yield* ScriptedOperator.make(ScriptedOperator.lists(instances));
        const program = yield* Program.start(transport, { OPERATOR_URL: operator.url });
        yield* program.healthy(500);
        // What one viewer and the answers to it need is not what is asked for.
        yield* viewer(program.healthPort);
        yield* program.get("/status");
        const before = program.mostMemory();
        yield* Effect.replicateEffect(viewer(program.healthPort), 512);
        // Each probe changes what viewers would be told.
        for (let n = 0; n < 20; n++) yield* program.get("/status");
        assert.isBelow(program.mostMemory() - before, 100 * 1024 * 1024);
        assert.strictEqual(yield* ask(program.port), "a");
      }),
    );
  });
}
