/**
 * A client of monitoring, derived from the description that the server is held to.
 */
import * as HttpApiClient from "@effect/platform/HttpApiClient";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import { type Effect, Redacted } from "effect";
import { Api } from "./Api.js";

export interface Options {
  /** Where monitoring listens: `http://localhost:8083`. */
  readonly url: string;
  /** The ADMIN_TOKEN, for those who steer. */
  readonly adminToken?: Redacted.Redacted | undefined;
}

/**
 * One function for each endpoint, with its answers and errors typed: `client.health()`, `client.live.status()`,
 * `client.steering.drain({ path: { id } })`.
 */
export const make = ({ adminToken, url }: Options) =>
  HttpApiClient.make(Api, {
    baseUrl: url,
    transformClient: (client) =>
      adminToken === undefined
        ? client
        : HttpClient.mapRequest(client, HttpClientRequest.bearerToken(Redacted.value(adminToken))),
  });

export type MonitoringClient = Effect.Effect.Success<ReturnType<typeof make>>;
