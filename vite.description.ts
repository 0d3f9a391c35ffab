import { join } from "node:path";
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import type * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import * as HttpApp from "@effect/platform/HttpApp";
import * as HttpRouter from "@effect/platform/HttpRouter";
import { layerContext } from "@effect/platform/HttpServer";
import { Context, Effect, Layer } from "effect";
import type { Plugin } from "vite";
import { Api } from "./src/monitoring/Api.js";
import * as Description from "./src/monitoring/Description.js";
import { files } from "./src/monitoring/DescriptionFiles.js";

// As HttpApiBuilder hands on every API: what is asked of it here is only what it is described with.
const api = Api as unknown as HttpApi.HttpApi<string, HttpApiGroup.HttpApiGroup.AnyWithProps>;

/** What `Description` answers at a path. */
const answered = (path: string): Promise<Uint8Array> =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      Description.layer({ openApi: `/${files.openApi}`, docs: `/${files.docs}` }).pipe(
        Layer.provideMerge(HttpApiBuilder.Router.Live),
        Layer.provideMerge(layerContext),
        Layer.provide(Layer.succeed(HttpApi.Api, { api, context: Context.empty() })),
      ),
    );
    const app = yield* HttpRouter.toHttpApp(yield* Context.get(context, HttpApiBuilder.Router).router);
    const handler = HttpApp.toWebHandler(Effect.provide(app, context));
    const response = yield* Effect.promise(() => handler(new Request(`http://localhost/${path}`)));
    return new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()));
  }).pipe(Effect.scoped, Effect.runPromise);

/** Puts what describes the API into files beside the bundle, and the module that answers them from there in it. */
export const descriptionFiles = (root: string): Plugin => ({
  name: "description-files",
  enforce: "pre",
  async buildStart() {
    for (const fileName of Object.values(files))
      this.emitFile({ type: "asset", fileName, source: await answered(fileName) });
  },
  resolveId(id, importer) {
    if (id !== "./Description.js" || importer !== join(root, "src/monitoring/Monitoring.ts")) return null;
    return join(root, "src/monitoring/DescriptionFiles.ts");
  },
});
