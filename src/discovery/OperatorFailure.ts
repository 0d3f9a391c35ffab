/**
 * Why an Operator could not be asked, from what an HTTP client failed with. Pure.
 *
 * Messages of errors are not used: some clients quote the header that they could not send, and the token with it.
 */

/** How deep errors are looked for within each other. */
const deepest = 8;

/** An error, and those that caused it. */
const causesOf = (error: unknown): ReadonlyArray<object> => {
  const causes: Array<object> = [];
  let at: unknown = error;
  while (causes.length < deepest && typeof at === "object" && at !== null) {
    causes.push(at);
    at = "cause" in at ? at.cause : undefined;
  }
  return causes;
};

/** The code of an error, such as ECONNREFUSED; undefined where it has none. */
const ownCode = (error: object): string | undefined => {
  if ("code" in error && typeof error.code === "string" && /^[A-Z][A-Z0-9_]{1,63}$/.test(error.code)) {
    return error.code;
  }
  // What undici fails with for what is not HTTP has no code.
  return "name" in error && error.name === "HTTPParserError" ? error.name : undefined;
};

const isDefined = <A>(value: A | undefined): value is A => value !== undefined;

/** The error of the system in it, which has nothing of what was sent or received; undefined where there is none. */
export const systemError = (error: unknown): unknown =>
  causesOf(error).find((cause) => "syscall" in cause || cause instanceof AggregateError);

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

/** Why there is no answer, in words that can end a sentence, with the code. */
export const describe = (error: unknown): string => {
  const code = causesOf(error).map(ownCode).find(isDefined);
  return `${explain(code)}${code === undefined ? "" : ` (${code})`}`;
};

/** What may help when the Operator answers with such a status. */
export const statusHint = (status: number): string => {
  if (status === 401 || status === 403) return "; check OPERATOR_TOKEN";
  if (status === 404) return "; check the path of OPERATOR_URL";
  return [301, 302, 303, 307, 308].includes(status)
    ? "; redirects are not followed, so OPERATOR_URL must be where they lead"
    : "";
};
