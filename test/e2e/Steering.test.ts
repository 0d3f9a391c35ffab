/**
 * An operator steers by HTTP what the built program does with real connections.
 */
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";

const token = "correct-horse-battery";

/** Each transport, and data threads. */
const settings: ReadonlyArray<readonly [name: string, transport: string, Readonly<Record<string, string>>]> =
  [
    ...Program.transports.map((transport) => [transport, transport, {}] as const),
    ...(Program.transports.includes("linux")
      ? [["linux with data threads", "linux", { LB_THREADS: "2" }] as const]
      : []),
  ];

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

for (const [name, transport, threads] of settings) {
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
}
