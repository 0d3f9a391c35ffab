/**
 * Slow starts, in the built program and over its transports.
 */
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, named } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as Operator from "../support/ScriptedOperator.js";

interface StatusBody {
  readonly backends: ReadonlyArray<{
    readonly id: string;
    readonly weight: number;
    readonly slow_start: number | null;
  }>;
}

const shownBy = (program: Program.Program) =>
  Effect.map(program.get("/status"), ({ body }) =>
    (body as StatusBody) /* its contract */.backends
      .map(({ id, slow_start, weight }) => [id, weight, slow_start]),
  );

const answersOf = ({ port }: Program.Program, times: number) =>
  Effect.map(Effect.replicateEffect(ask(port), times), (answers) => ({
    a: answers.filter((name) => name === "a").length,
    b: answers.filter((name) => name === "b").length,
  }));

const started = (transport: string, settings: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const [a, b] = [yield* named("a"), yield* named("b")];
    const operator = yield* Operator.make(Operator.lists([Operator.instance("a", a.port)]));
    const program = yield* Program.start(transport, { ...settings, OPERATOR_URL: operator.url });
    yield* program.healthy(1);
    assert.deepStrictEqual(yield* shownBy(program), [["a", 1, null]], "the first list");
    yield* operator.answers(Operator.lists([Operator.instance("a", a.port), Operator.instance("b", b.port)]));
    yield* program.healthy(2);
    return program;
  });

describe.each(Program.transportsAndThreads)("SLOW_START on %s", (_name, transport, threads) => {
  it.scopedLive("gives a backend that joins a tenth of its share", () =>
    Effect.gen(function* () {
      const program = yield* started(transport, { ...threads, SLOW_START: "1h" });
      assert.deepStrictEqual(yield* shownBy(program), [
        ["a", 1, null],
        ["b", 1, 0.1],
      ]);
      assert.deepStrictEqual(yield* answersOf(program, 22), { a: 20, b: 2 });
    }),
  );

  it.scopedLive("ends with its whole share", () =>
    Effect.gen(function* () {
      const program = yield* started(transport, { ...threads, SLOW_START: "300ms" });
      yield* Program.untilTrue(
        Effect.map(
          shownBy(program),
          (shown) => shown.length === 2 && shown.every(([, , part]) => part === null),
        ),
      );
      assert.deepStrictEqual(yield* answersOf(program, 20), { a: 10, b: 10 });
      const events = yield* Effect.promise(async () => {
        const response = await fetch(`http://127.0.0.1:${program.healthPort}/events`);
        let text = "";
        const decoder = new TextDecoder();
        for await (const bytes of response.body ?? []) {
          text += decoder.decode(bytes, { stream: true });
          if (text.includes("all of its weight")) break;
        }
        return text;
      });
      assert.lengthOf(events.match(/"slow-start"/g) ?? [], 9);
    }),
  );
});
