/**
 * What the HTTP face must know of a statement before the engine sees it: whether it is an INSERT with data behind it
 * (and where the data begins), a KILL QUERY, several statements in one, and which format it asks for. It is a lexer
 * and a few rules of position, not a parser: what it does not recognise goes to the engine as it is. Pure.
 *
 * Texts are "binary strings" here, one character a byte (latin1), so that positions are byte offsets and binary data
 * behind an INSERT does no harm.
 */

interface Token {
  readonly kind: "word" | "quoted" | "string" | "number" | "sign";
  readonly start: number;
  readonly end: number;
  /** Words in upper case, signs as they are; empty for the others. */
  readonly word: string;
}

export type Statement =
  /** An INSERT whose data follows in VALUES or in a format. */
  | {
      readonly kind: "insert-data";
      /** Up to the column list; FROM INFILE comes behind it. */
      readonly target: string;
      /** A SETTINGS clause or nothing. */
      readonly settings: string;
      readonly format: string;
      /** Offset of the data's first byte. */
      readonly dataStart: number;
    }
  /** An INSERT of which only the beginning is here. */
  | { readonly kind: "insert-begun" }
  | {
      readonly kind: "kill-query";
      readonly condition: string;
      readonly mode: "SYNC" | "ASYNC" | "TEST";
      readonly format: string | undefined;
    }
  /** Refused as ClickHouse's HTTP interface refuses it. */
  | { readonly kind: "refused"; readonly code: number; readonly symbol: string; readonly reason: string }
  | { readonly kind: "empty" }
  | {
      readonly kind: "other";
      /** The statement with `system.processes` replaced, ready for the engine. */
      readonly text: string;
      readonly format: string | undefined;
      /** Whether it answers with rows. */
      readonly rows: boolean;
    };

const rowStatements = new Set([
  "SELECT",
  "WITH",
  "SHOW",
  "DESCRIBE",
  "DESC",
  "EXISTS",
  "EXPLAIN",
  "CHECK",
  "FROM",
]);

/**
 * Reads a statement. `processes` replaces `system.processes` where it stands behind FROM or JOIN: the engine draws
 * its own query ids, and the replacement shows those that clients gave.
 */
export function readStatement(text: string, processes: string): Statement {
  const tokens = readTokens(text);
  const first = tokens[0];
  if (first === undefined) {
    return { kind: "empty" };
  }
  if (first.word === "INSERT") {
    const insert = readInsert(text, tokens);
    if (insert !== undefined) {
      return insert;
    }
  }
  const refused = refuse(tokens);
  if (refused !== undefined) {
    return refused;
  }
  if (first.word === "KILL" && tokens[1]?.word === "QUERY") {
    const kill = readKill(text, tokens);
    if (kill !== undefined) {
      return kill;
    }
  }
  return {
    kind: "other",
    text: replaceProcesses(text, tokens, processes),
    format: readFormat(text, tokens)?.format,
    rows: rowStatements.has(first.word) || first.word === "(" || first.word === "KILL",
  };
}

/** An INSERT with its data, or undefined for INSERT ... SELECT, which is a statement like others. */
function readInsert(text: string, tokens: readonly Token[]): Statement | undefined {
  let at = 1;
  if (tokens[at]?.word === "INTO") {
    at++;
  }
  if (tokens[at]?.word === "TABLE") {
    at++;
  }
  if (tokens[at]?.word === "FUNCTION") {
    at = closing(tokens, at + 2) + 1;
  } else {
    at++;
    while (tokens[at]?.word === ".") {
      at += 2;
    }
  }
  if (tokens[at]?.word === "(") {
    const inner = tokens[at + 1]?.word;
    if (inner === "SELECT" || inner === "WITH") {
      return undefined;
    }
    at = closing(tokens, at) + 1;
  }
  const last = tokens[Math.min(at, tokens.length) - 1];
  const targetEnd = last === undefined ? text.length : last.end;
  for (let depth = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token === undefined) {
      break;
    }
    if (token.word === "(" || token.word === "{" || token.word === "[") {
      depth++;
    } else if (token.word === ")" || token.word === "}" || token.word === "]") {
      depth--;
    } else if (depth === 0 && (token.word === "SELECT" || token.word === "WITH" || token.word === "WATCH")) {
      return undefined;
    } else if (depth === 0 && token.word === "FROM") {
      return refusal("FROM INFILE is for clients with files of their own: send the data as the request body");
    } else if (depth === 0 && token.word === "VALUES") {
      return {
        kind: "insert-data",
        target: text.slice(0, targetEnd),
        settings: text.slice(targetEnd, token.start),
        format: "Values",
        dataStart: token.end,
      };
    } else if (depth === 0 && token.word === "FORMAT") {
      const name = tokens[at + 1];
      if (name === undefined || name.kind !== "word") {
        return { kind: "insert-begun" };
      }
      const late = settingsEnd(tokens, at + 2);
      return {
        kind: "insert-data",
        target: text.slice(0, targetEnd),
        settings: text.slice(targetEnd, token.start) + text.slice(name.end, late ?? name.end),
        format: text.slice(name.start, name.end),
        dataStart: dataStart(text, late ?? name.end),
      };
    }
  }
  return { kind: "insert-begun" };
}

/** ClickHouse: data starts behind the first line's end if there is one, else behind the blanks (ParserInsertQuery). */
function dataStart(text: string, formatEnd: number): number {
  let at = formatEnd;
  while (text[at] === " " || text[at] === "\t" || text[at] === "\f") {
    at++;
  }
  if (text[at] === ";") {
    at++;
  }
  if (text[at] === "\r") {
    at++;
  }
  if (text[at] === "\n") {
    at++;
  }
  return at;
}

