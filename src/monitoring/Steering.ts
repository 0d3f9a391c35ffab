/**
 * Who may steer: whoever sends the ADMIN_TOKEN.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Effect, Layer, Redacted } from "effect";
import { Steering } from "./Api.js";

// Digests are of one length, so that comparing them tells nothing of the token, its length included.
const digest = (token: Redacted.Redacted): Buffer =>
  createHash("sha256").update(Redacted.value(token)).digest();

/** Without a token nobody may. */
export const layer = (token: Redacted.Redacted | undefined): Layer.Layer<Steering> => {
  if (token === undefined) {
    return Layer.succeed(Steering, {
      token: () =>
        Effect.fail({
          error: "steering is off; set ADMIN_TOKEN to a secret of at least 16 characters to turn it on",
          reason: "steering-off",
        } as const),
    });
  }
  const expected = digest(token);
  return Layer.succeed(Steering, {
    token: (given) =>
      timingSafeEqual(digest(given), expected)
        ? Effect.void
        : Effect.fail({
            error: "send the ADMIN_TOKEN: Authorization: Bearer <token>",
            reason: "unauthorized",
          } as const),
  });
};
