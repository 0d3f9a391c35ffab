/**
 * Connecting and relaying in one, on whatever thread, and what comes of it. No Effect: a thread that forwards loads
 * none.
 */
/**
 * How a relay ended: in order, or by a side that broke off.
 *
 * @since 0.2.0
 * @category models
 */
export type RelayEnd =
  /** Both sides sent their FIN, the client first, and all bytes were delivered. */
  | "client-closed"
  /** Both sides sent their FIN, the backend first, and all bytes were delivered. */
  | "backend-closed"
  /** The client broke off (RST, or its connection died). */
  | "client-reset"
  /** The backend broke off. */
  | "backend-reset"
  /** The thread that relayed it ended by a fault, and both were reset. */
  | "thread-lost";

/**
 * What a relay came to.
 *
 * @since 0.2.0
 * @category models
 */
export interface RelayOutcome {
  readonly end: RelayEnd;
  /** Bytes read from the client. */
  readonly received: number;
  /** Bytes read from the backend. */
  readonly sent: number;
}

/**
 * What forwarding a client came to: one of these is called, once, and none after giving up.
 *
 * @since 0.2.0
 * @category models
 */
export interface ForwardCallbacks<Failure> {
  readonly ended: (outcome: RelayOutcome) => void;
  /** It was not connected; the client is the caller's as before. */
  readonly failed: (failure: Failure) => void;
  /** `connected` threw; the client is the caller's as before. */
  readonly threw: (defect: unknown) => void;
}

/**
 * Connects, and relays when that is done; the one way to forward, on whatever thread. Returns how to give up.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forward = <Client, Backend extends { readonly reset: () => void }, Failure>(
  connect: (made: (backend: Backend) => void, failed: (failure: Failure) => void) => () => void,
  relay: (client: Client, backend: Backend, ended: (outcome: RelayOutcome) => void) => () => void,
  client: Client,
  connected: (() => void) | undefined,
  callbacks: ForwardCallbacks<Failure>,
): (() => void) => {
  let giveUp = connect((backend) => {
    giveUp = () => backend.reset();
    try {
      connected?.();
      giveUp = relay(client, backend, callbacks.ended);
    } catch (defect) {
      callbacks.threw(defect);
    }
  }, callbacks.failed);
  return () => giveUp();
};
