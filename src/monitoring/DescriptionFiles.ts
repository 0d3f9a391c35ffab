/**
 * What {@link Description} makes, from files that were made of it when the program was bundled. A package's program has
 * this module in its place: what only makes them is a third of its text, and the page is 2 MB.
 *
 * The files are opened at the start and read when they are asked for: it does not matter whether they are replaced on
 * disk meanwhile.
 */
import { type FileHandle, open } from "node:fs/promises";
import type * as HttpApi from "@effect/platform/HttpApi";
import { Router } from "@effect/platform/HttpApiBuilder";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import { Effect, type Layer } from "effect";
import type { Paths } from "./Description.js";

/** Their names, beside the program. */
export const files = { openApi: "openapi.json", docs: "docs.html" } as const;

/** All of an open file. */
const content = async (file: FileHandle): Promise<Buffer> => {
  const bytes = Buffer.allocUnsafe((await file.stat()).size);
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, length);
    if (bytesRead === 0) throw new Error(`a file has ended after ${length} of its ${bytes.length} bytes`);
    length += bytesRead;
  }
  return bytes;
};

const answer = (url: URL, contentType: string) =>
  Effect.acquireRelease(
    Effect.promise(() => open(url)),
    (file) => Effect.promise(() => file.close()),
  ).pipe(
    Effect.map((file) =>
      Effect.map(
        Effect.promise(() => content(file)),
        (bytes) => HttpServerResponse.uint8Array(bytes, { contentType }),
      ),
    ),
  );

/** Answers them in the router of the API, as the files of a folder have them. */
export const layerFrom = (folder: URL, paths: Paths): Layer.Layer<never, never, HttpApi.Api> =>
  Router.use((router) =>
    Effect.gen(function* () {
      yield* router.get(paths.openApi, yield* answer(new URL(files.openApi, folder), "application/json"));
      yield* router.get(paths.docs, yield* answer(new URL(files.docs, folder), "text/html"));
    }),
  );

/** The same as {@link Description} has it. */
export const layer = (paths: Paths) => layerFrom(new URL(".", import.meta.url), paths);
