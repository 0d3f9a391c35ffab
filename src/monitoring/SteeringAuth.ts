/**
 * Authorizes steering by the admin token. Wrong tokens are counted, logged and refused after a delay.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import { Duration, Effect, Layer, Option, Redacted } from "effect";
import * as InvalidOption from "../config/InvalidOption.js";
import { leastAdminToken } from "../config/Token.js";
import * as LogThrottle from "../log/LogThrottle.js";
import { Metrics } from "../metrics/Metrics.js";
import * as IpAddress from "../net/IpAddress.js";
import { Steering, SteeringOff, Unauthorized } from "./Api.js";

/** The delay before a wrong token is refused, against guessing. */
export const wrongTokenDelay = Duration.seconds(1);

/** The shortest time between two log lines about wrong tokens. */
const logInterval = Duration.seconds(5);

// Digests are of one length, so that comparing them tells nothing of the token, its length included.
// Several spaces may stand before a token (RFC 9110, section 11.4), and what reads the header takes one away.
const digest = (token: Redacted.Redacted): Buffer =>
  createHash("sha256").update(Redacted.value(token).trimStart()).digest();

/** The address that a request came from, for the log. */
export const clientOf: Effect.Effect<string, never, HttpServerRequest.HttpServerRequest> = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ remoteAddress }) => IpAddress.canonical(Option.getOrElse(remoteAddress, () => "an unknown address")),
);

const off = Effect.suspend(
  () =>
    new SteeringOff({
      error: `steering is off; set ADMIN_TOKEN to a secret of at least ${leastAdminToken} characters to turn it on`,
      reason: "steering-off",
    }),
);

const unauthorized = Effect.suspend(
  () =>
    new Unauthorized({
      error: "send the ADMIN_TOKEN: Authorization: Bearer <token>",
      reason: "unauthorized",
    }),
);

/** Steering requires this token; without one, steering is off. Fails if the token is too short. */
export const layer = (
  token: Redacted.Redacted | undefined,
): Layer.Layer<Steering, InvalidOption.InvalidOption, Metrics> =>
  Layer.effect(
    Steering,
    Effect.gen(function* () {
      const metrics = yield* Metrics;
      const checked = yield* InvalidOption.token("adminToken", token, leastAdminToken);
      const expected = checked === undefined ? undefined : digest(checked);
      const throttle = LogThrottle.make(logInterval);
      const refuse = Effect.gen(function* () {
        metrics.steeringRefused();
        const client = yield* clientOf;
        yield* throttle(
          Effect.logWarning("steering refused: the token is wrong").pipe(Effect.annotateLogs({ client })),
        );
        yield* Effect.sleep(wrongTokenDelay);
        return yield* unauthorized;
      });
      return {
        token: (given) => {
          if (expected === undefined) return off;
          return timingSafeEqual(digest(given), expected) ? Effect.void : refuse;
        },
      };
    }),
  );
