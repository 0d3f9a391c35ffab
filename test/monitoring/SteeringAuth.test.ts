import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform";
import { assert, describe, it } from "@effect/vitest";
import { Context, Duration, Effect, Fiber, Layer, Logger, Redacted, TestClock } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Steering } from "../../src/monitoring/Api.js";
import { layer, wrongTokenDelay } from "../../src/monitoring/SteeringAuth.js";

const secret = Redacted.make("correct-horse-battery");

const request = Layer.mergeAll(
  Layer.succeed(
    HttpServerRequest.HttpServerRequest,
    HttpServerRequest.fromWeb(new Request("http://127.0.0.1/backends/a/drain")),
  ),
  Layer.succeed(HttpRouter.RouteContext, {
    [HttpRouter.RouteContextTypeId]: HttpRouter.RouteContextTypeId,
    params: {},
    route: HttpRouter.makeRoute("POST", "/", HttpServerResponse.empty()),
  }),
  Layer.succeed(HttpServerRequest.ParsedSearchParams, {}),
);

describe("steering", () => {
  it.scoped("answers a wrong token a second later, and the right one at once meanwhile", () =>
    Effect.gen(function* () {
      const registry = Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 });
      const { token } = Context.get(yield* Layer.build(Layer.provide(layer(secret), registry)), Steering);
      const wrong = yield* Effect.fork(Effect.flip(token(Redacted.make("wrong-horse-battery"))));
      yield* TestClock.adjust(Duration.subtract(wrongTokenDelay, "1 millis"));
      yield* token(secret);
      assert.isNull(wrong.unsafePoll());
      yield* TestClock.adjust("1 millis");
      assert.deepInclude(yield* Fiber.join(wrong), { reason: "unauthorized" });
    }).pipe(Effect.provide([request, Logger.remove(Logger.defaultLogger)])),
  );
});
