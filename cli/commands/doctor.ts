/** `headrace doctor`: tries every part that a promise leans on, and names the command that fixes what is wrong. */

import { counted } from "../../shared/counted.ts";
import { bad, type Check, good, warning } from "../../shared/doctor/check.ts";
import { limits } from "../../shared/limits.ts";
import type { Call, Command } from "../command.ts";
import { ofConsoles, wholeNumber } from "../command-line.ts";
import type { Console } from "../console.ts";
import { root } from "../deploy/read-config.ts";
import { production, stagePattern } from "../deploy/stage-config.ts";
import { projectWrangler } from "../deploy/wrangler.ts";
import { examineAccount } from "../doctor/examine-account.ts";
import { canaryHopelessMs, canaryWaitMs, sendCanary } from "../doctor/send-canary.ts";
import type { Installation } from "../installation.ts";
import { UserError } from "../user-error.ts";

/** The tenant of the key that `doctor` makes for itself where it is given none. */
const doctorTenant = "headrace-doctor";

export const doctor: Command = {
  name: "doctor",
  summary: "test every part that the guarantees depend on; each failure comes with the command that fixes it",
  about:
    "Checks ClickHouse (login, version, clock, schema, deduplication windows, TTL, projection, rights), the bucket\n(create-only puts), the queues, KV and the cron from inside the Workers, and sends a canary through the public\naddress, in protobuf and in JSON: a trace whose attributes look like attacks, so that no firewall rule drops spans\nunseen. It leaves four spans of the service headrace-doctor in the table. Without a key it makes one for the tenant\nheadrace-doctor and revokes it at the end.",
  args: { text: "", min: 0, max: 0 },
  flags: {
    otlp: {
      value: "URL",
      help: "the ingress's public address (or HEADRACE_OTLP_URL); the key is HEADRACE_KEY",
      check: (text) => ofConsoles["url"]?.check?.(text),
    },
    "no-canary": { help: "send nothing" },
    cloudflare: {
      help: "check the account with wrangler too: bucket, queues, rule, secrets (always on when CLOUDFLARE_API_TOKEN is set)",
    },
    stage: {
      value: "NAME",
      help: `the stage whose names to look for there (default: the profile's name, or ${production})`,
      check: (text) => (stagePattern.test(text) ? undefined : "is a-z and 0-9, 16 characters at most"),
    },
    wait: {
      value: "SECONDS",
      help: `how long to wait for the canary (default ${canaryWaitMs / 1000})`,
      check: wholeNumber(1, 3600),
    },
  },
  examples: [
    "headrace doctor",
    "headrace doctor --profile production --otlp https://otlp.example.com",
    "headrace doctor --no-canary --json",
    "headrace doctor --profile staging --cloudflare",
  ],
  exitOne: "a check is bad",
  asksConsole: true,
  async run(call) {
    const { console, installation } = call;
    if (installation === undefined) {
      throw new UserError("doctor needs an installation");
    }
    const checks: Check[] = [];
    const add = (check: Check): void => {
      const shown = installation.isLocal ? { ...check, mend: localMend(check.mend) } : check;
      checks.push(shown);
      sayCheck(call, shown);
    };
    const askedAt = Date.now();
    const examination = await console.ask("GET /api/doctor");
    add(judgeOwnClock(examination.now, askedAt, Date.now()));
    examination.checks.forEach(add);
    for (const check of await ofAccount(call, installation)) {
      add(check);
    }
    const isHopeless = checks.some(
      ({ check, verdict }) => check.startsWith("clickhouse") && verdict === "bad",
    );
    for (const check of await canaries(call, installation, console, isHopeless)) {
      add(check);
    }
    const count = (verdict: Check["verdict"]) => checks.filter((check) => check.verdict === verdict).length;
    call.json({ ok: count("bad") === 0, checks });
    call.say(`\n${count("good")} good, ${counted(count("warning"), "warning")}, ${count("bad")} bad`);
    return count("bad") === 0 ? 0 : 1;
  },
};

function sayCheck({ say }: Call, { check, verdict, found, mend }: Check): void {
  say(`${(verdict === "bad" ? "BAD" : verdict).padEnd(8)}${check.padEnd(26)}${found}`);
  if (mend !== "") {
    say(`${" ".repeat(8)}${"".padEnd(26)}fix: ${mend}`);
  }
}

/** `npm run dev` applies the schema and makes everything at its start. */
function localMend(mend: string): string {
  return mend.replace(
    /^npx headrace deploy( --set-secrets)?( \([^)]*\))?/,
    "stop `npm run dev` and start it again",
  );
}

function judgeOwnClock(consoleNow: number, askedAt: number, answeredAt: number): Check {
  const difference = Math.round(consoleNow - (askedAt + answeredAt) / 2);
  const doubt = (answeredAt - askedAt) / 2;
  return Math.abs(difference) - doubt > limits.clockDifferenceMs
    ? warning(
        "clock of this machine",
        `${difference} ms off Cloudflare's`,
        "let ntpd or chronyd set it: spans of a host whose clock is off get wrong times, or are refused",
      )
    : good("clock of this machine", "as the console's");
}

/** Asked for by the flag, or where wrangler can be used anyway. `npm run dev` has no account. */
async function ofAccount({ given, context }: Call, installation: Installation): Promise<readonly Check[]> {
  const canAsk = (context.env["CLOUDFLARE_API_TOKEN"] ?? "") !== "" && !installation.isLocal;
  if (!given.has("cloudflare") && !canAsk) {
    return [];
  }
  const profile = given.text("profile") ?? context.env["HEADRACE_PROFILE"] ?? "";
  const stage = given.text("stage") ?? (stagePattern.test(profile) ? profile : production);
  const wrangler = context.env["HEADRACE_WRANGLER"] ?? projectWrangler();
  return await examineAccount(context.wranglerAt(wrangler, root, context.env), stage);
}

async function canaries(
  call: Call,
  installation: Installation,
  console: Console,
  isHopeless: boolean,
): Promise<readonly Check[]> {
  const { given, context } = call;
  if (given.has("no-canary")) {
    return [];
  }
  const otlp = given.text("otlp") ?? installation.otlp;
  if (otlp === undefined) {
    return [
      warning(
        "canary",
        "not sent: the ingress's address is not known",
        "npx headrace doctor --otlp https://… (or HEADRACE_OTLP_URL)",
      ),
    ];
  }
  const longestMs = isHopeless ? canaryHopelessMs : canaryWaitMs;
  const waitMs = given.has("wait") ? Number(given.text("wait")) * 1000 : longestMs;
  const key = context.env["HEADRACE_KEY"] || installation.key;
  const own = key === undefined ? await makeKey(console) : undefined;
  if (own !== undefined && typeof own !== "object") {
    return [bad("key", own, "npx headrace keys create --tenant headrace-doctor --name doctor")];
  }
  const door = { otlp, key: key ?? own?.key ?? "", console, waitMs, interrupted: context.interrupted };
  try {
    return await Promise.all([sendCanary("protobuf", door), sendCanary("json", door)]);
  } finally {
    if (own !== undefined) {
      await console.ask("POST /api/keys/:id/revoke", { id: own.id });
    }
  }
}

async function makeKey(console: Console): Promise<{ readonly id: string; readonly key: string } | string> {
  try {
    return await console.ask("POST /api/keys", { body: { tenant: doctorTenant, name: "doctor" } });
  } catch (error) {
    if (error instanceof UserError) {
      return error.message;
    }
    throw error;
  }
}
