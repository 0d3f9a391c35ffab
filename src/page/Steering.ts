/**
 * Drain, disable and enable, for whoever has the ADMIN_TOKEN. The token lives in a variable of this module's one
 * instance: it is never written anywhere, and gone with the tab.
 */
import { announce, byId, setBanner, setText, within } from "./Dom.js";
import * as Format from "./Format.js";
import type { Row } from "./Rows.js";
import type { Verb } from "./Table.js";

/** How long the balancer may take to answer. */
const patienceMillis = 5_000;

const done: Readonly<Record<Verb, string>> = {
  drain: "drains: it gets no new connection, and those it has run on",
  disable: "is disabled: its connections were reset",
  enable: "is enabled",
};

const reasonOf = async (answer: Response): Promise<string> => {
  const body: unknown = await answer.json().catch(() => undefined);
  const error = typeof body === "object" && body !== null && "error" in body ? body.error : undefined;
  return typeof error === "string" ? error : `the balancer answered ${answer.status}`;
};

export interface Steering {
  /** Does what a button of a row asks for. */
  readonly steer: (verb: Verb, row: Row) => void;
  /** Whether there is anybody to ask. */
  readonly enabled: (enabled: boolean) => void;
}

/** Puts steering on the page. */
export const make = (): Steering => {
  let token: string | undefined;
  const button = byId("steer", HTMLButtonElement);
  const notice = byId("notice", HTMLElement);
  const table = byId("table", HTMLTableElement);
  const asking = byId("token-dialog", HTMLDialogElement);
  const given = byId("token", HTMLInputElement);
  const problem = byId("token-problem", HTMLElement);
  const confirming = byId("confirm-dialog", HTMLDialogElement);

  const use = (next: string | undefined): void => {
    token = next;
    table.classList.toggle("steerable", next !== undefined);
    setText(button, next === undefined ? "Steer…" : "Stop steering");
  };

  const report = (text: string, bad: boolean): void => {
    notice.classList.toggle("bad", bad);
    setBanner(notice, text);
    announce(text);
  };

  const act = async (verb: Verb, { id }: Row): Promise<void> => {
    if (token === undefined) return;
    try {
      const answer = await fetch(`backends/${encodeURIComponent(id)}/${verb}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        redirect: "error",
        signal: AbortSignal.timeout(patienceMillis),
      });
      if (answer.ok) return report(`${id} ${done[verb]}.`, false);
      // A token that is not the right one now will not be it later.
      if (answer.status === 401 || answer.status === 403) use(undefined);
      const reason = answer.status === 401 ? "the token was not accepted" : await reasonOf(answer);
      report(`${id}: ${verb} was not done: ${reason}.`, true);
    } catch {
      report(`${id}: the balancer did not answer; see in the table whether it was done.`, true);
    }
  };

  button.addEventListener("click", () => {
    setBanner(notice, undefined);
    if (token !== undefined) return use(undefined);
    setText(problem, "");
    asking.showModal();
  });
  within(asking, "form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const value = given.value.trim();
    if (!/^[\x20-\x7e]{16,}$/.test(value)) {
      setText(problem, "A token has at least 16 characters, all of them printable ASCII.");
      return;
    }
    use(value);
    asking.close();
  });
  asking.addEventListener("close", () => {
    given.value = "";
  });
  for (const dialog of [asking, confirming]) {
    within(dialog, "[data-cancel]", HTMLButtonElement).addEventListener("click", () => dialog.close());
  }

  let confirmed: (() => void) | undefined;
  byId("confirm", HTMLButtonElement).addEventListener("click", () => {
    const go = confirmed;
    confirming.close();
    go?.();
  });
  confirming.addEventListener("close", () => {
    confirmed = undefined;
  });

  const steer = (verb: Verb, row: Row): void => {
    if (verb !== "disable") {
      void act(verb, row);
      return;
    }
    setText(byId("confirm-title", HTMLElement), `Disable ${row.id}?`);
    const open =
      row.open === 1 ? "Its open connection is" : `Its ${Format.count(row.open)} open connections are`;
    setText(
      byId("confirm-text", HTMLElement),
      `${open} reset at once, and it gets no new ones. To let them finish, drain it instead.`,
    );
    confirmed = () => void act(verb, row);
    confirming.showModal();
  };
  return {
    steer,
    enabled: (enabled) => {
      button.disabled = !enabled;
      if (enabled) return;
      confirming.close();
    },
  };
};
