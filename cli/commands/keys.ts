/** `headrace keys …`: API keys for sending. A key is shown once, when it is created; afterwards its id names it. */
import type { ListedKey } from "../../shared/console/answers.ts";
import type { AnswerOf, AskedOf } from "../../shared/console/routes.ts";
import { exportLines } from "../../shared/export-lines.ts";
import type { Call, Command, Flag } from "../command.ts";
import { confirm, yesFlag } from "../confirm.ts";
import { textTable } from "../text-table.ts";
import { UserError } from "../user-error.ts";

const countOrNone = (text: string): string | undefined =>
  text === "none" || /^[1-9]\d{0,11}$/.test(text) ? undefined : "is a whole number of spans, or none";

const bytesOrNone = (text: string): string | undefined =>
  text === "none" || /^[1-9]\d{0,14}$/.test(text) ? undefined : "is a whole number of bytes, or none";

const settings: Readonly<Record<string, Flag>> = {
  "spans-per-second": { value: "N", help: "rate, or none", check: countOrNone },
  "burst-spans": { value: "N", help: "how many may come at once, or none", check: countOrNone },
  "spans-per-month": { value: "N", help: "quota of a calendar month (UTC), or none", check: countOrNone },
  "bytes-per-second": {
    value: "N",
    help: "rate of bytes, uncompressed, or none",
    check: bytesOrNone,
  },
  "burst-bytes": { value: "N", help: "how many bytes may come at once, or none", check: bytesOrNone },
  "bytes-per-month": { value: "N", help: "quota of bytes of a calendar month, or none", check: bytesOrNone },
  origins: { value: "LIST", help: "browser origins that may send, with commas; * for any, none for none" },
  sample: {
    value: "SHARE",
    help: "share of traces that is kept, 0 to 1",
    check: (text) =>
      /^(0|1|0?\.\d+|1\.0+|0\.\d+)$/.test(text)
        ? undefined
        : "is a number from 0 (no trace) to 1 (every trace)",
  },
  "span-age-days": {
    value: "DAYS",
    help: "how many days ago a span may have ended, as far as the table keeps it: 1 to 60, 30 by default",
    check: (text) => (/^([1-9]|[1-5]\d|60)$/.test(text) ? undefined : "is a whole number from 1 to 60"),
  },
};

/** What of a key's settings was given, in the API's names. */
function givenSettings({ given }: Call): Readonly<Record<string, unknown>> {
  const count = (flag: string, name: string) => {
    const text = given.text(flag);
    return text === undefined ? {} : { [name]: text === "none" ? null : Number(text) };
  };
  const origins = given.text("origins");
  const sample = given.text("sample");
  const spanAgeDays = given.text("span-age-days");
  return {
    ...count("spans-per-second", "spansPerSecond"),
    ...count("burst-spans", "burstSpans"),
    ...count("spans-per-month", "spansPerMonth"),
    ...count("bytes-per-second", "bytesPerSecond"),
    ...count("burst-bytes", "burstBytes"),
    ...count("bytes-per-month", "bytesPerMonth"),
    ...(origins === undefined ? {} : { origins: origins === "none" ? [] : origins.split(",") }),
    ...(sample === undefined ? {} : { sample: Number(sample) }),
    ...(spanAgeDays === undefined ? {} : { spanAgeDays: Number(spanAgeDays) }),
  };
}

const create: Command = {
  name: "keys create",
  summary: "create a key for sending spans; it is shown only once",
  about: "",
  args: { text: "", min: 0, max: 0 },
  flags: {
    tenant: { value: "TENANT", help: "whose spans these are: a-z, 0-9 and -; cannot be changed" },
    name: { value: "TEXT", help: "for people" },
    ...settings,
  },
  examples: [
    'headrace keys create --tenant acme --name "web shop"',
    "headrace keys create --tenant acme --name browser --origins https://shop.example --spans-per-second 1000 --burst-spans 10000",
    "headrace keys create --tenant ci --name ci --json | jq -r .key",
  ],
  exitOne: "",
  asksConsole: true,
  async run(call) {
    const [tenant, name] = [call.given.text("tenant"), call.given.text("name")];
    if (tenant === undefined || name === undefined) {
      throw new UserError("a key needs --tenant and --name");
    }
    const body = { tenant, name, ...givenSettings(call) };
    const key = await call.console.ask("POST /api/keys", { body });
    call.json(key);
    await sayNewKey(call, key);
    return 0;
  },
};

