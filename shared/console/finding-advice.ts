/**
 * What to do about a finding, in the place where it is read: the page names its own parts and buttons, the CLI its
 * commands; the webhook, which is read anywhere, the page's where it can link to it. A finding's message says what is wrong.
 */
import type { Finding } from "../finding.ts";

export type Reader = "page" | "cli";

type About = Pick<Finding, "subject" | "tenant"> & { readonly kind: string };

type Advice = Readonly<Record<Reader, (about: About) => string>>;

/** Kinds that are not among these say all of it in their message. */
const advices: Readonly<Record<string, Advice>> = {
  dead_letters: {
    page: () => "Dead letters says why each could not be stored; Replay stores them once the cause is fixed.",
    cli: () =>
      "`headrace dead-letters list` says why; `headrace dead-letters replay --all` stores them once the cause is fixed.",
  },
  in_flight: {
    page: () => "In flight shows its group, why it failed, and what it waits for.",
    cli: () =>
      "`headrace status` says what keeps payloads from being stored, `headrace payload show KEY` what one waits for.",
  },
  inexact: {
    page: () => "It waits for your decision: compare its rows with the payload, then accept what is there.",
    cli: ({ subject }) =>
      `\`headrace payload show ${subject}\` shows its rows; then \`headrace resolve ${subject} accept\`, or \`rewrite\`.`,
  },
  quota: {
    page: ({ tenant }) => `Tenants: ${tenant} opens its keys, with what they have used.`,
    cli: ({ subject, tenant }) => {
      const [, , , account = "", unit = "spans"] = subject.split("/");
      return `\`headrace keys set ${account.slice(0, 12)} --${unit}-per-month N\` raises it within two minutes; \`headrace keys list --tenant ${tenant}\` shows what is used, and keys that it was rotated into.`;
    },
  },
  refused: {
    page: () => "In flight shows it. Once the cause is fixed, it is stored by itself.",
    cli: ({ subject }) => `\`headrace payload show ${subject}\` follows it.`,
  },
  unsealed: {
    page: () => "In flight shows what its payloads wait for.",
    cli: () => "`headrace watermark` lists the open minutes, each with one of its payloads.",
  },
  volume: {
    page: ({ tenant }) => `Turned away shows what ${tenant}'s requests were answered.`,
    cli: ({ tenant }) =>
      `\`headrace keys list --tenant ${tenant}\` shows its keys and limits; the page shows what was turned away.`,
  },
};

/** Empty: the message says it. */
export function findingAdvice(about: About, reader: Reader): string {
  return advices[about.kind]?.[reader](about) ?? "";
}

/** A finding's subject with ids of keys as short as lists show them. */
export function subjectText(subject: string): string {
  return subject.replace(/[0-9a-f]{64}/g, (id) => `${id.slice(0, 12)}…`);
}
