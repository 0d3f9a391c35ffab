/**
 * The few things that are done with the document again and again. Text is only ever set as text, never as markup:
 * ids and reasons come from outside.
 */

/** The element of index.html with this id. */
export const byId = <A extends HTMLElement>(id: string, type: new () => A): A => {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} with the id ${id}`);
  return found;
};

/** The first element of this kind in another one. */
export const within = <A extends Element>(parent: ParentNode, selector: string, type: new () => A): A => {
  const found = parent.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} at ${selector}`);
  return found;
};

export const element = <Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: ReadonlyArray<Node | string>
): HTMLElementTagNameMap[Name] => {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
};

/** Sets what has changed only, so that the browser has nothing to lay out again where nothing has. */
export const setText = (node: Node, text: string): void => {
  if (node.textContent !== text) node.textContent = text;
};

/** A banner's text; undefined hides it. */
export const setBanner = (banner: HTMLElement, text: string | undefined): void => {
  setText(banner, text ?? "");
  banner.hidden = text === undefined;
};

/** Tells whoever listens to a screen reader, when it has nothing else to say. */
export const announce = (text: string): void => setText(byId("announcer", HTMLElement), text);
