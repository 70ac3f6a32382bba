/** `headrace status`: does everything add up, and how far is it proven? For people, cron and CI. */
import type { BalanceAnswer, ListedFinding } from "../../shared/console/answers.ts";
import { findingAdvice, subjectText } from "../../shared/console/finding-advice.ts";
import { counted } from "../../shared/counted.ts";
import type { Command } from "../command.ts";
import { wholeNumber } from "../command-line.ts";
import { UserError } from "../user-error.ts";

/** A healthy watermark trails by about 6 minutes; this leaves room for a retry. */
const behindMinutes = "15";
const missingShown = 10;

export const status: Command = {
  name: "status",
  summary: "whether everything accepted has arrived, up to when that is proven, and which findings are open",
  about:
    "Balanced means: each payload accepted in the last hours is stored, dead, duplicate, erased, expired or in flight.\nThe watermark is the minute up to which that is proven with nothing in flight.",
  args: { text: "", min: 0, max: 0 },
  flags: {
    hours: {
      value: "N",
      help: "how far back the balance reaches (default 24, at most 168)",
      check: wholeNumber(1, 168),
    },
    behind: {
      value: "MINUTES",
      help: `how far the watermark may trail (default ${behindMinutes})`,
      check: wholeNumber(0, 100_000),
    },
    quiet: { help: "print nothing unless something is wrong" },
  },
  examples: [
    "headrace status                                   the local `npm run dev`",
    "headrace status --profile production --behind 30",
    "*/5 * * * * cd /srv/headrace && node cli/headrace.mjs status --quiet    in a crontab, where the checkout is: mail only when something is wrong",
    "headrace status --json | jq .balance.missing",
  ],
  exitOne: "not balanced, the watermark is too far behind, or a finding of severity page is open",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const hours = given.text("hours") ?? "24";
    const mayBehindSeconds = Number(given.text("behind") ?? behindMinutes) * 60;
    // At once: each is answered within 5 s, even where what is behind it does not answer.
    const [watermark, { trouble, frontDoor }, read, listed] = await Promise.all([
      console.ask("GET /api/watermark"),
      console.ask("GET /api/status"),
      orWhy(console.ask("GET /api/balance", { query: { hours } })),
      console.ask("GET /api/findings"),
    ]);
    const balance = typeof read === "string" ? null : read;
    const open = listed.filter(({ state }) => state === "open");
    const isBehind = watermark.behindSeconds === null || watermark.behindSeconds > mayBehindSeconds;
    const pages = open.filter(({ severity }) => severity === "page");
    const isWell = balance?.balanced === true && trouble === "" && !isBehind && pages.length === 0;
    json({ ok: isWell, trouble, balance, watermark, findings: open, frontDoor });
    if (isWell && given.has("quiet")) {
      return 0;
    }
    if (trouble !== "") {
      say(trouble);
    }
    sayBalance(read, hours, say);
    say(watermarkLine(watermark.watermark, watermark.behindSeconds, isBehind));
    const none = balance === null ? "no finding is known to be open" : "no finding is open";
    say(open.length === 0 ? none : `${counted(open.length, "finding")} open:`);
    for (const finding of open) {
      say(`  ${findingLine(finding)}`);
    }
    if (balance === null) {
      say("findings that only ClickHouse's table has are not known");
    }
    for (const { text } of frontDoor) {
      say(text);
    }
    return isWell ? 0 : 1;
  },
};

/** What could not be read is not known: never balanced, and never none. */
async function orWhy<T>(reading: Promise<T>): Promise<T | string> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof UserError && error.exitCode === 3) {
      return error.message;
    }
    throw error;
  }
}

function sayBalance(balance: BalanceAnswer | string, hours: string, say: (line: string) => void): void {
  if (typeof balance === "string") {
    say(`the balance is not known: ${balance}`);
    return;
  }
  const { accepted, stored, dead, duplicate, erased, expired, inFlight, missing, unnamed } = balance;
  say(
    balance.balanced
      ? `balanced: ${accepted} accepted = ${stored} stored + ${dead} dead + ${duplicate} duplicate + ${erased} erased + ${expired} expired + ${inFlight} in flight (last ${hours} h)`
      : balance.truncated
        ? `not known: more payloads than one balance lists; ask for fewer --hours`
        : missing.length > 0
          ? `NOT BALANCED: of ${accepted} accepted, ${counted(missing.length, "payload")} neither ended nor in flight (last ${hours} h)`
          : `not known: of ${accepted} accepted, ${counted(unnamed, "payload")} without receipt in segments that one balance does not read, or cannot (last ${hours} h)`,
  );
  for (const key of missing.slice(0, missingShown)) {
    say(`  ${key}`);
  }
  if (missing.length > missingShown) {
    say(`  … and ${missing.length - missingShown} more (--json names them)`);
  }
  if (missing.length > 0) {
    say("  `headrace reconcile` notifies them now; `headrace payload show KEY` shows what is known of one");
  }
}

function watermarkLine(watermark: string | null, behindSeconds: number | null, isBehind: boolean): string {
  return watermark === null
    ? "NO WATERMARK: the reconciler has not run yet (the consumer's cron runs it each minute)"
    : `${isBehind ? "WATERMARK BEHIND" : "watermark"}: ${watermark}, ${Math.round((behindSeconds ?? 0) / 60)} min behind`;
}

/** A line for the finding, and one for what to do where its message does not say it. */
export function findingLine(finding: ListedFinding): string {
  const { severity, kind, subject, message, state } = finding;
  const advice = state === "open" ? findingAdvice(finding, "cli") : "";
  return `${severity.padEnd(7)}  ${kind} (${subjectText(subject)}): ${message}${advice === "" ? "" : `\n    ${advice}`}`;
}
