/**
 * `headrace erase`: removes payloads by key, by trace or by tenant from R2, the tables and the dead letters, and leaves
 * receipts that say so. All of it goes through the ledger, so that nothing under way brings it back.
 */

import { createProgress } from "../../dev/send/progress.ts";
import type { AnswerOf } from "../../shared/console/routes.ts";
import { counted } from "../../shared/counted.ts";
import {
  formatPayloadKey,
  isPayloadId,
  isPayloadKey,
  parsePayloadKey,
  tenantPattern,
} from "../../shared/payload-key.ts";
import type { Call, Command } from "../command.ts";
import { confirm, yesFlag } from "../confirm.ts";
import { handOver } from "../hand-over.ts";
import { textTable } from "../text-table.ts";
import { unstoredSpans } from "../unstored-spans.ts";
import { UserError } from "../user-error.ts";
import { reasonOf, sayMissing } from "./dead-letters.ts";

export const erase: Command = {
  name: "erase",
  summary: "remove payloads by key, trace or tenant from R2 and ClickHouse, leaving receipts",
  about:
    "Whole payloads are erased: with a trace, all spans that came in the same requests (the plan says how many).\nA trace's id is chosen by who sends it, and several tenants may have one: then nothing is erased without --tenant or\n--all-tenants.\nRows are deleted once no INSERT of them can be running any more, about four minutes later. After an interruption, run\nthe same command again. This cannot be undone.",
  args: { text: "", min: 0, max: 0 },
  flags: {
    key: {
      value: "KEY",
      help: "one payload",
      check: (text) =>
        isPayloadKey(text) ? undefined : "is a payload's key: p/0/t/{minute}/…/{tenant}/{id}",
    },
    trace: {
      value: "ID",
      help: "the payloads that hold spans of a trace (32 hex digits)",
      check: (text) => (/^[0-9a-f]{32}$/.test(text) ? undefined : "is a trace id: 32 lower-case hex digits"),
    },
    tenant: {
      value: "TENANT",
      help: "everything of a tenant (revoke its keys first); with --trace, only its payloads of that trace",
      check: (text) => (tenantPattern.test(text) ? undefined : "is 1 to 64 of a-z, 0-9 and -"),
    },
    "all-tenants": { help: "with --trace: also where its id is several tenants', all of them" },
    reason: { value: "TEXT", help: "why; stays in the receipts" },
    yes: yesFlag,
  },
  examples: [
    'headrace erase --trace 5b8efff798038103d269b633813fc60c --reason "a password in an attribute"',
    'headrace erase --trace 5b8efff798038103d269b633813fc60c --tenant acme --reason "asked for by acme"',
    'headrace erase --trace 5b8efff798038103d269b633813fc60c --all-tenants --reason "sent under wrong tenants"',
    'headrace erase --tenant acme --reason "contract ended, ticket 4711" --yes',
    "headrace erase --key p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog --reason test --yes",
  ],
  exitOne: "there was nothing to erase, or a key was not known",
  asksConsole: true,
  async run(call) {
    const { given } = call;
    const [key, trace, tenant] = ["key", "trace", "tenant"].map((name) => given.text(name));
    const isOne = [key, trace, tenant].filter((one) => one !== undefined).length === 1;
    if (!isOne && (trace === undefined || key !== undefined)) {
      throw new UserError("pass one of --key, --trace and --tenant, or --trace with --tenant");
    }
    if (given.has("all-tenants") && (trace === undefined || tenant !== undefined)) {
      throw new UserError("--all-tenants is for --trace, without --tenant");
    }
    const reason = reasonOf(call);
    const keys =
      key !== undefined
        ? [key]
        : trace !== undefined
          ? await keysOfTrace(call, trace, tenant)
          : await keysOfTenant(call, tenant ?? "");
    if (keys.length === 0) {
      call.json({ taken: [], missing: [] });
      call.say("there is nothing to erase");
      return 1;
    }
    const tenants = [...new Set(keys.map(tenantOf))].sort();
    await confirm(call, `${counted(keys.length, "key")} of ${tenants.join(", ")} will be erased for good`);
    const answer = await handOver(call, keys, "erased", (page) =>
      call.console.ask("POST /api/erase", { body: { keys: page, reason } }),
    );
    call.json(answer);
    call.say(
      `${counted(answer.taken.length, "key")} handed to the ledger; \`headrace payload show KEY\` shows the receipt \`erased\` in a few minutes`,
    );
    sayMissing(call, answer.missing);
    return answer.missing.length === 0 ? 0 : 1;
  },
};

function tenantOf(key: string): string {
  return parsePayloadKey(key)?.tenant ?? "unknown";
}

/**
 * A trace's id is chosen by who sends it: two tenants may have spans under one, by chance never, and by malice easily. So whose payloads go
 * is said, and where they are several tenants', it must be said by who asks.
 */
