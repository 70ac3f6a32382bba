/** Whether two tables hold the same rows in the 22 columns that the Collector's exporter writes, by SQL alone. */
import { columns } from "../../shared/rows/columns.ts";

/** Their exporter's columns: ours, without the two that are our own. */
export const collectorColumns = columns.filter(({ name }) => !name.startsWith("Headrace"));

/**
 * A map as its pairs in their order. Go's sort is not stable above 12 entries, so the order among equal keys is open
 * there: such a map is compared as a set.
 */
const pairs = (map: string): string =>
  `if(length(mapKeys(${map})) > 12, arraySort(arrayZip(mapKeys(${map}), ${texts(map)})), arrayZip(mapKeys(${map}), ${texts(map)}))`;
const texts = (map: string): string => `arrayMap(text -> ${withoutNaN("text")}, mapValues(${map}))`;

/** Theirs is empty where an array or a map holds NaN or an infinity; ours has their names (decision 0024). */
const withoutNaN = (text: string): string =>
  `if(match(${text}, '(?s)^[[{].*"(NaN|-?Infinity)"'), '', ${text})`;

/**
 * An end before its start wraps around in theirs, and is 0 in ours: the one difference that is meant within a row.
 * `clamped` takes theirs for 0 too, so that everything else can be compared.
 */
export type Durations = "exact" | "clamped";

function comparable({ name, type }: (typeof collectorColumns)[number], durations: Durations): string {
  const column = `\`${name}\``;
  if (type.startsWith("Map(")) {
    return `${pairs(column)} AS ${column}`;
  }
  if (type.startsWith("Array(Map(")) {
    return `arrayMap(m -> ${pairs("m")}, ${column}) AS ${column}`;
  }
  if (name === "ServiceName") {
    return `${withoutNaN(column)} AS ${column}`;
  }
  // Times as numbers: dates beyond 2299 print alike.
  if (type === "DateTime64(9)") {
    return `reinterpretAsInt64(${column}) AS ${column}`;
  }
  if (type === "Array(DateTime64(9))") {
    return `arrayMap(t -> reinterpretAsInt64(t), ${column}) AS ${column}`;
  }
  if (name === "Duration" && durations === "clamped") {
    return `if(${column} >= exp2(63), 0, ${column}) AS ${column}`;
  }
  return column;
}

function groupedRows(table: string, durations: Durations): string {
  return `SELECT ${collectorColumns.map((column) => comparable(column, durations)).join(", ")}, count() AS copies FROM ${table} GROUP BY ALL`;
}

/** The rows of `table` that `other` has not, or not as often. */
export function rowsExcept(table: string, other: string, durations: Durations): string {
  return `SELECT * FROM (${groupedRows(table, durations)}) EXCEPT SELECT * FROM (${groupedRows(other, durations)})`;
}

/** A row as the meant differences tell it: its name, its Duration, the texts of its attributes. */
export function describedRows(table: string): string {
  return `SELECT arrayStringConcat(arrayConcat([SpanName, toString(Duration)], arrayMap(t -> toValidUTF8(t), mapValues(SpanAttributes))), ' ') AS row FROM ${table} ORDER BY row`;
}
