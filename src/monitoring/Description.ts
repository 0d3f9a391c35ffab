/**
 * What describes the API: as an OpenAPI document, and as a page to try it on. Packages have {@link DescriptionFiles} in
 * place of this module.
 */
import type * as HttpApi from "@effect/platform/HttpApi";
import { Router } from "@effect/platform/HttpApiBuilder";
import * as HttpApiSwagger from "@effect/platform/HttpApiSwagger";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as OpenApi from "@effect/platform/OpenApi";
import { Effect, Layer } from "effect";
import { Api } from "./Api.js";

/** Where each is answered. */
export interface Paths {
  readonly openApi: `/${string}`;
  readonly docs: `/${string}`;
}

/** Answers them in the router of the API. */
export const layer = ({ docs, openApi }: Paths): Layer.Layer<never, never, HttpApi.Api> =>
  Layer.merge(
    Router.use((router) =>
      router.get(openApi, Effect.succeed(HttpServerResponse.unsafeJson(OpenApi.fromApi(Api)))),
    ),
    HttpApiSwagger.layer({ path: docs }),
  );
