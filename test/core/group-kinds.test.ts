/** However many groups are in one kind of trouble, every other kind is seen (shared/ledger/group-kinds.ts). */
import { describe, expect, test } from "vitest";
import { judgeAlerts, noAlerts } from "../../shared/alerts.ts";
import { alertFacts } from "../../shared/delivery/ledger-facts.ts";
import type { Group } from "../../shared/ledger/group.ts";
import {
  type GroupKind,
  groupKinds,
  groupsCountOf,
  kindOf,
  unlookedOf,
} from "../../shared/ledger/group-kinds.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { troubleOf } from "../../shared/ledger/trouble.ts";
import { nothingWaits } from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
import { lookedInto } from "../ledger/looked-into.ts";
import { failure, groupIn, open, payloadAt } from "../ledger/one-step.ts";
import { startMs } from "../ledger/world.ts";

const learnt = { runFailure: "", recent: null, volumes: null, frontDoor: null, bypassed: null };
const since = startMs - limits.alertInFlightMs - 1;
const at = { ...failure, since, at: startMs - 1 };
let numbers = 0;

/** A group of each kind that has been as it is for long enough to be reported. */
function groupOfKind(kind: GroupKind): Group {
  const payload = payloadAt({ n: ++numbers, arrival: since });
  const asked = { ...payload, cause: "replay" as const };
  const of = (more: Partial<Group>) =>
    groupIn(open, { payloads: [payload], made: since, failure: null, ...more });
  switch (kind) {
    case "usual":
      return of({});
    case "asked":
      return of({ payloads: [asked] });
    case "failing":
      return of({ failure: { ...at, kind: "retry" } });
    case "failing_asked":
      return of({ payloads: [asked], failure: { ...at, kind: "retry" } });
    case "refused":
      return of({
        refusals: 1,
        lastRefusalAt: startMs - defaultSettings.refusedHeldMs,
        failure: { ...at, kind: "refused" },
      });
    case "erasure":
      return of({ payloads: [asked], failure: { ...at, kind: "retry", ofErasure: true } });
    case "held": {
      const found = [{ key: payload.key, rowsByDay: [], reason: "1 of 2 rows" }];
      return of({ state: { at: "held", lease: null, found } });
    }
  }
}

/** What is said of groups of whom only few are looked into, the longest living ones first. */
function saidOf(groups: readonly Group[]) {
  const looked = lookedInto(groups, limits.inFlightGroupsLooked);
  const trouble = troubleOf(null, nothingWaits, looked.groups, groupsCountOf(looked));
  const known = {
    head: null,
    waiting: nothingWaits,
    looked,
    databaseBytes: 0,
    broken: null,
    wrongTokens: null,
    trouble: trouble === null ? "" : "INSERTs fail.",
    settings: defaultSettings,
    checkpoint: null,
  };
  const { findings } = judgeAlerts(alertFacts(known, learnt, startMs), noAlerts);
  return new Set(
    findings.map(
      ({ kind, subject }) => `${kind} ${["ledger", "erasure"].includes(subject) ? subject : "a key"}`,
    ),
  );
}

const finding: Readonly<Record<GroupKind, string | null>> = {
  usual: "in_flight ledger",
  asked: null,
  failing: "in_flight ledger",
  failing_asked: "breaker_open ledger",
  refused: "refused a key",
  erasure: "in_flight erasure",
  held: "inexact a key",
};

describe("trouble of a kind is seen", () => {
  test.each(groupKinds)("whatever there is of others: %s", (kind) => {
    const group = groupOfKind(kind);
    expect(kindOf(group)).toBe(kind);
    const others = groupKinds.filter((one) => one !== kind);
    const before = others.flatMap((one) =>
      Array.from({ length: limits.inFlightGroupsLooked + 1 }, () => groupOfKind(one)),
    );
    const expected = finding[kind];
    if (expected !== null) {
      expect(saidOf([...before, group])).toContain(expected);
      expect(saidOf([group])).toContain(expected);
    }
  });

  test.each(["refused", "held"] as const)("and how many there are beyond those named: %s", (kind) => {
    const name = kind === "held" ? "inexact ledger" : "refused ledger";
    const groups = Array.from({ length: limits.inFlightGroupsLooked }, () => groupOfKind(kind));
    expect(saidOf(groups)).not.toContain(name);
    expect(saidOf([...groups, groupOfKind(kind)])).toContain(name);
    expect(unlookedOf(lookedInto([...groups, groupOfKind(kind)], limits.inFlightGroupsLooked), kind)).toBe(1);
  });

  test("and nothing but what a person asked for, or decides about, is no work that is late", () => {
    const quiet = [groupOfKind("asked"), groupOfKind("held"), groupOfKind("refused"), groupOfKind("erasure")];
    expect(saidOf(quiet)).not.toContain("in_flight ledger");
    expect(saidOf([...quiet, groupOfKind("usual")])).toContain("in_flight ledger");
  });
});
