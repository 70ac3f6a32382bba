/**
 * ClickHouse exceptions as its HTTP interface shows them: the code, the status it maps the code to, and the body
 * text. Pure.
 */

/** An exception to be answered: the engine's own, or one that the HTTP face raises as the server would. */
export class ClickHouseException extends Error {
  override readonly name = "ClickHouseException";
  readonly code: number;

  /** `text` is without "Code: N. DB::Exception: " and without the symbolic name in brackets. */
  constructor(code: number, symbol: string, text: string) {
    super(`Code: ${code}. DB::Exception: ${text} (${symbol})`);
    this.code = code;
  }
}

/** What cannot be read as a ClickHouse exception gets STD_EXCEPTION, as on the server. */
const stdException = 1001;

/** Source: exceptionCodeToHTTPStatus.cpp of ClickHouse. What is not listed is 500. */
const statusOfCode = new Map<number, number>([
  ...[194].map((code) => [code, 401] as const),
  ...[192, 193, 516, 497, 512].map((code) => [code, 403] as const),
  ...[36, 427, 6, 25, 26, 38, 41, 72, 441, 676, 675, 27, 376, 15, 44, 13, 8].map(
    (code) => [code, 400] as const,
  ),
  ...[223, 14, 167, 168, 118, 62, 117, 53, 321].map((code) => [code, 400] as const),
  ...[60, 46, 47, 50, 56, 81, 115, 52, 63, 73, 336, 78, 511].map((code) => [code, 404] as const),
  [223, 400],
  [308, 413],
  [48, 501],
  [209, 503],
  [76, 503],
  [439, 503],
  [381, 411],
  [159, 408],
]);

/** The HTTP status that ClickHouse answers with for an exception code. */
export function statusOfException(code: number): number {
  return statusOfCode.get(code) ?? 500;
}

/** The exception's code, from the text of the engine. */
export function codeOfException(text: string): number {
  const found = /Code: (\d+)\. DB::Exception: /.exec(text);
  return found?.[1] === undefined ? stdException : Number(found[1]);
}

/**
 * The text of an exception as the server would send it: without the doubled "Code: 33. DB::Exception: Code: 33. ..."
 * and the name of our temporary file, both of which come from reading the body with FROM INFILE, and with the version.
 */
export function textOfException(text: string, version: string, bodyPath: string | undefined): string {
  let shown = text.trim();
  if (bodyPath !== undefined) {
    shown = shown.replace(/^Code: (\d+)\. DB::Exception: (?=Code: \1\. DB::Exception: )/, "");
    shown = shown.replaceAll(bodyPath, "<request body>");
  }
  if (!/^Code: \d+\. /.test(shown)) {
    shown = `Code: ${stdException}. DB::Exception: ${shown} (STD_EXCEPTION)`;
  }
  return `${shown} (version ${version})\n`;
}
