/**
 * What `GET /connections` is asked for, as its query says it. Pure.
 */

import { printable } from "../log/ForeignText.js";
import { CidrSet, parse } from "../net/CidrSet.js";
import type { Selection } from "../proxy/Sessions.js";
import { connectionsListed } from "./Api.js";

/** As it was sent. */
export interface Asked {
  readonly order?: string;
  readonly limit?: string;
  readonly backend?: string;
  readonly client?: string;
}

/** A selection, or what is wrong with what was sent. */
export const selectionOf = (asked: Asked): Selection | { readonly wrong: string } => {
  const { least, most, orders } = connectionsListed;
  const { backend, client, limit = String(connectionsListed.limit) } = asked;
  const order = orders.find((each) => each === (asked.order ?? connectionsListed.order));
  if (order === undefined) {
    return { wrong: `order ${printable(asked.order ?? "")}: accepted: ${orders.join(", ")}` };
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
