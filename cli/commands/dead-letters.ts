/** `headrace dead-letters …`: payloads that could not be stored, why, and what to do about them. */

import { counted } from "../../shared/counted.ts";
import type { Call, Command, Flag } from "../command.ts";
import { confirm, yesFlag } from "../confirm.ts";
import { handOver } from "../hand-over.ts";
import { textTable } from "../text-table.ts";
import { UserError } from "../user-error.ts";
import { showPayload } from "./payload.ts";

const selection: Readonly<Record<string, Flag>> = {
  tenant: { value: "TENANT", help: "only this tenant's" },
  cause: { value: "TEXT", help: "only those whose reason begins so: decode, rejected:252, missing_object" },
};
/** The console lists no more at once. */
const listedMax = 1000;

const list: Command = {
  name: "dead-letters list",
  summary: "payloads that could not be stored, newest first",
  about: "Each stays in R2 until it is replayed or purged. At most 1000 are listed.",
  args: { text: "", min: 0, max: 0 },
  flags: selection,
  examples: ["headrace dead-letters list", "headrace dead-letters list --cause rejected: --json"],
  exitOne: "there is one",
  asksConsole: true,
  async run(call) {
    const letters = await select(call);
    call.json(letters);
    call.say(
      letters.length === 0
        ? "no dead letter"
        : textTable(
            ["dead since", "reason", "spans", "key", "last error"],
            letters.map(({ at, reason, spans, key, message }) => [
              at,
              reason,
              String(spans),
              key,
              shortened(message),
            ]),
          ),
    );
    if (letters.some(({ from }) => from === "record")) {
      call.say(
        "\nClickHouse does not answer: these are R2's records, the latest 100 at most. One that was replayed more than 26 h ago may be among them.",
      );
    }
    if (letters.length > 0) {
      call.say("\n`headrace dead-letters show KEY` says why, `replay` stores them once the cause is fixed.");
    }
    return letters.length === 0 ? 0 : 1;
  },
};

const show: Command = {
  name: "dead-letters show",
  summary: "why a payload could not be stored, and everything that happened to it",
  about: "",
  args: { text: "<key|id>", min: 1, max: 1 },
  flags: {},
  examples: ["headrace dead-letters show p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog"],
  exitOne: "it is unknown, or still dead",
  asksConsole: true,
  run: showPayload,
};

const replay: Command = {
  name: "dead-letters replay",
  summary: "store payloads after all, once the cause is fixed",
  about:
    "Replaying goes through verification: what is stored already is not stored again, however often it is requested.\nAfter an interruption, run it again.",
  args: { text: "[key …]", min: 0, max: 10_000 },
  flags: { ...selection, all: { help: "all dead letters (with --tenant or --cause: all of those)" } },
  examples: [
    "headrace dead-letters replay p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog",
    "headrace dead-letters replay --all --cause rejected:",
  ],
  exitOne: "a key no longer has an object in R2",
  asksConsole: true,
  async run(call) {
    const keys = await chosen(call);
    const answer = await handOver(call, keys, "replayed", (page) =>
      call.console.ask("POST /api/replay", { body: { keys: page } }),
    );
    call.json(answer);
    call.say(
      `${counted(answer.taken.length, "payload")} queued again; \`headrace dead-letters list\` shows what is still dead`,
    );
    sayMissing(call, answer.missing);
    return answer.missing.length === 0 ? 0 : 1;
  },
};

const purge: Command = {
  name: "dead-letters purge",
  summary: "give up on payloads: erase them, with a reason that stays in the balance",
  about:
    "Their receipts stay and say `erased` with the reason; objects and records go. This cannot be undone.",
  args: { text: "[key …]", min: 0, max: 10_000 },
  flags: {
    ...selection,
    all: { help: "all dead letters (with --tenant or --cause: all of those)" },
    reason: { value: "TEXT", help: "why; stays in the receipts" },
    yes: yesFlag,
  },
  examples: [
    'headrace dead-letters purge --all --cause decode --reason "test garbage" --yes',
    'headrace dead-letters purge p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog --reason "asked for by acme"',
  ],
  exitOne: "a key is not known",
  asksConsole: true,
  async run(call) {
    const reason = reasonOf(call);
    const keys = await chosen(call);
    for (const key of keys.slice(0, 20)) {
      call.say(key);
    }
    if (keys.length > 20) {
      call.say(`… and ${keys.length - 20} more`);
    }
    await confirm(call, `${counted(keys.length, "payload")} will be erased for good`);
    const answer = await handOver(call, keys, "purged", (page) =>
      call.console.ask("POST /api/erase", { body: { keys: page, reason } }),
    );
    call.json(answer);
    call.say(
      `${counted(answer.taken.length, "payload")} handed to the ledger; their receipts will say erased`,
    );
    sayMissing(call, answer.missing);
    return answer.missing.length === 0 ? 0 : 1;
  },
};

/** As much of an error as a line has room for; `show` has all of it. */
function shortened(message: string): string {
  return message.length <= messageCharsListed ? message : `${message.slice(0, messageCharsListed)}…`;
}
const messageCharsListed = 100;

export const deadLetterCommands: readonly Command[] = [list, show, replay, purge];

/** The reason that every erasure needs. */
export function reasonOf({ given }: Call): string {
  const reason = given.text("reason");
  if (reason === undefined) {
    throw new UserError("an erasure stays in the balance: give a reason with --reason TEXT");
  }
  return reason;
}

export function sayMissing(call: Call, missing: readonly string[]): void {
  if (missing.length > 0) {
    call.say(`nothing was done about ${counted(missing.length, "unknown key")}:`);
    for (const key of missing.slice(0, 20)) {
      call.say(`  ${key}`);
    }
  }
}

async function select({ given, console }: Call) {
  const tenant = given.text("tenant");
  const cause = given.text("cause");
  const letters = await console.ask("GET /api/dead-letters");
  return letters.filter(
    (letter) =>
      (tenant === undefined || letter.tenant === tenant) &&
      (cause === undefined || letter.reason.startsWith(cause)),
  );
}

/** Keys that were named, or those that --all selects. */
async function chosen(call: Call): Promise<readonly string[]> {
  const { given } = call;
  const selects = given.has("all");
  if (selects === given.args.length > 0) {
    throw new UserError(selects ? "name keys or pass --all, not both" : "name the keys, or pass --all");
  }
  if (!selects && (given.has("tenant") || given.has("cause"))) {
    throw new UserError("--tenant and --cause select among all: pass --all with them");
  }
  if (!selects) {
    return given.args;
  }
  const letters = await select(call);
  if (letters.length === 0) {
    call.json({ taken: [], missing: [] });
    throw new UserError("no dead letter matches: there is nothing to do", 0);
  }
  if (letters.length === listedMax) {
    call.say(`the console lists ${listedMax} at once: run this again for the rest`);
  }
  return letters.map(({ key }) => key);
}
