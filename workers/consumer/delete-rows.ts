/**
 * Deletes rows for good, by a mutation that is recognised by its mark. On a large table one takes longer than
 * anybody waits: it is begun once, never beside an earlier one of the same mark that is undone, and looked for in
 * system.mutations until it is done at every replica that answers. A replica that is away does it when it comes back, and
 * keeps nobody waiting.
 */
import * as v from "valibot";
import { queryRows, runStatement } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { type Deletion, leftQuery, mutationsQuery } from "../../shared/clickhouse/deletion.ts";
import { limits } from "../../shared/limits.ts";

const mutationsSchema = v.tuple([
  v.object({ known: v.number(), undone: v.number(), parts: v.number(), failure: v.string() }),
]);
const leftSchema = v.tuple([v.object({ left: v.number(), visible: v.number() })]);

/**
 * Resolves when the rows are gone from every part of the table. Throws while they are not, with how far it is. `looksMs`: how
 * long it waits between looks at an undone mutation, and how often.
 */
export async function deleteRows(
  clickHouse: ClickHouseConnection,
  deletion: Deletion,
  looksMs: readonly number[] = limits.deletionLooksMs,
): Promise<void> {
  const { settings } = clickHouse;
  const waits = looksMs.values();
  const begun = new Set<string>();
  for (;;) {
    const [{ known, undone, parts, failure }] = await queryRows(
      clickHouse,
      mutationsSchema,
      mutationsQuery(settings, deletion),
    );
    if (undone > 0) {
      const wait = waits.next();
      if (failure !== "" || wait.done === true) {
        const why = failure === "" ? "" : `, and fails: ${failure.slice(0, 300)}`;
        throw new Error(`the DELETE in ${deletion.table} is running: ${parts} parts left${why}`);
      }
      await new Promise((resolve) => setTimeout(resolve, wait.value));
      continue;
    }
    const { left, visible } = await countLeft(clickHouse, deletion);
    if (known > 0 && left === 0) {
      return;
    }
    const statement = known === 0 || visible > 0 ? deletion.statement : deletion.unhide;
    if (begun.has(statement)) {
      throw new Error(`the DELETE in ${deletion.table} has finished, and rows are left`);
    }
    await runStatement(clickHouse, statement);
    begun.add(statement);
  }
}

async function countLeft(
  clickHouse: ClickHouseConnection,
  deletion: Deletion,
): Promise<{ readonly left: number; readonly visible: number }> {
  const query = leftQuery(clickHouse.settings, deletion);
  if (query === null) {
    return { left: 0, visible: 0 };
  }
  const [found] = await queryRows(clickHouse, leftSchema, query);
  return found;
}
