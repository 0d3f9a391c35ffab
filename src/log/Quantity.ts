/**
 * A number with its noun, as it may stand in a log or a message.
 */

/** `1 backend`, `2 backends`, `0 backends`. For nouns that take an s. */
export const quantity = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