/** Where a SETTINGS clause at `at` ends, or undefined when there is none. */
function settingsEnd(tokens: readonly Token[], at: number): number | undefined {
  if (tokens[at]?.word !== "SETTINGS" || tokens[at + 2]?.word !== "=") {
    return undefined;
  }
  let value = at + 3;
  while (tokens[value + 1]?.word === "," && tokens[value + 3]?.word === "=") {
    value += 4;
  }
  return tokens[value]?.end;
}

function refuse(tokens: readonly Token[]): Statement | undefined {
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token?.word === ";" && tokens[at + 1] !== undefined && tokens[at + 1]?.word !== ";") {
      return {
        kind: "refused",
        code: 62,
        symbol: "SYNTAX_ERROR",
        reason: `Syntax error (Multi-statements are not allowed): failed at position ${token.start + 1} (end of query)`,
      };
    }
    if (token?.word === "INTO" && tokens[at + 1]?.word === "OUTFILE") {
      return refusal("INTO OUTFILE is for clients with files of their own");
    }
  }
  return undefined;
}

function refusal(reason: string): Statement {
  return { kind: "refused", code: 48, symbol: "NOT_IMPLEMENTED", reason };
}

function readKill(text: string, tokens: readonly Token[]): Statement | undefined {
  const where = tokens[2];
  if (where?.word !== "WHERE") {
    return undefined;
  }
  const format = readFormat(text, tokens);
  let end = format?.start ?? tokens.length;
  while (tokens[end - 1]?.word === ";") {
    end--;
  }
  const modeWord = tokens[end - 1]?.word;
  const mode = modeWord === "SYNC" || modeWord === "TEST" || modeWord === "ASYNC" ? modeWord : undefined;
  const last = tokens[mode === undefined ? end - 1 : end - 2];
  if (last === undefined || last.start <= where.start) {
    return undefined;
  }
  return {
    kind: "kill-query",
    condition: text.slice(where.end, last.end),
    mode: mode ?? "ASYNC",
    format: format?.format,
  };
}

/** The FORMAT clause that ends a statement: its name, and the index of the token FORMAT. */
function readFormat(
  text: string,
  tokens: readonly Token[],
): { readonly format: string; readonly start: number } | undefined {
  let depth = 0;
  let found: { format: string; start: number } | undefined;
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token?.word === "(" || token?.word === "[" || token?.word === "{") {
      depth++;
    } else if (token?.word === ")" || token?.word === "]" || token?.word === "}") {
      depth--;
    } else if (depth === 0 && token?.word === "FORMAT") {
      const name = tokens[at + 1];
      const behind = tokens[at + 2]?.word;
      if (name?.kind === "word" && (behind === undefined || behind === ";" || behind === "SETTINGS")) {
        found = { format: text.slice(name.start, name.end), start: at };
      }
    }
  }
  return found;
}

function replaceProcesses(text: string, tokens: readonly Token[], processes: string): string {
  let written = "";
  let from = 0;
  for (let at = 0; at + 3 < tokens.length; at++) {
    const before = tokens[at];
    const name = tokens[at + 1];
    const end = tokens[at + 3];
    if (
      (before?.word === "FROM" || before?.word === "JOIN") &&
      name !== undefined &&
      end !== undefined &&
      /^system\s*\.\s*processes$/i.test(text.slice(name.start, end.end).replaceAll(/[`"]/g, ""))
    ) {
      written += `${text.slice(from, name.start)}${processes}`;
      from = end.end;
    }
  }
  return written + text.slice(from);
}

/** The index of the bracket that closes the one at `open`, or the last index when it is missing. */
function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    const sign = tokens[at]?.word;
    if (sign === "(") {
      depth++;
    } else if (sign === ")") {
      depth--;
      if (depth === 0) {
        return at;
      }
    }
  }
  return tokens.length - 1;
}

const patterns = {
  blank: /[\s\0]+|--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y,
  word: /[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*/y,
  number: /[0-9][A-Za-z0-9_.]*/y,
  string: /'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/y,
  quoted: /`(?:[^`\\]|\\[\s\S]|``)*(?:`|$)|"(?:[^"\\]|\\[\s\S]|"")*(?:"|$)/y,
  heredoc: /\$([A-Za-z0-9_]*)\$[\s\S]*?\$\1\$/y,
} as const;

/** The tokens of a text, without blanks and comments. Data behind an INSERT yields senseless tokens, which is harmless. */
function readTokens(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): number | undefined => {
    pattern.lastIndex = at;
    return pattern.test(text) ? pattern.lastIndex : undefined;
  };
  while (at < text.length) {
    const blank = take(patterns.blank);
    if (blank !== undefined) {
      at = blank;
      continue;
    }
    const start = at;
    const word = take(patterns.word);
    if (word !== undefined) {
      tokens.push({ kind: "word", start, end: word, word: text.slice(start, word).toUpperCase() });
      at = word;
      continue;
    }
    const string = take(patterns.string) ?? take(patterns.heredoc);
    if (string !== undefined) {
      tokens.push({ kind: "string", start, end: string, word: "" });
      at = string;
      continue;
    }
    const quoted = take(patterns.quoted);
    const number = take(patterns.number);
    at = quoted ?? number ?? start + 1;
    tokens.push({
      kind: quoted !== undefined ? "quoted" : number !== undefined ? "number" : "sign",
      start,
      end: at,
      word: quoted === undefined && number === undefined ? text.slice(start, at) : "",
    });
  }
  return tokens;
}
