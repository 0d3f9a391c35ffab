/**
 * The wait of a session for a place at a backend: until it has one, the wait is given up, or its client breaks off.
 */
import { Effect } from "effect";
import type { Backend } from "../backend/Backend.js";
import type { BackendRegistry, Waiting } from "../backend/BackendRegistry.js";
import type { Assignment } from "../backend/Pool.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import type { Connection, Transport } from "../transport/Transport.js";

/** What a wait came to. */
export type Result =
  | "assigned"
  /** The maximum number of clients waits already. */
  | "queue-full"
  | "timeout"
  /** No backend is left that it could wait for. */
  | "no-backend"
  | "client-reset";

/** The session that waits. */
export interface Subject {
  readonly address: SocketAddress;
  readonly client: Connection;
  /** Backends to which its connect has failed. */
  readonly failed: ReadonlyArray<Backend>;
}

class PlaceWait implements Waiting {
  constructor(
    readonly client: SocketAddress,
    readonly tried: ReadonlyArray<Backend>,
    readonly assigned: (assignment: Assignment) => void,
    readonly resume: (result: Effect.Effect<Result>) => void,
  ) {}

  ended(why: "timeout" | "no-backend"): void {
    this.resume(Effect.succeed(why));
  }

  threw(defect: unknown): void {
    this.resume(Effect.die(defect));
  }
}

/**
 * Waits in the queue. `assigned` is called synchronously when the place is given, so that the place is released even if
 * the fiber is interrupted before it resumes. Call it in an uninterruptible region; the wait itself can be interrupted.
 */
export const make =
  (
    { join }: Pick<typeof BackendRegistry.Service, "join">,
    { watch }: Pick<typeof Transport.Service, "watch">,
  ) =>
  ({ address, client, failed }: Subject, assigned: (assignment: Assignment) => void): Effect.Effect<Result> =>
    Effect.suspend(() => {
      let stop = (): void => {};
      const wait = Effect.async<Result>((resume) => {
        const waiting = new PlaceWait(
          address,
          failed,
          (assignment) => {
            assigned(assignment);
            resume(Effect.succeed("assigned"));
          },
          resume,
        );
        const leave = join(waiting);
        if (leave === undefined) {
          resume(Effect.succeed("queue-full"));
          return;
        }
        const unwatch = watch(client, () => {
          // If it has just been given a place, its relay finds the reset.
          leave();
          resume(Effect.succeed("client-reset"));
        });
        stop = () => {
          leave();
          unwatch();
        };
      });
      return Effect.ensuring(
        Effect.interruptible(wait),
        Effect.sync(() => stop()),
      );
    });
