/** Attribute values as people read them: JSON indented, SQL by its clauses. Each gives the text as it is where it is neither. */

/** Longer ones are left as they are: nobody reads them, and the page must not stall. */
const charsMax = 50_000;
const depthMax = 40;
/** Quotes are looked for again and again in a text that closes none of them. */
const sqlCharsMax = 8000;

const sqlKeys = new Set(["db.statement", "db.query.text", "db.query.summary"]);

export function readableValue(key: string, value: string): string {
  if (value.length > charsMax) {
    return value;
  }
  if (sqlKeys.has(key)) {
    return value.length > sqlCharsMax ? value : sqlText(value);
  }
  return jsonText(value);
}

/** An object or array, indented; numbers keep their digits, for only white space is added. */
export function jsonText(value: string): string {
  const text = value.trim();
  if (!/^[[{]/.test(text)) {
    return value;
  }
  try {
    JSON.parse(text);
  } catch {
    return value;
  }
  if (deepest(text) > depthMax) {
    return value; // each line would begin with its depth
  }
  let depth = 0;
  const line = (): string => `\n${"  ".repeat(depth)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|\s+/g, (token) => {
    switch (token) {
      case "{":
      case "[":
        depth += 1;
        return token + line();
      case "}":
      case "]":
        depth -= 1;
        return line() + token;
      case ",":
        return token + line();
      case ":":
        return ": ";
      default:
        return /^\s+$/.test(token) ? "" : token.replace(/^([{[])\s+([}\]])$/, "$1$2");
    }
  });
}

/** How deep brackets nest, those in texts too: an upper bound. */
function deepest(text: string): number {
  let depth = 0;
  let most = 0;
  for (let n = 0; n < text.length; n++) {
    const one = text.charCodeAt(n);
    if (one === 0x5b || one === 0x7b) {
      depth += 1;
      most = Math.max(most, depth);
    } else if (one === 0x5d || one === 0x7d) {
      depth -= 1;
    }
  }
  return most;
}

/** What begins a line of its own. The longer ones first. */
const clause =
  /\b(?:(?:(?:LEFT|RIGHT|FULL|INNER|CROSS)(?: OUTER)? )?JOIN|UNION(?: ALL)?|GROUP BY|ORDER BY|INSERT INTO|DELETE FROM|ON CONFLICT|SELECT|FROM|WHERE|HAVING|LIMIT|OFFSET|VALUES|SET|UPDATE|RETURNING|WITH)\b/gi;

/** A line per clause; AND and OR indented below. Texts in quotes and comments stay as they are. */
export function sqlText(value: string): string {
  const pieces = value
    .trim()
    .split(/('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`[^`]*`|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)/);
  return pieces
    .map((piece, n) =>
      n % 2 === 1
        ? piece
        : piece
            .replace(/\s+/g, " ")
            .replace(clause, "\n$&")
            .replace(/\b(?:AND|OR)\b/gi, "\n  $&"),
    )
    .join("")
    .replace(/ *\n/g, "\n")
    .trim();
}