const list: Command = {
  name: "keys list",
  summary: "keys with tenant, limits, what is used of their months, and whether they work",
  about:
    "A revoked or replaced key is listed for 30 days. A key and what it was rotated into share one allowance. What is used is read\nfor 20 tenants with a quota at most; --tenant asks about one.",
  args: { text: "", min: 0, max: 0 },
  flags: { tenant: { value: "TENANT", help: "only this tenant's" } },
  examples: ["headrace keys list", "headrace keys list --tenant acme --json"],
  exitOne: "",
  asksConsole: true,
  async run(call) {
    const keys = await readKeys(call, call.given.text("tenant"));
    call.json(keys);
    const used = keys.length === 0 || call.given.has("json") ? new Map() : await readUsed(call, keys);
    call.say(
      keys.length === 0
        ? "no key; `headrace keys create --tenant … --name …` makes one"
        : textTable(
            [
              "id",
              "tenant",
              "status",
              "spans/s",
              "burst",
              "of this month's spans",
              "bytes/s",
              "burst",
              "of this month's bytes",
              "sample",
              "name",
            ],
            keys.map((key) => [
              key.id.slice(0, 12),
              key.tenant,
              statusText(key),
              String(key.spansPerSecond ?? "-"),
              String(key.burstSpans ?? "-"),
              quotaText(key.spansPerMonth, used.get(key.account)?.usedSpans),
              String(key.bytesPerSecond ?? "-"),
              String(key.burstBytes ?? "-"),
              quotaText(key.bytesPerMonth, used.get(key.account)?.usedBytes),
              String(key.sample),
              key.name,
            ]),
          ),
    );
    return 0;
  },
};

const set: Command = {
  name: "keys set",
  summary: "change a key's name, limits, origins, sampling, or switch it off and on",
  about:
    "What is not named stays as it is. A change usually takes effect within two minutes; KV guarantees no time.",
  args: { text: "<id>", min: 1, max: 1 },
  flags: {
    name: { value: "TEXT", help: "for people" },
    status: {
      value: "WORD",
      help: "active or disabled",
      check: (text) => (text === "active" || text === "disabled" ? undefined : "is active or disabled"),
    },
    ...settings,
  },
  examples: [
    "headrace keys set 3f2a9c01d4b7 --spans-per-second 2000",
    "headrace keys set 3f2a9c01d4b7 --status disabled",
    "headrace keys set 3f2a9c01d4b7 --spans-per-month none --sample 0.1",
  ],
  exitOne: "there is no such key",
  asksConsole: true,
  async run(call) {
    const name = call.given.text("name");
    const status = call.given.text("status");
    const change: AskedOf<"PATCH /api/keys/:id">["body"] = {
      ...givenSettings(call),
      ...(name === undefined ? {} : { name }),
      ...(status === "active" || status === "disabled" ? { status } : {}),
    };
    if (Object.keys(change).length === 0) {
      throw new UserError("name what to change; `headrace keys set --help` lists what can");
    }
    const id = await wholeId(call);
    const key = await call.console.ask("PATCH /api/keys/:id", { id, body: change });
    call.json(key);
    call.say(`${key.tenant}, ${key.name}: ${statusText(key)}`);
    return 0;
  },
};

const rotate: Command = {
  name: "keys rotate",
  summary: "replace a key by a new one; the old one works until a given time",
  about:
    "The new key has the old one's name, limits and allowance. Without --until the old one works 24 hours more.",
  args: { text: "<id>", min: 1, max: 1 },
  flags: {
    until: {
      value: "TIME",
      help: "when the old one stops (UTC, within 90 days)",
      check: (text) =>
        Number.isNaN(Date.parse(text)) ? "is a time such as 2026-12-01T00:00:00Z" : undefined,
    },
  },
  examples: [
    "headrace keys rotate 3f2a9c01d4b7",
    "headrace keys rotate 3f2a9c01d4b7 --until 2026-12-01T00:00:00Z",
  ],
  exitOne: "there is no such key",
  asksConsole: true,
  async run(call) {
    const until = call.given.text("until");
    const body = until === undefined ? {} : { until: new Date(until).toISOString() };
    const key = await call.console.ask("POST /api/keys/:id/rotate", { id: await wholeId(call), body });
    call.json(key);
    await sayNewKey(call, key);
    return 0;
  },
};

