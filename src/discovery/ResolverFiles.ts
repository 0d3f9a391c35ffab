/**
 * The files that say how this host looks up names, read as the C library reads them: hosts(5), resolv.conf(5) and
 * nsswitch.conf(5). Pure.
 */
import { isIpAddress } from "../net/SocketAddress.js";

/** Addresses by name, in lower case, in the order of the file. */
export type Hosts = ReadonlyMap<string, ReadonlyArray<string>>;

/** How name servers are asked. */
export interface ResolverConfig {
  /** Addresses of name servers; empty where the file names none. */
  readonly servers: ReadonlyArray<string>;
  /** Domains in which a name is looked for. */
  readonly search: ReadonlyArray<string>;
  /** A name with at least this many dots is first queried as it is. */
  readonly ndots: number;
  /** How long the first try may take, in milliseconds. */
  readonly timeoutMillis: number;
  /** How many tries there are. */
  readonly attempts: number;
}

/** Where names are looked for. */
export interface Sources {
  readonly files: boolean;
  readonly dns: boolean;
  /** Others are named, such as mDNS, which only the system's getaddrinfo asks. */
  readonly others: boolean;
}

/** How many name servers the C library asks (MAXNS in resolv.h). */
const mostServers = 3;
/** How many search domains are tried. */
const mostSearched = 32;
/** The longest name that can be asked for (RFC 1035 section 2.3.4, as text). */
const longestName = 253;

/** The lines without comments, as words. */
const wordsOf = (text: string, comments: RegExp): ReadonlyArray<ReadonlyArray<string>> =>
  text
    .split("\n")
    .map((line) => line.replace(comments, "").trim())
    .filter((line) => line !== "")
    .map((line) => line.split(/\s+/));

/** Reads `/etc/hosts`. */
export const parseHosts = (text: string): Hosts => {
  const hosts = new Map<string, Array<string>>();
  for (const [address = "", ...names] of wordsOf(text, /#.*$/)) {
    if (!isIpAddress(address)) continue;
    for (const name of names.map((each) => each.toLowerCase())) {
      const addresses = hosts.get(name) ?? [];
      if (!addresses.includes(address)) addresses.push(address);
      hosts.set(name, addresses);
    }
  }
  return hosts;
};

const bounded = (text: string, least: number, most: number): number | undefined =>
  /^[0-9]+$/.test(text) ? Math.max(least, Math.min(most, Number(text))) : undefined;

/** Reads `/etc/resolv.conf`. Of `search` and `domain` the last counts; without either it is the host's own domain. */
export const parseResolvConf = (text: string, hostname: string): ResolverConfig => {
  const servers: Array<string> = [];
  let search: ReadonlyArray<string> = [hostname.replace(/^[^.]*\.?/, "")];
  let ndots = 1;
  let timeout = 5;
  let attempts = 2;
  for (const [keyword = "", ...values] of wordsOf(text, /^[ \t]*[#;].*$/)) {
    if (keyword === "nameserver") servers.push(...values.slice(0, 1));
    if (keyword === "domain") search = values.slice(0, 1);
    if (keyword === "search") search = values;
    if (keyword !== "options") continue;
    for (const option of values) {
      const [name, value = ""] = option.split(":");
      if (name === "ndots") ndots = bounded(value, 0, 15) ?? ndots;
      if (name === "timeout") timeout = bounded(value, 1, 30) ?? timeout;
      if (name === "attempts") attempts = bounded(value, 1, 5) ?? attempts;
    }
  }
  return {
    servers: servers.slice(0, mostServers),
    search: search
      .map((domain) => domain.replace(/\.$/, ""))
      .filter((domain) => domain !== "")
      .slice(0, mostSearched),
    ndots,
    timeoutMillis: timeout * 1000,
    attempts,
  };
};

/** Where nsswitch.conf does not say. */
export const usual: Sources = { files: true, dns: true, others: false };

/**
 * Reads the `hosts` line of `/etc/nsswitch.conf`. What is to be done with a result (`[NOTFOUND=return]`) is not
 * regarded.
 */
export const parseNsswitchConf = (text: string): Sources => {
  const [, line] = /^[ \t]*hosts[ \t]*:([^#\n]*)/m.exec(text) ?? [];
  if (line === undefined) return usual;
  const sources = line
    .replaceAll(/\[[^\]]*\]/g, " ")
    .split(/\s+/)
    .filter((source) => source !== "");
  return {
    files: sources.includes("files"),
    dns: sources.includes("dns"),
    others: sources.some((source) => source !== "files" && source !== "dns"),
  };
};

/**
 * What is asked of name servers, in order, until one of them is known: the name in each search domain, and the name as
 * it stands before or after that. A name that ends in a dot is asked for as it stands alone.
 */
export const candidates = (name: string, { ndots, search }: ResolverConfig): ReadonlyArray<string> => {
  if (name.endsWith(".")) return [name.slice(0, -1)];
  const inDomains = search.map((domain) => `${name}.${domain}`).filter((each) => each.length <= longestName);
  const dots = name.split(".").length - 1;
  return dots >= ndots ? [name, ...inDomains] : [...inDomains, name];
};
