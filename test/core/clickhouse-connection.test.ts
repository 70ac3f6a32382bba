import { expect, test } from "vitest";
import { connectClickHouse } from "../../shared/clickhouse/connection.ts";

const variables = {
  CLICKHOUSE_URL: "http://127.0.0.1:8123",
  CLICKHOUSE_USER: "default",
  CLICKHOUSE_DATABASE: "default",
  CLICKHOUSE_TRACES_TABLE: "otel_traces",
};
const compressionOf = (more: object) =>
  connectClickHouse({ ...variables, ...more }, undefined, fetch).insertCompression;

test("blocks travel in zstd unless a variable says gzip or none, and nothing else", () => {
  expect(compressionOf({})).toBe("zstd");
  expect(compressionOf({ CLICKHOUSE_INSERT_COMPRESSION: "gzip" })).toBe("gzip");
  expect(compressionOf({ CLICKHOUSE_INSERT_COMPRESSION: "none" })).toBe("none");
  expect(() => compressionOf({ CLICKHOUSE_INSERT_COMPRESSION: "lz4" })).toThrow(/zstd.*gzip.*none/s);
});
