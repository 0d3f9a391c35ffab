/**
 * What `GET /connections` is asked for, as its query says it. Pure.
 */

import { printable } from "../log/ForeignText.js";
import { CidrSet, parse } from "../net/CidrSet.js";
import type { Selection } from "../proxy/Sessions.js";
import { connectionsListed } from "./Api.js";

/** As it was sent: a list where it was sent more than once. */
export interface Asked {
  readonly order?: string | ReadonlyArray<string>;
  readonly limit?: string | ReadonlyArray<string>;
  readonly backend?: string | ReadonlyArray<string>;
  readonly client?: string | ReadonlyArray<string>;
}

/** A selection, or what is wrong with what was sent. */
export const selectionOf = (asked: Asked): Selection | { readonly wrong: string } => {
  const once: { order?: string; limit?: string; backend?: string; client?: string } = {};
  for (const name of ["order", "limit", "backend", "client"] as const) {
    const sent = asked[name];
    if (typeof sent === "string") once[name] = sent;
    else if (sent !== undefined) return { wrong: `${name} is there ${sent.length} times: accepted: once` };
  }
  const { least, most, orders } = connectionsListed;
  const { backend, client, limit = String(connectionsListed.limit) } = once;
  const order = orders.find((each) => each === (once.order ?? connectionsListed.order));
  if (order === undefined) {
    return { wrong: `order ${printable(once.order ?? "")}: accepted: ${orders.join(", ")}` };
  }
  if (!/^\d{1,9}$/.test(limit) || Number(limit) < least || Number(limit) > most) {
    return { wrong: `limit ${printable(limit)}: accepted: a whole number from ${least} to ${most}` };
  }
  const selection = { order, limit: Number(limit), backend };
  if (client === undefined) return selection;
  const clients = parse(client);
  return clients instanceof CidrSet
    ? { ...selection, client: (host) => clients.has(host) }
    : { wrong: `client ${printable(clients.wrong, 300)}` };
};
