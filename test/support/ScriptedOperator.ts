/**
 * An Operator whose answers a test writes, and which remembers what it was asked.
 */
import { once } from "node:events";
import * as http from "node:http";
import { Effect, type Scope } from "effect";
import * as OperatorEntry from "./OperatorEntry.js";
import * as Ports from "./Ports.js";

export interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: http.IncomingHttpHeaders;
}

/** Answers one request. */
export type Answer = (response: http.ServerResponse) => void;

/** 200 and this JSON. */
export const lists =
  (json: unknown): Answer =>
  (response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(json));
  };

/** An entry of its list for a backend on this host. */
export const instance = (id: string, port: number, secret = "none") =>
  OperatorEntry.instance(id, {
    default_port: port,
    ip_address: "127.0.0.1",
    environment_variables: JSON.stringify({ SECRET: secret }),
  });

export interface ScriptedOperator {
  readonly url: string;
  readonly asked: ReadonlyArray<Asked>;
  /** From now on, this is the answer. */
  readonly answers: (answer: Answer) => Effect.Effect<void>;
  /** Waits until it was asked so many times more, and the last but one of them has been answered. */
  readonly askedAgain: (times: number) => Effect.Effect<void>;
  /** Refuses connections until it is started again, on the same port. */
  readonly stop: Effect.Effect<void>;
  readonly restart: Effect.Effect<void>;
}

export const make = (first: Answer): Effect.Effect<ScriptedOperator, never, Scope.Scope> =>
  Effect.gen(function* () {
    const port = yield* Ports.unused;
    const asked: Array<Asked> = [];
    let answer = first;
    const server = http.createServer((request, response) => {
      asked.push({ method: request.method, url: request.url, headers: request.headers });
      answer(response);
    });
    const restart = Effect.promise(async () => {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    });
    const stop = Effect.promise(() => close(server));
    yield* Effect.acquireRelease(restart, () => stop);
    return {
      url: `http://127.0.0.1:${port}`,
      asked,
      answers: (next) =>
        Effect.sync(() => {
          answer = next;
        }),
      askedAgain: (times) =>
        Effect.suspend(() => {
          const before = asked.length;
          const wait: Effect.Effect<void> = Effect.suspend(() =>
            asked.length >= before + times ? Effect.void : Effect.zipRight(Effect.sleep("5 millis"), wait),
          );
          return wait;
        }),
      stop,
      restart,
    };
  });

const close = async (server: http.Server): Promise<void> => {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
};
