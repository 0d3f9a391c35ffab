/**
 * A name server on loopback, over UDP, whose answers a test writes.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { Effect, type Scope } from "effect";

/** What it answers to a question: addresses, a failure of DNS, or nothing at all. */
export type Reply = ReadonlyArray<string> | "no such name" | "cannot answer" | "silent";

export interface Question {
  readonly name: string;
  readonly type: "A" | "AAAA" | "other";
}

export interface ScriptedNameServer {
  /** As it may stand behind `nameserver` in resolv.conf. */
  readonly address: string;
  /** What it was asked, as `A web.test`. */
  readonly asked: ReadonlyArray<string>;
}

const types: Readonly<Record<number, Question["type"]>> = { 1: "A", 28: "AAAA" };
const codes = { "no such name": 3, "cannot answer": 2 } as const;

/** The question of a message, and where it ends (RFC 1035 section 4.1.2). */
const read = (message: Buffer): readonly [Question, number] => {
  const labels: Array<string> = [];
  let at = 12;
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return [{ name: labels.join("."), type: types[message.readUInt16BE(at + 1)] ?? "other" }, at + 5];
};

const bytesOf = (address: string): Buffer =>
  address.includes(":")
    ? Buffer.from(address.replaceAll(":", ""), "hex")
    : Buffer.from(address.split(".").map(Number));

/** One record: a pointer to the name in the question, its type, class IN, 5 seconds, and the address. */
const record = (address: string): Buffer => {
  const bytes = bytesOf(address);
  return Buffer.concat([
    Buffer.from([0xc0, 12, 0, bytes.length === 4 ? 1 : 28, 0, 1, 0, 0, 0, 5, 0, bytes.length]),
    bytes,
  ]);
};

/** IPv6 addresses have to be written in full: eight groups of four digits. */
export const make = (
  reply: (question: Question) => Reply,
): Effect.Effect<ScriptedNameServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const asked: Array<string> = [];
    const socket = createSocket("udp4");
    yield* Effect.acquireRelease(
      Effect.promise(async () => {
        socket.bind(0, "127.0.0.1");
        await once(socket, "listening");
      }),
      () => Effect.async<void>((resume) => void socket.close(() => resume(Effect.void))),
    );
    socket.on("message", (message, { address, port }) => {
      const [question, end] = read(message);
      asked.push(`${question.type} ${question.name}`);
      const answer = reply(question);
      if (answer === "silent") return;
      const addresses = typeof answer === "string" ? [] : answer;
      const code = typeof answer === "string" ? codes[answer] : 0;
      const header = Buffer.from([0, 0, 0x81, 0x80 | code, 0, 1, 0, addresses.length, 0, 0, 0, 0]);
      message.copy(header, 0, 0, 2);
      socket.send(
        Buffer.concat([header, message.subarray(12, end), ...addresses.map(record)]),
        port,
        address,
      );
    });
    return { address: `127.0.0.1:${socket.address().port}`, asked };
  });