const revoke: Command = {
  name: "keys revoke",
  summary: "revoke a key at once and for good",
  about:
    "Usually takes effect within two minutes everywhere; KV guarantees no time. What the key has sent stays.",
  args: { text: "<id>", min: 1, max: 1 },
  flags: { yes: yesFlag },
  examples: ["headrace keys revoke 3f2a9c01d4b7", "headrace keys revoke 3f2a9c01d4b7 --yes"],
  exitOne: "there is no such key",
  asksConsole: true,
  async run(call) {
    const id = await wholeId(call);
    const key = await call.console.ask("GET /api/keys/:id", { id });
    await confirm(call, `the key "${key.name}" of ${key.tenant} will never work again`);
    const revoked = await call.console.ask("POST /api/keys/:id/revoke", { id });
    call.json(revoked);
    call.say(`revoked: "${revoked.name}" of ${revoked.tenant}`);
    return 0;
  },
};

/** Prints the key and the lines that configure an exporter with it: both can be shown only now. */
async function sayNewKey(
  call: Call,
  { key, id }: { readonly key: string; readonly id: string },
): Promise<void> {
  const otlp = call.installation?.otlp ?? (await call.console.ask("GET /api/about")).otlp;
  const endpoint = otlp === "" ? "https://YOUR-INGRESS" : otlp;
  call.say(`${key}\n\nThis is the only time it is shown. Its id is ${id}. For an exporter:\n`);
  for (const line of exportLines(endpoint, key)) {
    call.say(`  ${line}`);
  }
}

export const keyCommands: readonly Command[] = [create, list, set, rotate, revoke];

function statusText({ status, expiresAt }: ListedKey): string {
  return expiresAt === null || status === "revoked" ? status : `${status} until ${expiresAt}`;
}

/** Tenants whose Meters one list asks. */
const tenantsAsked = 20;
type Used = { readonly usedSpans: number; readonly usedBytes: number };

/** What is used of the present month, by account; where it could not be read, it is said and left out. */
async function readUsed(call: Call, keys: readonly ListedKey[]): Promise<ReadonlyMap<string, Used>> {
  const month = new Date().toISOString().slice(0, 7);
  const metered = keys.filter(
    ({ spansPerMonth, bytesPerMonth }) => spansPerMonth !== null || bytesPerMonth !== null,
  );
  const tenants = [...new Set(metered.map(({ tenant }) => tenant))];
  const used = new Map<string, Used>();
  for (const tenant of tenants.slice(0, tenantsAsked)) {
    try {
      const { accounts = [] } = await call.console.ask("GET /api/usage", { query: { tenant, days: "1" } });
      for (const { account } of metered.filter((key) => key.tenant === tenant)) {
        const one = accounts.find((found) => found.account === account && found.month === month);
        used.set(account, one ?? { usedSpans: 0, usedBytes: 0 });
      }
    } catch (error) {
      if (!(error instanceof UserError && error.exitCode === 3)) {
        throw error;
      }
      call.say(`what ${tenant} has used is not known: ${error.message}`);
    }
  }
  return used;
}

/** `12 of 60 (20 %)`; without what is used, the quota alone. */
function quotaText(quota: number | null, used: number | undefined): string {
  if (quota === null) {
    return "-";
  }
  return used === undefined ? `? of ${quota}` : `${used} of ${quota} (${Math.floor((used / quota) * 100)} %)`;
}

async function readKeys({ console }: Call, tenant: string | undefined): Promise<readonly ListedKey[]> {
  const keys: ListedKey[] = [];
  for (let cursor: string | undefined, more = true; more; ) {
    const query = {
      ...(tenant === undefined ? {} : { tenant }),
      ...(cursor === undefined ? {} : { cursor }),
    };
    const page: AnswerOf<"GET /api/keys"> = await console.ask("GET /api/keys", { query });
    keys.push(...page.keys);
    cursor = page.cursor;
    more = cursor !== undefined;
  }
  return keys;
}

/** The whole id where its beginning was given, as `keys list` shows it. A key itself is not taken: it is a secret. */
async function wholeId(call: Call): Promise<string> {
  const [text = ""] = call.given.args;
  if (text.startsWith("hr_")) {
    throw new UserError(
      "that is a key, and a key does not belong on a command line: name its id (`headrace keys list`)",
    );
  }
  if (!/^[0-9a-f]{8,64}$/.test(text)) {
    throw new UserError(
      `"${text}" is not a key's id: 8 or more hex digits, as \`headrace keys list\` shows them`,
    );
  }
  if (text.length === 64) {
    return text;
  }
  const found = (await readKeys(call, undefined)).filter(({ id }) => id.startsWith(text));
  const [only] = found;
  if (only === undefined) {
    throw new UserError(`no key's id begins with ${text}`, 1);
  }
  if (found.length > 1) {
    throw new UserError(`${found.length} keys' ids begin with ${text}: give more of it`);
  }
  return only.id;
}
