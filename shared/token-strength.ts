/** The secrets that open the console: which of them are refused before anything is set up with them. */

/** 32 characters of base64url are 192 bits, which is what `headrace deploy` and `npm run dev` make. */
const tokenCharsMin = 32;

export interface NamedToken {
  /** As the person who set it knows it. */
  readonly name: string;
  readonly value: string;
}

/** Why these tokens must not open a console, as one sentence; empty: they may. */
export function tokensRefusal(tokens: readonly NamedToken[]): string {
  for (const { name, value } of tokens) {
    if (value.length < tokenCharsMin) {
      return `${name} has ${value.length} characters and must have ${tokenCharsMin} or more: \`openssl rand -base64 33\` makes one`;
    }
  }
  for (const [index, { name, value }] of tokens.entries()) {
    const same = tokens.slice(0, index).find((other) => other.value === value);
    if (same !== undefined) {
      return `${name} is the same as ${same.name}: a scraper could then do everything. Give each its own`;
    }
  }
  return "";
}
