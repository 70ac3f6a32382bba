/** Every command of the CLI, in the order in which `headrace --help` lists them. */
import type { Command } from "./command.ts";
import { acceptTable } from "./commands/accept-table.ts";
import { actions } from "./commands/actions.ts";
import { deadLetterCommands } from "./commands/dead-letters.ts";
import { deploy } from "./commands/deploy.ts";
import { doctor } from "./commands/doctor.ts";
import { erase } from "./commands/erase.ts";
import { findings } from "./commands/findings.ts";
import { forget } from "./commands/forget.ts";
import { keyCommands } from "./commands/keys.ts";
import { payloadShow } from "./commands/payload.ts";
import { reconcile } from "./commands/reconcile.ts";
import { resolve } from "./commands/resolve.ts";
import { status } from "./commands/status.ts";
import { traceShow } from "./commands/trace.ts";
import { traces } from "./commands/traces.ts";
import { watermark } from "./commands/watermark.ts";

export const commands: readonly Command[] = [
  status,
  watermark,
  findings,
  traces,
  traceShow,
  payloadShow,
  ...deadLetterCommands,
  resolve,
  forget,
  acceptTable,
  erase,
  ...keyCommands,
  actions,
  reconcile,
  doctor,
  deploy,
];
