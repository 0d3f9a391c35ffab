/**
 * What can be sent as a token in a header, for the settings and for options alike. Pure.
 */

/** What is accepted, in words that can follow "accepted:". */
export const accepted = (least: number): string =>
  `${least > 1 ? `at least ${least} ` : ""}printable ASCII characters, on one line`;

/** What is wrong with a token, in words that do not quote it; undefined when nothing is. */
export const problemOf = (text: string, least: number): string | undefined => {
  if (!/^[\x20-\x7e]*$/.test(text)) return "it has characters that cannot be sent in a header";
  return text.length < least ? `it is shorter than ${least} characters` : undefined;
};

/** The least length of the admin token. */
export const leastAdminToken = 16;
