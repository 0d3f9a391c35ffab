/**
 * Text that came from outside, as it may stand in a log or a message.
 */

// Control and format characters (line breaks, escapes, marks that turn the direction of writing), lone halves of
// surrogate pairs, and the line and paragraph separators.
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** True of text that can be printed as it is. */
export const isPrintable = (text: string): boolean => text.search(unprintable) === -1;

/** The text on one line of at most `most` characters, with what cannot be printed replaced. */
export const printable = (text: string, most = 80): string => {
  // Cut first: the text may be megabytes long.
  const shown = text.slice(0, most).replace(unprintable, "\ufffd");
  return text.length > most ? `${shown}…` : shown;
};
