/** A payload that ClickHouse refuses in a quiet installation: held and reported, never dead-lettered by itself. */
import { expect, test } from "vitest";
import { type AlertState, judgeAlerts, noAlerts } from "../../shared/alerts.ts";
import { alertFacts } from "../../shared/delivery/ledger-facts.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import { inFlightOf } from "../../shared/ledger/in-flight.ts";
import { isRefusedAlone } from "../../shared/ledger/refused-payloads.ts";
import { limits, MINUTE_MS } from "../../shared/limits.ts";
import { doorbell, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const words = "VIOLATED_CONSTRAINT (469): Constraint `no_poison` is violated";
const refused: AttemptReport = {
  kind: "refused",
  code: 469,
  reason: "Code: 469. DB::Exception: Constraint `no_poison` is violated. (VIOLATED_CONSTRAINT)",
};
const learnt = { runFailure: "", recent: null, volumes: null, frontDoor: null, bypassed: null };
const key = doorbell({ n: 1 }).key;

/** A ledger that refuses payload 1, whose clock, alarm and cron go on. */
class RefusingLedger {
  readonly ledger = new TestLedger();
  alerts: AlertState = noAlerts;
  readonly told: string[] = [];
  outcomes: string[] = [];

  /** Runs until `until`, a second at a time; answers as soon as `isEnough`. */
  run(ms: number, isEnough: () => boolean = () => false): void {
    const { ledger } = this;
    for (const end = ledger.now + ms; ledger.now < end && !isEnough(); ledger.now += 1000) {
      for (const group of ledger.alarm()) {
        this.#work(ledger.take(group));
      }
      if (ledger.now % MINUTE_MS === 0) {
        this.#judge();
      }
    }
  }

  get groups() {
    return [...this.ledger.state.dump().groups.values()];
  }

  #work(task: GroupTask | null): void {
    for (let next = task; next !== null; ) {
      if (next.step === "receipts") {
        this.outcomes.push(...next.receipts.map(({ outcome, reason }) => `${outcome} ${reason}`.trim()));
        this.ledger.receipted(next);
        return;
      }
      next = this.ledger.report(next, this.#reportOf(next));
    }
  }

  #reportOf(task: GroupTask): AttemptReport {
    if (task.step === "count") {
      return {
        kind: "counted",
        payloads: task.payloads.map((payload) => ({ key: payload.key, rowsByDay: [] })),
      };
    }
    return task.payloads.some((payload) => payload.key === key) ? refused : storedReport(task);
  }

  #judge(): void {
    const { head, waiting } = this.ledger.state;
    const known = {
      head,
      waiting,
      looked: this.ledger.state.groupsLookedInto(2),
      databaseBytes: 0,
      broken: null,
      wrongTokens: null,
      trouble: "",
      settings: this.ledger.settings,
      checkpoint: null,
    };
    const { alertState, findings } = judgeAlerts(alertFacts(known, learnt, this.ledger.now), this.alerts);
    this.alerts = alertState;
    const minutes = (this.ledger.now - startMs) / MINUTE_MS;
    this.told.push(...findings.map(({ kind, state, subject }) => `${minutes} ${kind} ${state} ${subject}`));
  }
}

test("it is held within 15 minutes with ClickHouse's words, and for hours it is neither forgotten nor dead", () => {
  const one = new RefusingLedger();
  one.ledger.claim({ n: 1 });
  one.run(15 * MINUTE_MS);
  expect(one.told).toEqual([expect.stringMatching(`^1[0-4] refused open ${key}$`)]);
  expect(one.alerts.open).toMatchObject([
    { kind: "refused", severity: "page", tenant: "acme", subject: key },
  ]);
  expect(one.alerts.open[0]?.message).toMatch(
    /^ClickHouse refuses this payload \(\d+ times so far, since 2026-11-24T12:00:\d\dZ with nothing else stored\): VIOLATED/,
  );
  expect(one.alerts.open[0]?.message).toContain(words);

  one.run(6 * 60 * MINUTE_MS);
  expect(one.told).toHaveLength(1); // once, and not as in flight too
  expect(one.outcomes).toEqual([]);
  expect(one.groups).toMatchObject([{ refusals: 1, failure: { kind: "refused" } }]);
  expect(one.groups[0]?.failure?.failed).toBeGreaterThan(20); // it is tried on, each 15 minutes
});

test("the page says so from its first refusal on", () => {
  const one = new RefusingLedger();
  one.ledger.claim({ n: 1 });
  one.run(MINUTE_MS);
  const { head, waiting } = one.ledger.state;
  const [row] = inFlightOf(head, waiting, one.ledger.state.groupsLookedInto(1), one.ledger.now).groups;
  expect(row).toMatchObject({ waitsFor: "others", until: expect.any(Number), failure: { code: 469 } });
});

test("only the delivery rule makes it a dead letter: others that are stored while it is still refused", () => {
  const one = new RefusingLedger();
  one.ledger.claim({ n: 1 });
  one.run(30 * MINUTE_MS);
  for (let n = 2; n < 8 && one.outcomes.every((outcome) => outcome.startsWith("stored")); n++) {
    one.ledger.claim({ n, arrival: one.ledger.now });
    one.run(20 * MINUTE_MS);
  }
  expect(one.outcomes.filter((outcome) => outcome.startsWith("dead"))).toEqual(["dead rejected:469"]);
  one.run(2 * MINUTE_MS);
  expect(one.told.at(-1)).toMatch(`refused resolved ${key}`);
});

test("where other payloads are stored all the time it is dead-lettered before it is reported as held", () => {
  const one = new RefusingLedger();
  one.ledger.claim({ n: 1 });
  for (let n = 2; one.ledger.now < startMs + limits.alertRefusedMs; n++) {
    one.ledger.claim({ n, arrival: one.ledger.now });
    one.run(5000);
  }
  expect(one.outcomes).toContain("dead rejected:469");
  expect(one.told).toEqual([]);
});

test("a payload whose refusals do not count any more, because others were stored, is not one that is refused alone", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  ledger.takeNotified();
  const [group] = ledger.state.dump().groups.values();
  const failure = { kind: "refused", code: 469, reason: words } as const;
  const given = group ?? expect.unreachable();
  const alone = { ...given, failure: { ...failure, at: startMs } } as unknown as typeof given;
  expect(isRefusedAlone({ ...alone, refusals: 1 })).toBe(true);
  expect(isRefusedAlone({ ...alone, refusals: 0 })).toBe(false);
});
