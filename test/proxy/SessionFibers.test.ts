import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ByteSlots } from "../../src/proxy/ByteSlots.js";
import { type Decision, Session } from "../../src/proxy/Session.js";
import { type Ending, SessionFibers } from "../../src/proxy/SessionFibers.js";

const done: Decision = { _tag: "Done", by: "client" };
const cut: Decision = { _tag: "Done", by: "disabled" };

let lastId = 0;

const newSession = (): Session => {
  lastId += 1;
  return new Session(
    lastId,
    { remote: { host: "10.0.0.1", port: lastId }, close: () => {}, reset: () => {} },
    0,
    new ByteSlots().acquire(),
    { connectTimeoutMillis: 1_000, connected: () => {} },
  );
};

/** Fibers whose attempts wait until they are resolved, or interrupted. */
const make = Effect.map(Effect.runtime(), ({ runtimeFlags }) => {
  const attempts = new Map<Session, (decision: Effect.Effect<Decision>) => void>();
  const endings = new Map<Session, Ending>();
  const fibers = new SessionFibers(
    {
      attempt: (session) =>
        Effect.async<Decision>((resume) => void attempts.set(session, resume)).pipe(
          Effect.interruptible,
          Effect.matchCause({ onSuccess: (decision) => decision, onFailure: () => cut }),
        ),
      end: (session, ending) => {
        assert.isFalse(endings.has(session), "a session leaves once");
        endings.set(session, ending);
        return undefined;
      },
      logDefect: () => Effect.void,
    },
    runtimeFlags,
  );
  return {
    fibers,
    attempts,
    resolve: (session: Session, decision: Decision) => attempts.get(session)?.(Effect.succeed(decision)),
    /** How a session ended, once its fiber has had the time for it. */
    ending: (session: Session) =>
      Effect.map(Effect.promise(turn), () => {
        const ending = endings.get(session);
        return ending?._tag === "Done" ? ending.by : ending?._tag;
      }),
  };
});

/** What fibers have to do in this turn of the event loop is done in the next. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const serve = (fibers: SessionFibers) => {
  const session = newSession();
  const fiber = fibers.acquire();
  fiber.serve(session);
  return { session, fiber };
};

describe("SessionFibers", () => {
  it.live("serve one session after another in one fiber", () =>
    Effect.gen(function* () {
      const { ending, fibers, resolve } = yield* make;
      const first = serve(fibers);
      resolve(first.session, done);
      assert.strictEqual(yield* ending(first.session), "client");
      const second = serve(fibers);
      assert.strictEqual(second.fiber, first.fiber);
      const third = serve(fibers);
      assert.notStrictEqual(third.fiber, first.fiber);
      yield* Effect.promise(turn);
      resolve(second.session, done);
      assert.strictEqual(yield* ending(second.session), "client");
      assert.isUndefined(yield* ending(third.session));
    }),
  );

  it.live("attempt again for as long as the decision is to retry", () =>
    Effect.gen(function* () {
      const { attempts, ending, fibers, resolve } = yield* make;
      const { session } = serve(fibers);
      for (let n = 0; n < 3; n++) {
        const attempt = attempts.get(session);
        resolve(session, { _tag: "Retry" });
        assert.isUndefined(yield* ending(session));
        assert.notStrictEqual(attempts.get(session), attempt);
      }
      resolve(session, { _tag: "Refuse", by: "connect-failed", why: "a test" });
      assert.strictEqual(yield* ending(session), "Refuse");
    }),
  );

  it.live(
    "give no further session to a fiber that was interrupted in the moment in which its session ended",
    () =>
      Effect.gen(function* () {
        const { ending, fibers, resolve } = yield* make;
        const first = serve(fibers);
        // The fiber learns of both at once, and either may count.
        resolve(first.session, done);
        yield* first.fiber.interrupt(first.session);
        assert.isDefined(yield* ending(first.session));
        const second = serve(fibers);
        assert.notStrictEqual(second.fiber, first.fiber);
        yield* Effect.promise(turn);
        resolve(second.session, done);
        assert.strictEqual(yield* ending(second.session), "client");
      }),
  );

  it.live("do not interrupt a session for another that the fiber served before", () =>
    Effect.gen(function* () {
      const { ending, fibers, resolve } = yield* make;
      const first = serve(fibers);
      const late = first.fiber.interrupt(first.session);
      resolve(first.session, done);
      assert.strictEqual(yield* ending(first.session), "client");
      yield* late;
      const second = serve(fibers);
      assert.strictEqual(second.fiber, first.fiber);
      yield* late;
      assert.isUndefined(yield* ending(second.session));
      resolve(second.session, done);
      assert.strictEqual(yield* ending(second.session), "client");
    }),
  );

  it.live("interrupt what is done for a session", () =>
    Effect.gen(function* () {
      const { ending, fibers } = yield* make;
      const { fiber, session } = serve(fibers);
      yield* fiber.interrupt(session);
      assert.strictEqual(yield* ending(session), "disabled");
    }),
  );

  it.live("let nobody wait for a session once they are closed", () =>
    Effect.gen(function* () {
      const { ending, fibers, resolve } = yield* make;
      const first = serve(fibers);
      fibers.close();
      resolve(first.session, done);
      assert.strictEqual(yield* ending(first.session), "client");
      assert.notStrictEqual(fibers.acquire(), first.fiber);
    }),
  );
});
