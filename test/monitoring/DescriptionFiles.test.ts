import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import type * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import * as HttpApp from "@effect/platform/HttpApp";
import * as HttpRouter from "@effect/platform/HttpRouter";
import { layerContext } from "@effect/platform/HttpServer";
import { assert, describe, it } from "@effect/vitest";
import { Context, Effect, Layer } from "effect";
import { Api } from "../../src/monitoring/Api.js";
import * as DescriptionFiles from "../../src/monitoring/DescriptionFiles.js";
import { descriptors } from "../support/Sockets.js";

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "descriptions-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
);

// As HttpApiBuilder hands on every API; it is not asked for anything here.
const api = Api as unknown as HttpApi.HttpApi<string, HttpApiGroup.HttpApiGroup.AnyWithProps>;

/** What is answered at a path, over the files of a folder. */
const answers = (path: string) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      DescriptionFiles.layerFrom(pathToFileURL(`${path}/`), { openApi: "/o.json", docs: "/d" }).pipe(
        Layer.provideMerge(HttpApiBuilder.Router.Live),
        Layer.provideMerge(layerContext),
        Layer.provide(Layer.succeed(HttpApi.Api, { api, context: Context.empty() })),
      ),
    );
    const app = yield* HttpRouter.toHttpApp(yield* Context.get(context, HttpApiBuilder.Router).router);
    const handler = HttpApp.toWebHandler(Effect.provide(app, context));
    return (at: string) =>
      Effect.promise(async () => {
        const response = await handler(new Request(`http://localhost${at}`));
        return {
          status: response.status,
          type: response.headers.get("content-type"),
          text: await response.text(),
        };
      });
  });

describe("DescriptionFiles", () => {
  it.scopedLive("answers what stood in the files when it started, whatever stands there by then", () =>
    Effect.gen(function* () {
      const path = yield* folder;
      const page = `<html>${"x".repeat(300_000)}</html>`;
      writeFileSync(join(path, DescriptionFiles.files.openApi), `{"openapi":"3.1.0"}`);
      writeFileSync(join(path, DescriptionFiles.files.docs), page);
      const ask = yield* answers(path);
      // As a package manager takes files away.
      rmSync(path, { recursive: true });
      for (let times = 0; times < 2; times++) {
        assert.deepStrictEqual(yield* ask("/o.json"), {
          status: 200,
          type: "application/json",
          text: `{"openapi":"3.1.0"}`,
        });
        assert.deepStrictEqual(yield* ask("/d"), { status: 200, type: "text/html", text: page });
      }
    }),
  );

  it.scopedLive("keeps no file open that it has not opened", () =>
    Effect.gen(function* () {
      const path = yield* folder;
      for (const name of Object.values(DescriptionFiles.files)) writeFileSync(join(path, name), "");
      const before = descriptors();
      yield* Effect.scoped(answers(path));
      assert.strictEqual(descriptors(), before);
    }),
  );
});
