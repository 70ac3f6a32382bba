/** The texts of the fence that a table holds. What ClickHouse makes of them: test/engine/fence.test.ts, table-identity.test.ts. */
import { expect, test } from "vitest";
import {
  fenceComment,
  fenceExpression,
  fenceStatement,
  isFenceOf,
} from "../../shared/clickhouse/table-fence.ts";

const tables = ["plain 0-0 1-1", "shared 1-1", "replicated /clickhouse/it's/t"] as const;

test("an INSERT carries its table and its deadline, in 13 digits whatever the time", () => {
  expect(fenceComment("plain 0-0 1-1", 1_795_813_819_440.7)).toBe("plain 0-0 1-1 1795813819440");
  expect(fenceComment("shared 1-1", -5)).toBe("shared 1-1 0000000000000");
});

test("a fence is its table's own, however ClickHouse prints it", () => {
  for (const table of tables) {
    const printed = `(${fenceExpression(table).replace(" + ", ")   +  (")})`;
    expect(isFenceOf(printed, table)).toBe(true);
    for (const other of tables.filter((one) => one !== table)) {
      expect(isFenceOf(fenceExpression(table), other)).toBe(false);
    }
  }
  expect(isFenceOf("", "plain 0-0 1-1")).toBe(false);
  expect(isFenceOf(fenceExpression("plain 0-0 1-1"), "plain 0-0 1-2")).toBe(false);
});

test("a plain table's fence asks which server it is on", () => {
  expect(fenceExpression("plain 0-0 1-1")).toContain("concat('plain ', toString(serverUUID()), ' 1-1')");
  expect(fenceExpression("shared 1-1")).not.toContain("serverUUID");
});

test("a column that is there is changed, not added", () => {
  const at = { database: "d", tracesTable: "t" };
  expect(fenceStatement(at, "shared 1-1", "")).toMatch(
    /^ALTER TABLE `d`\.`t` ADD COLUMN IF NOT EXISTS HeadraceFence UInt8 EPHEMERAL /,
  );
  expect(fenceStatement(at, "shared 1-1", "0")).toMatch(
    /^ALTER TABLE `d`\.`t` MODIFY COLUMN HeadraceFence UInt8 EPHEMERAL /,
  );
});