async function keysOfTrace(
  { console, say, given }: Call,
  trace: string,
  tenant: string | undefined,
): Promise<readonly string[]> {
  const found = await console.ask("GET /api/trace", { query: { id: trace } });
  if (found.spansOfOthers > 0) {
    say(
      `${counted(found.spansOfOthers, "span")} of this trace came another way (the Collector's exporter) and stay: DELETE FROM otel_traces WHERE TraceId = '${trace}' AND HeadracePayload = ''`,
    );
  }
  const payloads = found.payloads.filter((one) => tenant === undefined || one.tenant === tenant);
  if (found.spansUnlisted > 0) {
    say(
      `THIS IS NOT ALL OF IT: ${counted(found.spansUnlisted, "span")} came in further payloads than the ${found.payloads.length} that can be named at once. ${whatElse(trace, tenant, payloads.length, found.payloads.length)}`,
    );
  }
  if (payloads.length > 0) {
    say(
      textTable(
        ["tenant", "spans of the trace", "spans in all", "payload"],
        payloads.map(({ tenant, spans, spansInAll, payload }) => [
          tenant,
          String(spans),
          String(spansInAll),
          payload,
        ]),
      ),
    );
  }
  const unstored = await unstoredSpans(console, trace, tenant);
  // Payloads of a tenant may be behind all that can be named at once, and its spans are counted all the same; or all of them died.
  const all = [
    ...new Set([
      ...found.tenants,
      ...found.payloads.map((one) => one.tenant),
      ...unstored.keys.map(tenantOf),
    ]),
  ].sort();
  if (tenant !== undefined) {
    const others = all.filter((one) => one !== tenant);
    if (others.length > 0) {
      say(`payloads of other tenants with this trace id stay: ${others.join(", ")}`);
    }
  } else if (all.length > 1) {
    if (!given.has("all-tenants")) {
      throw new UserError(
        `this trace's id is ${all.length} tenants': ${all.join(", ")}. Nothing was erased: pass --tenant NAME to erase what one of them has, or --all-tenants`,
      );
    }
    say(`THIS TOUCHES ${all.length} TENANTS: ${all.join(", ")}`);
  }
  unstored.notes.forEach(say);
  const keys = [...unstored.keys];
  for (const payload of payloads) {
    keys.push(...(payload.keys.length > 0 ? payload.keys : await keysWithoutReceipt(console, payload)));
  }
  return keys;
}

/**
 * Of a payload that has rows and no receipt. While that is on its way the ledger knows its key. Receipts are kept for weeks, and rows for
 * as long as the table's TTL says: what has none any more is erased under a key of this minute, and its receipt says so.
 */
async function keysWithoutReceipt(
  console: Call["console"],
  { payload, tenant }: { readonly payload: string; readonly tenant: string },
): Promise<readonly string[]> {
  const { keys } = await console.ask("GET /api/payload", { query: { id: payload } });
  return keys.length > 0 || !isPayloadId(payload) ? keys : [formatPayloadKey(Date.now(), tenant, payload)];
}

/** What other tenants have of the trace stays, and stays among those that are named: a tenant's may be behind all of them. */
function whatElse(trace: string, tenant: string | undefined, own: number, named: number): string {
  return tenant !== undefined && own === 0
    ? `None of these ${named} is ${tenant}'s: take the keys of ${tenant}'s from SELECT key FROM headrace_receipts WHERE payload IN (SELECT HeadracePayload FROM otel_traces WHERE TraceId = '${trace}' AND HeadraceTenant = '${tenant}') and erase each with --key.`
    : "Run this again when these are erased.";
}

async function keysOfTenant({ console, context, say }: Call, tenant: string): Promise<readonly string[]> {
  const { keys: apiKeys } = await console.ask("GET /api/keys", { query: { tenant } });
  const active = apiKeys.filter(({ status }) => status === "active");
  if (active.length > 0) {
    say(
      `${tenant} still has ${counted(active.length, "active key")}: what it sends meanwhile is kept. \`headrace keys revoke\` ends that.`,
    );
  }
  const progress = createProgress(context.err);
  const keys: string[] = [];
  let spans = 0;
  for (let after: string | null = ""; after !== null; ) {
    const page: AnswerOf<"GET /api/payloads"> = await console.ask("GET /api/payloads", {
      query: { tenant, after },
    });
    keys.push(...page.keys);
    spans += page.spans;
    after = page.next;
    if (keys.length > 1000) {
      progress.show("found", keys.length, keys.length, `${spans} spans so far`); // how many there are is not known
    }
  }
  progress.end();
  say(`${counted(keys.length, "key")} of ${tenant} with ${spans} spans`);
  return keys;
}
