/** `headrace payload show`: everything that happened to one payload. */
import type { PayloadAnswer } from "../../shared/console/answers.ts";
import { failureText } from "../../shared/failure.ts";
import { dueNever } from "../../shared/ledger/group.ts";
import type { Call, Command } from "../command.ts";
import type { ExitCode } from "../user-error.ts";

export const payloadShow: Command = {
  name: "payload show",
  summary: "everything that happened to a payload, with times",
  about:
    "Asks every part that may know of it: R2 (the object), the ledger, the receipts, the dead letters, and the table (rows by day).\nRows that were stored and are gone are named, with the command that restores them.\nThe id is what the ingress answers as x-headrace-payload. A payload in flight that the ledger does not know is found\nby its whole key only.",
  args: { text: "<key|id>", min: 1, max: 1 },
  flags: {},
  examples: [
    "headrace payload show p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog",
    "headrace payload show 0123456789abcdefghijklmnog --json",
  ],
  exitOne: "it is unknown, dead or held, or its rows differ from its receipt",
  asksConsole: true,
  run: showPayload,
};

export async function showPayload({ given, console, say, json }: Call): Promise<ExitCode> {
  const [text = ""] = given.args;
  const payload = await console.ask("GET /api/payload", { query: { id: text } });
  json(payload);
  const { objects, receipts, rows, steps, unread } = payload;
  if (unread !== "") {
    say(`receipts and rows are not known: ${unread}`);
  }
  if (objects.length === 0 && receipts.length === 0 && rows.length === 0 && payload.ledger.at === "unknown") {
    say(
      unread === ""
        ? `payload ${text} is unknown`
        : `payload ${text} is unknown to the ledger and to R2, so it is not in flight`,
    );
    say("(with an id alone, an object without receipt is not found: give the whole key)");
    return 1;
  }
  say(`payload   ${payload.payload}${payload.tenant === null ? "" : `, tenant ${payload.tenant}`}`);
  for (const key of payload.keys) {
    const outcome =
      receipts.find((receipt) => receipt.key === key)?.outcome ??
      (unread === "" ? "no receipt" : "receipt not known");
    const object = objects.find((one) => one.key === key);
    say(`key       ${key}  (${outcome}; ${objectText(object)})`);
  }
  say(`ledger    ${ledgerText(payload.ledger)}`);
  if (payload.ledger.at === "group" && payload.ledger.failure !== null) {
    say(`          ${failureText(payload.ledger.failure)}${nextTryText(payload.ledger.due)}`);
  }
  say(
    `rows      ${unread !== "" ? "not known" : rows.length === 0 ? "none" : rows.map(({ day, rows: count }) => `${count} on ${day}`).join(", ")}`,
  );
  if (payload.advice !== "") {
    say(`          ${payload.advice}`);
  }
  for (const { key, reason, message } of payload.deadLetters) {
    const now = receipts.find((receipt) => receipt.key === key)?.outcome ?? "dead";
    const since = now === "dead" ? "" : ` (before; it is ${now} now)`;
    say(`reason    ${reason}${message === reason ? "" : `: ${message}`}${since}`);
  }
  say("");
  for (const { at, what } of steps) {
    say(`${at}  ${what}`);
  }
  return isBad(payload) ? 1 : 0;
}

/** Its rows are not what its receipts say, for a reason that a person can do something about. */
const badPresences = new Set(["gone", "days_gone", "inexact"]);

function isBad({ ledger, receipts, deadLetters, presence, unread }: PayloadAnswer): boolean {
  const isHeld = ledger.at === "group" && ledger.state === "held";
  if (unread !== "") {
    return deadLetters.length > 0 || isHeld; // as far as it is known
  }
  const isDead = receipts.length > 0 && receipts.every(({ outcome }) => outcome === "dead");
  return isDead || isHeld || badPresences.has(presence);
}

function objectText(object: PayloadAnswer["objects"][number] | undefined): string {
  if (object === undefined) {
    return "no object in R2";
  }
  const among = object.payloads === 1 ? "" : `, in a segment of ${object.payloads} payloads`;
  return `${object.bytes === null ? "damaged" : `${object.bytes} bytes`} in R2${among}`;
}

/** `due`: ms since the epoch; what is held is never due. */
function nextTryText(due: number): string {
  return due >= dueNever ? "" : `; next try at ${new Date(due).toISOString().slice(11, 19)} UTC`;
}

function ledgerText(ledger: PayloadAnswer["ledger"]): string {
  switch (ledger.at) {
    case "waiting":
      return "has claimed it, and waits for others to form a group";
    case "group":
      return `in group ${ledger.group}, ${ledger.state}, ${ledger.attempts} attempts`;
    case "done":
      return `done: ${ledger.outcome}`;
    case "unknown":
      return "does not know it (never seen, or forgotten after 26 h)";
  }
}
