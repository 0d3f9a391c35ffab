/**
 * Which addresses are one client to the limits per client.
 */
import { AddressReader } from "../net/AddressReader.js";

/** What counts as one client for the limits: an IPv4 address, or the /64 of an IPv6 one. */
export type ClientKey = number | string;

export class ClientKeys {
  readonly #reader = new AddressReader();

  of(host: string): ClientKey {
    const { words } = this.#reader;
    const family = this.#reader.read(host);
    if (family === undefined) return host;
    return family === 4 ? (words[0] as number) : `${words[0]}:${words[1]}`; // four
  }
}
