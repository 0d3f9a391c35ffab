/**
 * Discovery from an Operator service: `GET {url}/api/v1/instances?state=running` answers a JSON list of instances.
 *
 * Nothing of an answer is printed but ids, states and content types, and those only made harmless: an instance's
 * `environment_variables` can hold secrets.
 */
import { STATUS_CODES } from "node:http";
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import { Duration, Effect, Either, Layer, ParseResult, type Redacted, Schema, Stream } from "effect";
import type { Instance } from "../backend/Backend.js";
import { isPrintable, printable } from "../log/ForeignText.js";
import { canonical } from "../net/IpAddress.js";
import { format, isIpAddress } from "../net/SocketAddress.js";
import { type Answer, Discovery, DiscoveryError, type DiscoveryFailure, type Skipped } from "./Discovery.js";

export interface Options {
  /** Where the Operator is; http or https. A path is a prefix of what is asked for; query and fragment are ignored. */
  readonly url: URL;
  /** Sent as a bearer token. Takes the place of credentials in the URL, which are sent as basic ones. */
  readonly token: Redacted.Redacted | undefined;
  /** How long one answer may take, from connecting to the last byte of its body. */
  readonly timeout: Duration.DurationInput;
}

/** The longest answer that is read, in bytes. */
export const longestBody = 16 * 1024 * 1024;

/** Where an instance listens that does not say. */
export const usualPort = 8080;

// How many of the skipped entries are told one by one: the list may be wrong in a million places.
const mostSkipped = 1000;

// Only what is needed: other fields come and go.
const Entry = Schema.Struct({
  id: Schema.String,
  ip_address: Schema.String,
  default_port: Schema.optional(Schema.NullOr(Schema.Number)),
  state: Schema.optional(Schema.NullOr(Schema.String)),
});

// What a field should have been. The schema's own message is not used, because it prints the value.
const wrongType: Readonly<Record<string, string>> = {
  id: "is not text",
  ip_address: "is not text",
  default_port: "is not a number",
  state: "is not text",
};

// What says that an instance is no backend is looked at first, and by itself: one that is starting may well have
// no address yet, and it is not the missing address that is worth telling.
const Status = Schema.Struct({
  state: Schema.optional(Schema.Unknown),
  deleted_at: Schema.optional(Schema.Unknown),
});

const decodeEntry = Schema.decodeUnknownEither(Entry);
const decodeStatus = Schema.decodeUnknownEither(Status);
const decodeName = Schema.decodeUnknownEither(
  Schema.Struct({ id: Schema.optional(Schema.Unknown), ip_address: Schema.optional(Schema.Unknown) }),
);

const readEntry = (entry: unknown): Either.Either<Instance, string> => {
  if (typeof entry !== "object" || entry === null || Array.isArray(entry))
    return Either.left("it is not an object");
  const status = decodeStatus(entry);
  if (Either.isRight(status)) {
    const { state, deleted_at } = status.right;
    if (typeof state === "string" && state !== "running") {
      return Either.left(`its state is ${state === "" ? "empty" : printable(state)}, not running`);
    }
    if (deleted_at !== undefined && deleted_at !== null) return Either.left("it is deleted");
  }
  const decoded = decodeEntry(entry);
  if (Either.isLeft(decoded)) {
    const [issue] = ParseResult.ArrayFormatter.formatIssueSync(decoded.left.issue);
    const field = String(issue?.path[0] ?? "it");
    return Either.left(
      `${field} ${issue?._tag === "Missing" ? "is missing" : (wrongType[field] ?? "is not as it should be")}`,
    );
  }
  const { id, ip_address, default_port } = decoded.right;
  if (id === "") return Either.left("id is empty");
  if (id.length > 256) return Either.left("id is longer than 256 characters");
  if (!isPrintable(id)) return Either.left("id has characters that cannot be printed");
  if (!isIpAddress(ip_address)) {
    return Either.left(
      ip_address === "" ? "ip_address is empty" : `ip_address ${printable(ip_address)} is not an IP address`,
    );
  }
  // Connecting to it would reach this host.
  if (/^[0:.]+$/.test(canonical(ip_address)))
    return Either.left(`ip_address ${ip_address} is the unspecified address`);
  const port = default_port ?? 0;
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    return Either.left(`default_port ${port} is not a whole number from 0 to 65535`);
  }
  return Either.right({ id, address: { host: ip_address, port: port === 0 ? usualPort : port } });
};

const nameOf = (entry: unknown, place: number): string => {
  const decoded = decodeName(entry);
  if (Either.isRight(decoded)) {
    const { id, ip_address } = decoded.right;
    if (typeof id === "string" && id !== "") return printable(id);
    // Better than its place, which changes from one answer to the next.
    if (typeof ip_address === "string" && isIpAddress(ip_address)) return `the one at ${ip_address}`;
  }
  return `number ${place} in the list`;
};

/**
 * Reads what an Operator answered, parsed from JSON; on the left, what is wrong with it as a whole.
 * Of entries with the same id one counts, and it is the same one in whatever order they are listed.
 */
