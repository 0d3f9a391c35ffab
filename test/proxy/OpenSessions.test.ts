import { assert, describe, it } from "@effect/vitest";
import { Effect, FastCheck as fc } from "effect";
import { ByteSlots } from "../../src/proxy/ByteSlots.js";
import { OpenSessions } from "../../src/proxy/OpenSessions.js";
import { Session } from "../../src/proxy/Session.js";
import { SessionFiber } from "../../src/proxy/SessionFibers.js";

const options = { attempt: () => Effect.never, end: () => undefined, logDefect: () => Effect.void };

describe("OpenSessions", () => {
  it.prop(
    "holds who was added and not deleted, each with its fiber",
    { steps: fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 200 }) },
    ({ steps }) => {
      const slots = new ByteSlots();
      const open = new OpenSessions();
      const model = new Map<Session, SessionFiber>();
      const over: Array<Session> = [];
      let lastId = 0;
      for (const [comes, which] of steps) {
        const session = [...model.keys()][which];
        if (comes || session === undefined) {
          lastId += 1;
          const client = { remote: { host: "10.0.0.1", port: 1 }, close: () => {}, reset: () => {} };
          const attempts = { connectTimeoutMillis: 1_000, connected: () => {} };
          const next = new Session(lastId, client, 0, slots.acquire(), attempts);
          const fiber = new SessionFiber(options, { fibers: [], closed: false }, () => {
            throw new Error("no fiber is started here");
          });
          open.add(next, fiber);
          model.set(next, fiber);
        } else {
          open.delete(session);
          slots.release(session.bytes);
          model.delete(session);
          over.push(session);
        }
      }
      // Their slots may have been given to others.
      for (const session of over) open.delete(session);
      assert.strictEqual(open.size, model.size);
      assert.sameMembers([...open], [...model.keys()]);
      for (const [session, fiber] of model) assert.strictEqual(open.fiberOf(session), fiber);
      for (const session of over) assert.isUndefined(open.fiberOf(session));
    },
  );
});
