/**
 * What an answer to an INSERT proves. One pure function: the status, the exception code and the text in, a verdict
 * out. HTTP statuses do not decide (ClickHouse answers 500 for data and for overload alike), and an exception never
 * proves that nothing was written: a user's materialized view raises its errors after the commit.
 */
import { elsewhereText, lateText } from "./table-fence.ts";

/**
 * - `stored`: ClickHouse itself says so, completely.
 * - `retry`: known not to be stored; the cause passes by itself.
 * - `unknown`: it may be stored. The outcome is unknown for the group from then on.
 * - `refused`: the data's fault; it will not pass by itself.
 * - `halted`: everybody's INSERT fails alike (schema, login, read-only); nobody's data is at fault.
 */
type VerdictClass = "stored" | "retry" | "unknown" | "refused" | "halted";

export interface Answer {
  readonly httpStatus: number;
  /** The header X-ClickHouse-Exception-Code. */
  readonly exceptionCode: string | null;
  /** The body. */
  readonly text: string;
  /** Whether X-ClickHouse-Query-Id or X-ClickHouse-Summary is there: else something in between answered. */
  readonly clickHouseHeaders: boolean;
}

export interface Verdict {
  readonly class: VerdictClass;
  readonly reason: string;
  /** ClickHouse's error code, where there is one. */
  readonly code?: number;
  /** The server refused it because it came after its deadline: no row was stored, now or ever. */
  readonly late?: true;
  /** Another table answered under this name, and refused it: no row was stored in either. */
  readonly elsewhere?: true;
  /** The code is in no list of ours: a finding. It counts as `unknown`. */
  readonly unlisted?: true;
}