export const read = (json: unknown): Either.Either<Answer, string> => {
  if (json === null) return Either.right({ instances: [], skipped: [] });
  if (!Array.isArray(json)) return Either.left("is JSON, but neither a list nor null");
  const entries: ReadonlyArray<unknown> = json;
  const instances = new Map<string, Instance>();
  const skipped: Array<Skipped> = [];
  let unnamed = 0;
  const skip = (name: () => string, why: string) => {
    if (skipped.length < mostSkipped) skipped.push({ entry: name(), why });
    else unnamed += 1;
  };
  for (const [i, entry] of entries.entries()) {
    const found = readEntry(entry);
    if (Either.isLeft(found)) {
      skip(() => nameOf(entry, i + 1), found.left);
      continue;
    }
    const instance = found.right;
    const other = instances.get(instance.id);
    if (other === undefined) {
      instances.set(instance.id, instance);
      continue;
    }
    const first = format(instance.address) < format(other.address) ? instance : other;
    instances.set(instance.id, first);
    skip(() => instance.id, `its id is listed more than once; the one at ${format(first.address)} counts`);
  }
  if (unnamed > 0) {
    skipped.push({ entry: "others", why: `more than ${mostSkipped} entries of the list cannot be backends` });
  }
  return Either.right({ instances: [...instances.values()], skipped });
};

// The system's word for what went wrong, however deep a client has wrapped it. Messages are not looked at: some
// clients quote the header they could not send, and the token with it.
const codeOf = (error: unknown): string | undefined => {
  let at: unknown = error;
  for (let depth = 0; depth < 8 && typeof at === "object" && at !== null; depth++) {
    if ("code" in at && typeof at.code === "string" && /^[A-Z][A-Z0-9_]{1,63}$/.test(at.code)) return at.code;
    // undici's word for what is not HTTP, which has no code.
    if ("name" in at && at.name === "HTTPParserError") return at.name;
    at = "cause" in at ? at.cause : undefined;
  }
  return undefined;
};

const explain = (code: string | undefined): string => {
  switch (code) {
    case undefined:
      return "the connection failed";
    case "ECONNREFUSED":
      return "the connection was refused; is the Operator running there?";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "the name could not be resolved";
    case "ECONNRESET":
    case "EPIPE":
    case "UND_ERR_SOCKET":
      return "the connection was broken off";
    default:
      return code.startsWith("HPE_") || code === "HTTPParserError"
        ? "what answers does not speak HTTP"
        : /CERT|SIGN|ISSUER/.test(code)
          ? "its TLS certificate is not accepted"
          : code === "EPROTO" || code.startsWith("ERR_SSL")
            ? "what answers does not speak TLS as it should"
            : "the connection failed";
  }
};

const decodePart = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};

/** Builds Discovery over the HttpClient of the context. */
export const make = (options: Options) =>
  Effect.gen(function* () {
    const client = (yield* HttpClient.HttpClient).pipe(HttpClient.withScope);
    const { token, url } = options;
    const source = `${url.origin}${url.pathname.replace(/\/+$/, "")}/api/v1/instances?state=running`;

    const fail = (reason: DiscoveryFailure, wrong: string) =>
      new DiscoveryError({ reason, message: `GET ${source}: ${wrong}` });

    const authorize = (request: HttpClientRequest.HttpClientRequest): HttpClientRequest.HttpClientRequest => {
      if (token !== undefined) return HttpClientRequest.bearerToken(request, token);
      if (`${url.username}${url.password}` === "") return request;
      return HttpClientRequest.basicAuth(request, decodePart(url.username), decodePart(url.password));
    };
    const request = authorize(HttpClientRequest.get(source, { acceptJson: true }));

    const broken = (error: unknown) => {
      const code = codeOf(error);
      return fail("unreachable", `${explain(code)}${code === undefined ? "" : ` (${code})`}`);
    };

    const wrongStatus = (status: number) => {
      const hint =
        status === 401 || status === 403
          ? "; check OPERATOR_TOKEN"
          : status >= 300 && status < 400
            ? "; redirects are not followed, so OPERATOR_URL must be where they lead"
            : status === 404
              ? "; check the path of OPERATOR_URL"
              : "";
      return fail("status", `it answered ${status} ${STATUS_CODES[status] ?? ""}`.trimEnd() + hint);
    };

    const tooLarge = fail("too-large", `the answer is longer than ${longestBody / 1024 / 1024} MiB`);

    const list = Effect.gen(function* () {
      const response = yield* client.execute(request).pipe(
        Effect.mapError(broken),
        // A client may throw at a header it cannot send, and quote it, with the token, in what it throws.
        Effect.catchAllDefect((defect) => Effect.fail(broken(defect))),
      );
      if (response.status < 200 || response.status > 299) return yield* wrongStatus(response.status);
      if (Number(response.headers["content-length"] ?? 0) > longestBody) return yield* tooLarge;
      const chunks: Array<Uint8Array> = [];
      let size = 0;
      yield* response.stream.pipe(
        Stream.mapError(broken),
        Stream.runForEach((chunk) => {
          size += chunk.length;
          if (size > longestBody) return tooLarge;
          chunks.push(chunk);
          return Effect.void;
        }),
      );
      const type = response.headers["content-type"];
      const json = yield* Effect.try({
        // What JSON.parse has to say quotes the text, so it is not repeated.
        try: (): unknown =>
          JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))),
        catch: () =>
          fail(
            "malformed",
            `the answer is not JSON (${size} bytes, ${type === undefined ? "no content type" : printable(type)})`,
          ),
      });
      return yield* Either.mapLeft(read(json), (wrong) => fail("malformed", `the answer ${wrong}`));
    }).pipe(
      // Leaving the scope ends the request, wherever it stands.
      Effect.scoped,
      Effect.timeoutFail({
        duration: options.timeout,
        onTimeout: () => fail("timeout", `no whole answer within ${Duration.format(options.timeout)}`),
      }),
      // fetch would follow a redirect, and take the token to where it leads on the same host.
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
    );

    return Discovery.of({ source, list });
  });

/** Asks the Operator at `options.url`. Which HTTP client does it is for the program to say. */
export const layer = (options: Options): Layer.Layer<Discovery, never, HttpClient.HttpClient> =>
  Layer.effect(Discovery, make(options));
