/**
 * A client of monitoring, derived from the description that the server is held to.
 *
 * @example
 * ```ts
 * import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
 * import { Effect, Stream } from "effect"
 * import { MonitoringClient } from "zeitwork-load-balancer"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MonitoringClient.make({ url: "http://localhost:8083" })
 *   const { status } = yield* client.health().pipe(Effect.catchTag("NotServing", Effect.succeed))
 *   yield* Effect.log(status)
 *   yield* client.statuses.pipe(Stream.runForEach(({ open }) => Effect.log(open)))
 * }).pipe(Effect.provide(FetchHttpClient.layer))
 * ```
 */
import * as HttpApiClient from "@effect/platform/HttpApiClient";
import * as HttpClient from "@effect/platform/HttpClient";
import type { HttpClientError } from "@effect/platform/HttpClientError";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import { Effect, Option, type ParseResult, Redacted, Schema, Stream } from "effect";
import { Api, Change, Event, Sample, Status } from "./Api.js";
import { applied } from "./StatusDelta.js";

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** Where monitoring listens: `http://localhost:8083`. */
  readonly url: string;
  /** The ADMIN_TOKEN, for those who steer. */
  readonly adminToken?: Redacted.Redacted | undefined;
}

/**
 * One message of `GET /events`.
 *
 * @since 0.2.0
 * @category models
 */
export type Message =
  | { readonly _tag: "History"; readonly samples: ReadonlyArray<typeof Sample.Type> }
  | { readonly _tag: "Event"; readonly event: typeof Event.Type }
  /** The whole status. */
  | { readonly _tag: "Status"; readonly status: typeof Status.Type }
  /** What has changed since the last status or change. */
  | { readonly _tag: "Change"; readonly change: typeof Change.Type };

/**
 * What reading `GET /events` may fail with.
 *
 * @since 0.2.0
 * @category errors
 */
export type EventsError = HttpClientError | ParseResult.ParseError;

/** What comes beside the functions of the endpoints. */
interface Events {
  /**
   * The messages of `GET /events`, until monitoring ends them. It does not reconnect: repeat it with a schedule where
   * that is wanted. Messages of other kinds, from a later version, are left out.
   */
  readonly messages: Stream.Stream<Message, EventsError>;
  /** The status of each moment, about twice a second: the changes are applied to it. */
  readonly statuses: Stream.Stream<typeof Status.Type, EventsError>;
}

const decoders: Readonly<Record<string, (json: string) => Effect.Effect<Message, ParseResult.ParseError>>> = {
  history: (json) =>
    Effect.map(
      Schema.decode(Schema.parseJson(Schema.Array(Sample)))(json),
      (samples): Message => ({ _tag: "History", samples }),
    ),
  event: (json) =>
    Effect.map(Schema.decode(Schema.parseJson(Event))(json), (event): Message => ({ _tag: "Event", event })),
  status: (json) =>
    Effect.map(
      Schema.decode(Schema.parseJson(Status))(json),
      (status): Message => ({ _tag: "Status", status }),
    ),
  change: (json) =>
    Effect.map(
      Schema.decode(Schema.parseJson(Change))(json),
      (change): Message => ({ _tag: "Change", change }),
    ),
};

const field = /^(event|data): (.*)$/;

/** Each message of the server is one line with its name and one with its data. */
const messagesOf = <E>(lines: Stream.Stream<string, E>): Stream.Stream<Message, E | ParseResult.ParseError> =>
  lines.pipe(
    Stream.mapAccum("", (name, line) => {
      const [, kind, value = ""] = field.exec(line) ?? [];
      if (kind === "event") return [value, Option.none()] as const;
      return [name, kind === "data" ? Option.some({ name, value }) : Option.none()] as const;
    }),
    Stream.filterMap((message) => message),
    Stream.filterMap(({ name, value }) =>
      Option.map(Option.fromNullable(decoders[name]), (decode) => decode(value)),
    ),
    Stream.mapEffect((decoding) => decoding),
  );

const statusesOf = <E>(messages: Stream.Stream<Message, E>): Stream.Stream<typeof Status.Type, E> =>
  messages.pipe(
    Stream.mapAccum(undefined as typeof Status.Type | undefined, (before, message) => {
      if (message._tag === "Status") return [message.status, Option.some(message.status)] as const;
      if (message._tag !== "Change" || before === undefined) return [before, Option.none()] as const;
      const after = applied(before, message.change);
      return [after, Option.some(after)] as const;
    }),
    Stream.filterMap((status) => status),
  );

/**
 * One function for each endpoint, with its answers and errors typed: `client.health()`, `client.live.status()`,
 * `client.steering.drain({ path: { id } })`. What the server refuses is an error of `MonitoringApi`, for `catchTag`:
 * `NotServing`, `NotReady`, `Unauthorized`, `SteeringOff`, `UnknownBackend`, `InvalidRequest`. Beside them are the
 * streams `messages` and `statuses`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = ({ adminToken, url }: Options) =>
  Effect.gen(function* () {
    const http = yield* HttpClient.HttpClient;
    const client = yield* HttpApiClient.make(Api, {
      baseUrl: url,
      transformClient: (client) =>
        adminToken === undefined
          ? client
          : HttpClient.mapRequest(client, HttpClientRequest.bearerToken(Redacted.value(adminToken))),
    });
    const messages = HttpClientRequest.get(`${url.replace(/\/+$/, "")}/events`).pipe(
      HttpClient.filterStatusOk(http).execute,
      Effect.map(({ stream }) => Stream.splitLines(Stream.decodeText(stream))),
      Stream.unwrap,
      messagesOf,
    );
    const events: Events = { messages, statuses: statusesOf(messages) };
    return { ...client, ...events };
  });

/**
 * @since 0.2.0
 * @category models
 */
export type MonitoringClient = Effect.Effect.Success<ReturnType<typeof make>>;
