/**
 * The live page: the few files that the build leaves beside this module, read once.
 */
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import { Effect } from "effect";

/** What is answered at each path of the page. */
export type Page = ReadonlyMap<string, HttpServerResponse.HttpServerResponse>;

/** Where the build puts it. In a run of the sources this is src/page, which has no assets: it is not built. */
export const built = fileURLToPath(new URL("../page", import.meta.url));

/** It makes requests to this server only, runs scripts from it only, and cannot be framed by another page. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

const always = {
  "content-security-policy": policy,
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

const contentTypes: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
};

/** A name with a digest of the content in it never has another content. */
const hashed = /-[\w-]{8}\.\w+$/;

const file = (path: string) =>
  HttpServerResponse.uint8Array(readFileSync(path), {
    contentType: contentTypes[extname(path)] ?? "application/octet-stream",
    headers: {
      ...always,
      "cache-control": hashed.test(path) ? "public, max-age=31536000, immutable" : "no-store",
    },
  });

const missing: Page = new Map([
  [
    "/",
    HttpServerResponse.text("The live page was not built; npm run build builds it.\n", {
      status: 404,
      headers: { ...always, "cache-control": "no-store" },
    }),
  ],
]);

/** The page of a folder. Where it cannot be read, `/` says that it was not built. */
export const load = (folder: string): Effect.Effect<Page> =>
  Effect.try((): Page => {
    const assets = readdirSync(join(folder, "assets"));
    return new Map([
      ["/", file(join(folder, "index.html"))],
      ...assets.map((name) => [`/assets/${name}`, file(join(folder, "assets", name))] as const),
    ]);
  }).pipe(Effect.orElseSucceed(() => missing));
