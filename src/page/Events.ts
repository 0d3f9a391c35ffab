/**
 * The list of what happened, newest first.
 */
import { announce, byId, element } from "./Dom.js";
import * as Format from "./Format.js";
import * as Happenings from "./Happenings.js";

const entry = (happening: Happenings.Happening): HTMLLIElement => {
  const { at, kind } = happening;
  const time = element("time", { datetime: new Date(at).toISOString() }, Format.clock(at));
  return element("li", { class: kind }, time, " ", element("span", {}, Happenings.text(happening)));
};

/** The answer shows happenings, and announces those that are newer than `since`. */
export const make = (): ((happenings: ReadonlyArray<Happenings.Happening>, since: number) => void) => {
  const list = byId("events", HTMLOListElement);
  const none = byId("no-events", HTMLElement);
  let shown: ReadonlyArray<Happenings.Happening> = [];
  let entries = new Map<string, { readonly of: Happenings.Happening; readonly item: HTMLLIElement }>();

  return (happenings, since) => {
    if (happenings === shown) return;
    const news = happenings.filter(({ at, key }) => at > since && !entries.has(key));
    const next = new Map<string, { readonly of: Happenings.Happening; readonly item: HTMLLIElement }>();
    let before: ChildNode | null = list.firstChild;
    for (const of of happenings) {
      const had = entries.get(of.key);
      const item = had?.item ?? entry(of);
      if (had !== undefined && had.of !== of) item.replaceChildren(...entry(of).childNodes);
      if (item === before) before = before.nextSibling;
      else list.insertBefore(item, before);
      next.set(of.key, { of, item });
    }
    for (const [key, { item }] of entries) if (!next.has(key)) item.remove();
    entries = next;
    shown = happenings;
    none.hidden = happenings.length > 0;
    if (news.length > 0) announce(Happenings.announcement(news));
  };
};
