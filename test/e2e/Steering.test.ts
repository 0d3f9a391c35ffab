/**
 * An operator steers by HTTP what the built program does with real connections.
 */
import { assert, describe, it } from "@effect/vitest";
import { Effect, Schema } from "effect";
import { Connections } from "../../src/monitoring/Api.js";
import { ask, listOf, named, talk } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import { receive } from "../support/Sockets.js";

const token = "correct-horse-battery";

/** Asks monitoring with the token, or another one. */
const request = (
  { healthPort }: Program.Program,
  method: string,
  path: string,
  { body, bearer = token }: { readonly body?: string; readonly bearer?: string } = {},
) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${healthPort}${path}`, {
      method,
      headers: { authorization: `Bearer ${bearer}`, connection: "close" },
      ...(body === undefined ? {} : { body }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
  });

for (const [name, transport, threads] of Program.transportsAndThreads) {
  describe(`a backend's weight on ${name}`, () => {
    it.scopedLive("is what an operator chooses, until it is given back", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* named("a"), yield* named("b")];
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: listOf(a, b),
          ADMIN_TOKEN: token,
        });
        yield* program.healthy(2);
        /** How many of so many connections each got. */
        const served = (count: number) =>
          Effect.map(Effect.replicateEffect(ask(program.port), count), (names) =>
            ["a", "b"].map((each) => names.filter((name) => name === each).length),
          );
        const weigh = (weight: unknown) =>
          Effect.map(
            request(program, "POST", `/backends/127.0.0.1:${a.port}/weight`, {
              body: JSON.stringify({ weight }),
            }),
            ({ status }) => status,
          );
        assert.deepStrictEqual(yield* served(6), [3, 3]);
        assert.strictEqual(yield* weigh(2), 200);
        assert.deepStrictEqual(yield* served(6), [4, 2]);
        assert.strictEqual(yield* weigh(0), 200);
        assert.deepStrictEqual(yield* served(4), [0, 4]);
        assert.strictEqual(yield* weigh("2"), 400);
        assert.strictEqual(yield* weigh(null), 200);
        assert.deepStrictEqual(yield* served(6), [3, 3]);
      }),
    );
  });

  describe(`single connections on ${name}`, () => {
    it.scopedLive("are listed, and cut without harm to others", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* named("a"), yield* named("b")];
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: listOf(a, b),
          ADMIN_TOKEN: token,
        });
        yield* program.healthy(2);
        const listed = (query = "") =>
          Effect.map(request(program, "GET", `/connections${query}`), ({ body }) => {
            const { connections } = Schema.decodeUnknownSync(Connections)(body);
            return connections.map((connection) => ({
              ...connection,
              port: Number(connection.client.split(":").at(-1)),
            }));
          });
        const cut = (id: number) => request(program, "DELETE", `/connections/${id}`);
        assert.isEmpty(yield* listed());

        const first = yield* talk(program.port, "127.0.0.2");
        const second = yield* talk(program.port, "127.0.0.3");
        const [one, other] = yield* listed();
        assert.deepStrictEqual([one?.port, other?.port], [first.socket.localPort, second.socket.localPort]);
        assert.deepInclude(one, { phase: "relaying", received: "hello".length, sent: "a\n".length });
        assert.deepStrictEqual(one?.backend, { id: `127.0.0.1:${a.port}`, address: `127.0.0.1:${a.port}` });
        assert.strictEqual(one?.idle_seconds === null, transport === "node");
        for (const [query, expected] of [
          ["?order=newest&limit=1", [other?.id]],
          ["?client=127.0.0.2/32", [one?.id]],
          [`?backend=127.0.0.1:${b.port}`, [other?.id]],
        ] as const) {
          assert.deepStrictEqual(
            (yield* listed(query)).map(({ id }) => id),
            [...expected],
            query,
          );
        }

        const end = receive(first.socket);
        assert.strictEqual((yield* cut(one?.id ?? 0)).status, 200);
        assert.strictEqual((yield* Effect.promise(() => end)).end, "reset");
        yield* Program.untilTrue(Effect.sync(() => a.clients.size === 0));
        assert.strictEqual(yield* second.says("still here?"), "still here?");
        assert.strictEqual((yield* cut(one?.id ?? 0)).status, 404);
        const line = yield* program.awaitLogged("connection", { code: "cut/relaying" });
        assert.strictEqual(line.annotations["id"], one?.id);
        const { annotations } = yield* program.awaitLogged("connection is cut");
        assert.deepInclude(annotations, { connection: one?.id, by: "127.0.0.1" });
        assert.deepStrictEqual(
          (yield* listed()).map(({ id }) => id),
          [other?.id],
        );

        // Nobody else may, and no id of an earlier process is one of this.
        assert.strictEqual(
          (yield* request(program, "DELETE", `/connections/${other?.id}`, { bearer: "another" })).status,
          401,
        );
        const again = yield* Program.start(transport, {
          ...threads,
          BACKENDS: listOf(a, b),
          ADMIN_TOKEN: token,
        });
        yield* again.healthy(2);
        const later = yield* talk(again.port);
        for (const id of [1, one?.id, other?.id]) {
          assert.strictEqual((yield* request(again, "DELETE", `/connections/${id}`)).status, 404);
        }
        assert.strictEqual(yield* later.says("still here?"), "still here?");
      }),
    );
  });
}

describe("single connections", () => {
  it.scopedLive("are kept to themselves where no ADMIN_TOKEN is set", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("node", { BACKENDS: listOf(yield* named("a")) });
      yield* program.healthy(1);
      for (const [method, path] of [
        ["GET", "/connections"],
        ["DELETE", "/connections/1"],
        ["POST", `/backends/a/weight`],
      ] as const) {
        const { body, status } = yield* request(program, method, path);
        assert.deepStrictEqual([status, (body as { readonly reason: string }).reason], [403, "steering-off"]); // checked here
      }
    }),
  );
});
