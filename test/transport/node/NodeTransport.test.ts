import { describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as NodeTransport from "../../../src/transport/node/NodeTransport.js";
import { Transport } from "../../../src/transport/Transport.js";
import { descriptors, eventually, serve } from "../../support/Sockets.js";
import { conformance } from "../conformance.js";

conformance("node", NodeTransport.layer, { probesUnseen: false });

describe("node transport: ends", () => {
  it.scopedLive("a connection that is broken off while its end is being sent leaves no descriptor", () =>
    Effect.gen(function* () {
      const transport = yield* Transport;
      const backend = yield* serve((socket) => socket.resume().on("end", () => socket.end()));
      const before = descriptors();
      const connection = yield* transport.connect(
        { host: "127.0.0.1", port: backend.port },
        { timeoutMillis: 1_000 },
      );
      yield* eventually(() => backend.sockets.size === 1);
      connection.close();
      connection.reset();
      yield* eventually(() => backend.sockets.size === 0 && descriptors() <= before);
    }).pipe(Effect.provide(NodeTransport.layer)),
  );
});
