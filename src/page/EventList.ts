/**
 * The list of what happened, newest first.
 */
import { announce, byId, element } from "./Dom.js";
import * as Events from "./Events.js";
import * as Format from "./Format.js";

const item = (entry: Events.Entry): HTMLLIElement => {
  const { at, kind } = entry;
  const time = element("time", { datetime: new Date(at).toISOString() }, Format.clock(at));
  return element("li", { class: kind }, time, " ", element("span", {}, Events.text(entry)));
};

/** The answer shows entries, and announces those that are new where that is asked for. */
export const make = (): ((entries: ReadonlyArray<Events.Entry>, announcing: boolean) => void) => {
  const list = byId("events", HTMLOListElement);
  const none = byId("no-events", HTMLElement);
  let shown: ReadonlyArray<Events.Entry> = [];
  let items = new Map<string, HTMLLIElement>();

  return (entries, announcing) => {
    if (entries === shown) return;
    const fresh = entries.filter(({ key }) => !items.has(key));
    const next = new Map<string, HTMLLIElement>();
    let before: ChildNode | null = list.firstChild;
    for (const entry of entries) {
      const li = items.get(entry.key) ?? item(entry);
      if (li === before) before = before.nextSibling;
      else list.insertBefore(li, before);
      next.set(entry.key, li);
    }
    for (const [key, li] of items) if (!next.has(key)) li.remove();
    items = next;
    shown = entries;
    none.hidden = entries.length > 0;
    if (announcing && fresh.length > 0) announce(Events.announcement(fresh));
  };
};
