import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, named, talk } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as ScriptedOperator from "../support/ScriptedOperator.js";

const { instance, lists } = ScriptedOperator;

for (const transport of Program.transports) {
  describe(`the program and its Operator on ${transport}`, () => {
    it.scopedLive("sends the token below the path prefix, and logs neither it nor what instances hide", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const operator = yield* ScriptedOperator.make(lists([instance("i1", backend.port, "hidden-value")]));
        const program = yield* Program.start(transport, {
          OPERATOR_URL: `${operator.url}/some/prefix/`,
          OPERATOR_TOKEN: "a-secret-token",
          LOG_LEVEL: "debug",
        });
        yield* program.healthy(1);
        const [first] = operator.asked;
        assert.strictEqual(first?.url, "/some/prefix/api/v1/instances?state=running");
        assert.strictEqual(first?.headers.authorization, "Bearer a-secret-token");
        yield* operator.answers((response) => response.end("[{"));
        yield* program.awaitLogged("discovery fails; the last list is kept");
        assert.notMatch(program.stdout() + program.stderr(), /a-secret-token|hidden-value/);
      }),
    );

    it.scopedLive("keeps its list while the Operator fails, warns once, and says that it is well again", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const good = lists([instance("i1", backend.port)]);
        const operator = yield* ScriptedOperator.make(good);
        const program = yield* Program.start(transport, { OPERATOR_URL: operator.url });
        yield* program.healthy(1);
        yield* operator.answers((response) => response.writeHead(500).end("Internal server error"));
        yield* operator.askedAgain(4);
        assert.lengthOf(program.logged("discovery fails; the last list is kept"), 1);
        assert.strictEqual(yield* ask(program.port), "a");
        yield* operator.stop;
        yield* program.awaitLogged("discovery fails; the last list is kept", { reason: "unreachable" });
        assert.strictEqual(yield* ask(program.port), "a");
        yield* operator.answers(good);
        yield* operator.restart;
        yield* program.awaitLogged("discovery has recovered");
        assert.lengthOf(program.logged("backend removed"), 0);
      }),
    );

    it.scopedLive("gives no new client to what is no longer listed, and lets those it has run on", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* named("a"), yield* named("b")];
        const operator = yield* ScriptedOperator.make(lists([instance("i1", a.port)]));
        const program = yield* Program.start(transport, { OPERATOR_URL: operator.url });
        yield* program.healthy(1);
        const client = yield* talk(program.port);
        assert.strictEqual(client.name, "a");
        // The same id at another address is another backend.
        yield* operator.answers(lists([instance("i1", b.port)]));
        yield* program.awaitLogged("backend removed");
        yield* program.healthy(1);
        assert.strictEqual(yield* ask(program.port), "b");
        assert.strictEqual(yield* client.says("still here"), "still here");
        const now = yield* program.backends;
        assert.deepStrictEqual(
          now.map(({ id, address }) => ({ id, address })),
          [{ id: "i1", address: `127.0.0.1:${b.port}` }],
        );
      }),
    );

    it.scopedLive("believes an empty list when it comes twice in a row", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const operator = yield* ScriptedOperator.make(lists([instance("i1", backend.port)]));
        const program = yield* Program.start(transport, { OPERATOR_URL: operator.url });
        yield* program.healthy(1);
        yield* operator.answers(lists([]));
        yield* program.awaitLogged(
          "discovery lists no instance; the last list is kept until it says so again",
        );
        yield* program.awaitLogged("backend removed");
        assert.deepStrictEqual(yield* program.backends, []);
        const messages = program.log().map(({ message }) => message);
        assert.isBelow(
          messages.indexOf("discovery lists no instance; the last list is kept until it says so again"),
          messages.indexOf("backend removed"),
        );
      }),
    );
  });
}
