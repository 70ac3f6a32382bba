/** Reads `schema/*.sql` from the disk, for what runs on Node. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { MigrationFile } from "../shared/clickhouse/migrations.ts";

const schemaDirectory = join(import.meta.dirname, "..", "schema");

/** The schema's files in the order of their numbers. */
export function readSchemaFiles(): readonly MigrationFile[] {
  return readdirSync(schemaDirectory)
    .filter((name) => name.endsWith(".sql"))
    .sort()
    .map((name) => ({ name, text: readFileSync(join(schemaDirectory, name), "utf8") }));
}