/** Codes by class, as ClickHouse names them (src/Common/ErrorCodes.cpp; names checked with errorCodeToName in 26.7). */
const classes: Readonly<Record<Exclude<VerdictClass, "stored">, ReadonlyMap<number, string>>> = {
  retry: new Map([
    [173, "CANNOT_ALLOCATE_MEMORY"],
    [198, "DNS_ERROR"],
    [201, "QUOTA_EXCEEDED"],
    [202, "TOO_MANY_SIMULTANEOUS_QUERIES"],
    [203, "NO_FREE_CONNECTION"],
    [225, "NO_ZOOKEEPER"],
    [241, "MEMORY_LIMIT_EXCEEDED"],
    [242, "TABLE_IS_READ_ONLY"],
    [243, "NOT_ENOUGH_SPACE"],
    [279, "ALL_CONNECTION_TRIES_FAILED"],
    // Both are asked before a block is written, with insert_quorum: too few replicas, or an earlier block that too few have.
    [285, "TOO_FEW_LIVE_REPLICAS"],
    [286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE"],
    // A read of a view's query met a replica that lags.
    [289, "REPLICA_IS_NOT_IN_QUORUM"],
    [439, "CANNOT_SCHEDULE_TASK"],
    [667, "NOT_INITIALIZED"],
    [722, "ASYNC_LOAD_WAIT_FAILED"],
    [733, "TABLE_IS_BEING_RESTARTED"],
    [745, "SERVER_OVERLOADED"],
  ]),
  unknown: new Map([
    // A disk that fails or has become read-only: at which step, they do not say.
    [74, "CANNOT_READ_FROM_FILE_DESCRIPTOR"],
    [75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR"],
    [76, "CANNOT_OPEN_FILE"],
    [159, "TIMEOUT_EXCEEDED"],
    [160, "TOO_SLOW"],
    [209, "SOCKET_TIMEOUT"],
    [210, "NETWORK_ERROR"],
    // Something in between sent the request twice: this is the answer of the second, and the first still runs.
    [216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"],
    [236, "ABORTED"],
    // With insert_quorum: this replica has the rows, the others did not confirm them in time.
    [319, "UNKNOWN_STATUS_OF_INSERT"],
    // It waited for other replicas; what it had done itself stays.
    [341, "UNFINISHED"],
    [394, "QUERY_WAS_CANCELLED"],
    [395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"],
    [425, "SYSTEM_ERROR"],
    [481, "CANNOT_CREATE_DIRECTORY"],
    [735, "QUERY_WAS_CANCELLED_BY_CLIENT"],
    [999, "KEEPER_EXCEPTION"],
    [1001, "STD_EXCEPTION"],
    [1002, "UNKNOWN_EXCEPTION"],
  ]),
  refused: new Map([
    [6, "CANNOT_PARSE_TEXT"],
    [23, "CANNOT_READ_FROM_ISTREAM"],
    [26, "CANNOT_PARSE_QUOTED_STRING"],
    [27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"],
    [32, "ATTEMPT_TO_READ_AFTER_EOF"],
    [33, "CANNOT_READ_ALL_DATA"],
    [38, "CANNOT_PARSE_DATE"],
    [41, "CANNOT_PARSE_DATETIME"],
    [53, "TYPE_MISMATCH"],
    [69, "ARGUMENT_OUT_OF_BOUND"],
    [70, "CANNOT_CONVERT_TYPE"],
    [72, "CANNOT_PARSE_NUMBER"],
    [117, "INCORRECT_DATA"],
    [128, "TOO_LARGE_ARRAY_SIZE"],
    [130, "CANNOT_READ_ARRAY_FROM_TEXT"],
    [131, "TOO_LARGE_STRING_SIZE"],
    [190, "SIZES_OF_ARRAYS_DONT_MATCH"],
    [321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"],
    [349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"],
    [354, "ZLIB_INFLATE_FAILED"],
    [469, "VIOLATED_CONSTRAINT"],
    [561, "ZSTD_DECODER_FAILED"],
    [618, "LZ4_DECODER_FAILED"],
  ]),
  halted: new Map([
    [10, "NOT_FOUND_COLUMN_IN_BLOCK"],
    [16, "NO_SUCH_COLUMN_IN_TABLE"],
    [20, "NUMBER_OF_COLUMNS_DOESNT_MATCH"],
    [44, "ILLEGAL_COLUMN"],
    [46, "UNKNOWN_FUNCTION"],
    [47, "UNKNOWN_IDENTIFIER"],
    [48, "NOT_IMPLEMENTED"],
    [60, "UNKNOWN_TABLE"],
    [62, "SYNTAX_ERROR"],
    [73, "UNKNOWN_FORMAT"],
    [81, "UNKNOWN_DATABASE"],
    [115, "UNKNOWN_SETTING"],
    [164, "READONLY"],
    [192, "UNKNOWN_USER"],
    [193, "WRONG_PASSWORD"],
    [194, "REQUIRED_PASSWORD"],
    [291, "DATABASE_ACCESS_DENIED"],
    // A table without the setting that rebuilds its projection refuses a DELETE; each replica has its own setting.
    [344, "SUPPORT_IS_DISABLED"],
    // The login's profile forbids a setting that we send; the text names it.
    [452, "SETTING_CONSTRAINT_VIOLATION"],
    [497, "ACCESS_DENIED"],
    [516, "AUTHENTICATION_FAILED"],
  ]),
};

/** As ClickHouse names it: by our lists, or by the end of its text. Empty: neither knows. */
export function errorName(code: number, text: string): string {
  if (code === tooManyParts) {
    return "TOO_MANY_PARTS";
  }
  const listed = Object.values(classes).find((names) => names.has(code));
  return listed?.get(code) ?? /\(([A-Z][A-Z0-9_]+)\)(?: \(version .*)?\s*$/.exec(text)?.[1] ?? "";
}

/** What a reason says, without code, name and version around it. */
export function errorWords(reason: string): string {
  const words = reason
    .replace(/^[\s\S]*?Code: \d+\. DB::(?:\w+::)?\w*Exception: /, "")
    .replace(/ \([A-Z][A-Z0-9_]+\)(?: \(version .*)?\s*$/, "");
  return words.trim() || reason;
}

/**
 * ClickHouse quotes values of the rows that it refuses: they are span data, and belong in no log, ledger or table of ours.
 * Everything between the first quote and the last is cut, since a value may itself contain quotes. Example:
 * "Constraint `c` is violated at row 1. Expression: (SpanName != 'x'). Column values: SpanName = 'x'. (VIOLATED_…" is
 * "… Expression: (SpanName != '…'). Column values: …. (VIOLATED_…".
 */
export function withoutValues(text: string): string {
  const named = /Column values: [\s\S]*(\. \([A-Z][A-Z0-9_]+\))/;
  const shorter = named.test(text)
    ? text.replace(named, "Column values: …$1")
    : text.replace(/Column values: [\s\S]*/, "Column values: …");
  return cutQuoted(cutQuoted(shorter, "'"), '"');
}

function cutQuoted(text: string, quote: "'" | '"'): string {
  // Between two letters it is an apostrophe, as in "doesn't", unless a quote was opened before.
  const first = text.search(quote === "'" ? /(?<![A-Za-z])'|'(?![A-Za-z])/ : /"/);
  if (first === -1) {
    return text;
  }
  const last = text.lastIndexOf(quote);
  return `${text.slice(0, first)}${quote}…${last > first ? text.slice(last) : ""}`;
}

/** One code, two meanings (docs/facts.md: errors): the text tells. */
const tooManyParts = 252;
/** FUNCTION_THROW_IF_VALUE_IS_NON_ZERO */
const throwIf = 395;
/** How much of an answer a reason repeats. */
const reasonCharsMax = 500;

/** The verdict on one answer. Worked examples: test/core/clickhouse-errors.test.ts. */
export function verdict(answer: Answer): Verdict {
  const code = exceptionCode(answer);
  if (code !== undefined) {
    return ofCode(code, answer.text);
  }
  if (!answer.clickHouseHeaders) {
    return ofIntermediary(answer);
  }
  // ClickHouse can fail after it has sent its 200: then the exception is only in the body, and was found above.
  return answer.httpStatus === 200
    ? { class: "stored", reason: "" }
    : { class: "unknown", reason: `status ${answer.httpStatus}: ${shown(answer.text)}` };
}

/** `written_rows` of ClickHouse's summary header (a view's rows are counted too), or undefined where it has none. */
export function writtenRows(summary: string | null): number | undefined {
  const found = /"written_rows":"(\d+)"/.exec(summary ?? "");
  return found?.[1] === undefined ? undefined : Number(found[1]);
}

function exceptionCode({ exceptionCode, text }: Answer): number | undefined {
  const found = exceptionCode ?? exceptionCodeIn(text);
  return found === null || !/^\d+$/.test(found) ? undefined : Number(found);
}

/** ClickHouse can fail after it has sent its 200: then the exception is only in the body. */
export function exceptionCodeIn(text: string): string | null {
  return /\bCode: (\d+)\. DB::(?:\w+::)?\w*Exception/.exec(text)?.[1] ?? null;
}

function ofCode(code: number, text: string): Verdict {
  // Of what is everybody's the text names columns, settings and users, and no row was looked at.
  const said = classes.halted.has(code) ? text : withoutValues(text);
  const reason = shown(said) || `code ${code}`;
  if (code === tooManyParts) {
    // "Too many parts (301 …). Merges are processing significantly slower than inserts" is back-pressure;
    // "Too many partitions for single INSERT block (more than 100)" is in the data.
    return { class: /too many partitions/i.test(text) ? "refused" : "retry", reason, code };
  }
  if (code === throwIf && messageOf(text).startsWith(lateText)) {
    // Our own fence, asked before the first row is written; whatever else throws 395 (a view's query) proves nothing.
    return { class: "retry", reason, code, late: true };
  }
  if (code === throwIf && messageOf(text).startsWith(elsewhereText)) {
    return { class: "halted", reason, code, elsewhere: true };
  }
  for (const name of ["retry", "unknown", "refused", "halted"] as const) {
    if (classes[name].has(code)) {
      return { class: name, reason, code };
    }
  }
  return { class: "unknown", reason: `code ${code} is in no list: ${reason}`, code, unlisted: true };
}

/** Behind it the text quotes the functions that were being executed, with all messages that they could have raised. */
function messageOf(text: string): string {
  return /DB::(?:\w+::)?\w*Exception: ([\s\S]*)/.exec(text)?.[1] ?? text;
}

/**
 * An answer that is not ClickHouse's: a proxy, a login page, a load balancer. It proves nothing about the rows, unless it
 * is that of a closed door or of one who sends us elsewhere, which we do not follow: that is everybody's.
 */
function ofIntermediary({ httpStatus, text }: Answer): Verdict {
  const isHalt = isRedirect(httpStatus) || httpStatus === 401 || httpStatus === 403 || httpStatus === 404;
  return { class: isHalt ? "halted" : "unknown", reason: strangerText(httpStatus, text) };
}

function isRedirect(httpStatus: number): boolean {
  return httpStatus >= 300 && httpStatus < 400;
}

/** One sentence about an answer that is not ClickHouse's, and what to look at. `text`: the body; of a redirect, its target. */
export function strangerText(httpStatus: number, text: string): string {
  return isRedirect(httpStatus)
    ? `status ${httpStatus}: the address redirects, which is not followed: set CLICKHOUSE_URL to the address of ClickHouse's HTTP interface itself. It said: ${shown(text)}`
    : `status ${httpStatus} without ClickHouse's headers (something in between answered, or CLICKHOUSE_URL is not the address of its HTTP interface): ${shown(text)}`;
}

function shown(text: string): string {
  return text.trim().slice(0, reasonCharsMax);
}
