/** Applies `schema/` to a ClickHouse server, for what runs on Node. */
import { defaultSchemaSettings, migrate, type SchemaSettings } from "../../shared/clickhouse/migrations.ts";
import type { Replicas } from "../../shared/clickhouse/replicated-schema.ts";
import { readSchemaFiles } from "../schema-files.ts";
import { type StatementLogin, statementRunner } from "./run-statement.ts";

/**
 * Brings a server to the schema, safe to repeat. Resolves with the names of the files that it applied. Rejects with
 * `MigrationError`, or with the network's error.
 */
export async function migrateClickHouse(
  login: StatementLogin,
  settings: SchemaSettings = defaultSchemaSettings,
  which: "early" | "all" = "all",
): Promise<readonly string[]> {
  return await migrate(readSchemaFiles(), settings, statementRunner(login), which);
}

/** The same of all replicas. Rejects with `ReplicasError` too, where one of them is not as it must be. */
export async function migrateReplicas(
  replicas: Replicas,
  settings: SchemaSettings,
  which: "early" | "all" = "all",
): Promise<readonly string[]> {
  return await migrate(readSchemaFiles(), settings, replicas, which);
}
