/** The content types that ClickHouse gives its output formats. Pure. */

const contentTypes: Readonly<Record<string, string>> = {
  csv: "text/csv; charset=UTF-8; header=absent",
  csvwithnames: "text/csv; charset=UTF-8; header=present",
  csvwithnamesandtypes: "text/csv; charset=UTF-8; header=present",
  json: "application/json; charset=UTF-8",
  jsoncompact: "application/json; charset=UTF-8",
  jsonstrings: "application/json; charset=UTF-8",
  jsoncompactstrings: "application/json; charset=UTF-8",
  jsoncolumns: "application/json; charset=UTF-8",
  jsoncolumnswithmetadata: "application/json; charset=UTF-8",
  jsonobjecteachrow: "application/json; charset=UTF-8",
  jsoneachrow: "application/x-ndjson; charset=UTF-8",
  jsoncompacteachrow: "application/x-ndjson; charset=UTF-8",
  jsonstringseachrow: "application/x-ndjson; charset=UTF-8",
  xml: "application/xml; charset=UTF-8",
  native: "application/octet-stream",
  rowbinary: "application/octet-stream",
  rowbinarywithnames: "application/octet-stream",
  rowbinarywithnamesandtypes: "application/octet-stream",
  arrow: "application/octet-stream",
  arrowstream: "application/octet-stream",
  parquet: "application/octet-stream",
};

/** The Content-Type of a result in `format`; format names are case-insensitive. */
export function contentTypeOf(format: string): string {
  const name = format.toLowerCase();
  const known = contentTypes[name];
  if (known !== undefined) {
    return known;
  }
  return name.startsWith("tabseparated") || name.startsWith("tsv")
    ? "text/tab-separated-values; charset=UTF-8"
    : "text/plain; charset=UTF-8";
}
