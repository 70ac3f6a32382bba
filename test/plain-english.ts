/**
 * The words that the house no longer uses in prose: comments, texts that a user reads, docs and SQL's comments. Each has
 * a word of the field's instead. Identifiers and stored values (columns, metrics, outcomes) are no prose.
 */

function alternatives(list: string): string {
  return list.trim().replaceAll(/\s+/g, "|");
}

const units = alternatives(`
  second minute hour day week month year request payload group span trace call tenant key token
  row block body message batch event tick run table file page query statement insert INSERT part
  partition isolate Worker shard entry line core process attempt schedule seed region stream
  connection link kind station
`);
const counted = alternatives(`
  spans rows bytes bits requests subrequests payloads groups traces tokens keys calls messages
  doorbells batches blocks parts inserts INSERTs queries statements puts events links attributes
  values entries lines files tenants points steps seconds minutes hours days ms µs ns kB KB kiB
  KiB MB MiB GB GiB TB dollars cents million thousand schedules executions operations copies
  connections objects receipts findings
`);
const single = alternatives(`
  token group row file line key payload block span request call shard table message statement
  INSERT object receipt project commit story column page finding
`);

function eitherCase(words: string): string {
  return words.replace(
    /(^|\|)([a-z])/g,
    (_, bar: string, first: string) => `${bar}[${first.toUpperCase()}${first}]`,
  );
}

interface Word {
  readonly not: RegExp;
  readonly but: string;
  /** Only below these folders, and there in code too: an identifier is a word that is read as often. */
  readonly inCodeOf?: RegExp;
}

const words: readonly Word[] = [
  {
    not: new RegExp(
      `(?<!\\b(?:[Ww]hich|[Mm]any|unknown|Native) )\\b(?:${eitherCase(counted)}|[Oo]ne (?:${single}))\\s+an?\\s+(?:${units})\\b(?!')`,
      "g",
    ),
    but: "per",
  },
  { not: /\brung\b/gi, but: "notified" },
  { not: /\btold\b(?! apart)/gi, but: "reported, answered" },
  { not: /\b(?:comes?|came|coming) for (?:it|them|the|a|its|their)\b/gi, but: "fetched" },
  { not: /\bhand(?:s|ed|ing)? (?:\w+ )?out\b/gi, but: "leased" },
  {
    not: /\b(?:(?:keep|keeps|kept|new) (?:the |a )?book|the (?:minutes' )?book|minute book)\b/gi,
    but: "checkpoint",
  },
  { not: /\b(?:standing|stands(?! for| in for))\b/gi, but: "alert state, open finding; is, lies" },
  {
    not: /(?<!test\/faults\/)\bworld\b/g,
    but: "dependencies, context",
    inCodeOf: /^(?:shared|workers|cli)\//,
  },
  { not: /\bplain form\b/gi, but: "canonical form" },
  { not: /\bunclean\b/gi, but: "outcome unknown" },
  {
    not: /\b(?:condemn(?:s|ed)?|bur(?:y|ies|ied)|(?:payload|group|message|it)s? (?:dies|die|died))\b/gi,
    but: "dead-lettered",
  },
  { not: /\bhalv(?:e|es|ed|ing)\b/gi, but: "split" },
  { not: /\bwhoever\b|\bsuch a one\b/gi, but: "(rewrite the sentence)" },
  { not: /\b(?:comes?|came|coming) again\b/gi, but: "is retried, redelivered, repeated, sent again" },
  { not: /\btried again\b/gi, but: "retried" },
  { not: /\b(?:is|are|was|were) out\b(?! of)/gi, but: "in flight, leased" },
  { not: /\bdear\b/gi, but: "expensive" },
  { not: /\bbr(?:ings?|ought) (?:\w+ )?in\b/gi, but: "stored, found, notified" },
  { not: /\bmend(?:s|ed|ing)\b/gi, but: "fixed" },
  {
    not: /(?<!there )\bis no (?:OTLP|payload|verdict|protobuf|JSON|key|table|number|gzip|trace|name|id)\b/gi,
    but: "is not a",
  },
];

const comment = String.raw`/\*[\s\S]*?\*/|(?<=^|\s)//.*`;
const string = String.raw`\`(?:[^\`\\]|\\.)*\`|"(?:[^"\\\n]|\\.)*"`;
const element = String.raw`(?<=>)[^<>{}=;]+(?=[<{])|(?<=\})[^<>{}=;]+(?=<)`;

/** Blanks in place of all but the prose, so that a line keeps its number. */
function proseOf(path: string, text: string): string {
  let parts = /[\s\S]+/g;
  if (/\.(?:ts|mjs)$/.test(path)) {
    parts = new RegExp(`${comment}|${string}`, "gm");
  } else if (path.endsWith(".tsx")) {
    parts = new RegExp(`${comment}|${string}|${element}`, "gm");
  } else if (path.endsWith(".sql")) {
    parts = /--.*/g;
  }
  let from = 0;
  let prose = "";
  for (const { index, 0: part } of text.matchAll(parts)) {
    prose += text.slice(from, index).replace(/[^\n]+/g, " ");
    prose += part;
    from = index + part.length;
  }
  // A sentence goes on in the comment's next line: "spans a" and "request" are one phrase.
  return prose.replace(/^[ \t]*(?:\*(?!\/)|\/\/|--|#)/gm, "");
}

export interface Hit {
  readonly line: number;
  readonly text: string;
  readonly but: string;
}

export function hitsIn(path: string, text: string): readonly Hit[] {
  const prose = proseOf(path, text);
  return words.flatMap(({ not, but, inCodeOf }) => {
    if (inCodeOf?.test(path) === false) {
      return [];
    }
    const read = inCodeOf === undefined ? prose : text;
    return [...read.matchAll(not)].map(({ index, 0: found }) => ({
      line: read.slice(0, index).split("\n").length,
      text: found,
      but,
    }));
  });
}
