import { expect, test } from "vitest";
import { type EndedRow, minuteSteps, stepRange } from "../../shared/console/minute-steps.ts";
import type { Unsettled } from "../../shared/console/operations.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import { newCheckpoint, opened, withOpen } from "../../shared/reconcile/checkpoint.ts";

const now = Date.parse("2026-11-24T12:30:20Z");
const at = (clock: string) => Date.parse(`2026-11-24T${clock}:00Z`);
const row = (clock: string, tenant: string, counts: Partial<EndedRow>): EndedRow => ({
  step: at(clock) / 1000,
  tenant,
  stored: 0,
  dead: 0,
  duplicate: 0,
  erased: 0,
  expired: 0,
  spans: 0,
  rejectedSpans: 0,
  bytes: 0,
  receipted: [],
  ...counts,
});

function keyAt(clock: string, tenant: string, n: number) {
  const bytes = new Uint8Array(16);
  bytes[0] = n;
  return formatPayloadKey(at(clock), tenant, formatPayloadId(bytes));
}

test("an hour is sixty minutes and a day is twenty-four hours, the running one included", () => {
  expect(stepRange(now, 1)).toEqual({ since: at("11:31"), stepMs: 60_000 });
  expect(stepRange(now, 24)).toEqual({ since: Date.parse("2026-11-23T13:00:00Z"), stepMs: 3_600_000 });
});

const facts = {
  now,
  ...stepRange(now, 1),
  ended: [
    row("12:20", "a", { stored: 5, dead: 1, spans: 50, bytes: 500 }),
    row("12:20", "b", { stored: 2, duplicate: 1, erased: 1, spans: 20, rejectedSpans: 3, bytes: 100 }),
  ],
  unsettled: {
    checkpoint: { ...newCheckpoint(at("12:25")), ranAt: now },
    changed: [],
    keys: [{ key: keyAt("12:29", "b", 1), spans: 4 }],
    others: [
      { minute: "2026-11-24T1229", tenant: "b", payloads: 2, spans: 26 },
      { minute: "2026-11-24T1100", tenant: "b", payloads: 9, spans: 90 }, // before the range
    ],
    isWhole: false,
  } satisfies Unsettled,
  tenant: null,
};

test("what is accepted is what ended and what is in flight, by minute and by tenant", () => {
  const { steps, tenants, tenantsCount } = minuteSteps(facts);
  expect(steps).toHaveLength(60);
  const step = (clock: string) => steps.find((one) => one.at === new Date(at(clock)).toISOString());
  expect(step("12:20")).toMatchObject({
    accepted: 10,
    stored: 7,
    dead: 1,
    duplicate: 1,
    erased: 1,
    inFlight: 0,
  });
  expect(step("12:29")).toMatchObject({ accepted: 3, inFlight: 3, spans: 30 });
  expect(step("12:21")).toMatchObject({ accepted: 0, sealed: true });
  expect(steps.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(13);
  expect(tenantsCount).toBe(2);
  expect(tenants).toMatchObject([
    { tenant: "a", accepted: 6, spans: 50 },
    { tenant: "b", accepted: 7, inFlight: 3, spans: 50, rejectedSpans: 3 },
  ]);
});

test("a minute is sealed only when every walk of it has come to its end", () => {
  const checkpoint = withOpen(facts.unsettled.checkpoint, {
    ...opened(at("12:10"), now),
    listed: 8,
    pending: 2,
  });
  const { steps } = minuteSteps({ ...facts, unsettled: { ...facts.unsettled, checkpoint } });
  const sealed = steps.filter((step) => step.sealed).map((step) => step.at.slice(11, 16));
  expect(sealed).toContain("12:24");
  expect(sealed).not.toContain("12:10");
  expect(sealed).not.toContain("12:25");
  const hours = minuteSteps({
    ...facts,
    ...stepRange(now, 24),
    ended: [],
    unsettled: { ...facts.unsettled, checkpoint },
  }).steps;
  expect(hours.at(-2)).toMatchObject({ at: "2026-11-24T11:00:00.000Z", sealed: true });
  expect(hours.at(-1)).toMatchObject({ at: "2026-11-24T12:00:00.000Z", sealed: false });
});

test("payloads that the reconciler found pending and nobody was seen to hold are in flight all the same", () => {
  const open = (clock: string, pending: number) => ({ ...opened(at(clock), now), listed: 8, pending });
  const checkpoint = withOpen(withOpen(facts.unsettled.checkpoint, open("12:10", 2)), open("12:29", 2));
  const { steps } = minuteSteps({ ...facts, unsettled: { ...facts.unsettled, checkpoint } });
  const inFlight = steps
    .filter((step) => step.inFlight > 0)
    .map((step) => [step.at.slice(11, 16), step.inFlight]);
  expect(inFlight).toEqual([
    ["12:10", 2],
    ["12:29", 3], // two of the ledger's three: not counted twice
  ]);
});

test("one tenant is asked for by itself", () => {
  const { steps, tenants } = minuteSteps({ ...facts, tenant: "a" });
  expect(tenants.map(({ tenant }) => tenant)).toEqual(["a"]);
  expect(steps.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(6);
});

test("one open minute leaves its own step open, and not the one before", () => {
  const checkpoint = withOpen(newCheckpoint(at("12:25")), opened(at("12:20"), now));
  const { steps } = minuteSteps({ ...facts, unsettled: { ...facts.unsettled, checkpoint } });
  const isSealed = (clock: string) =>
    steps.find((one) => one.at === new Date(at(clock)).toISOString())?.sealed;
  expect(["12:19", "12:20", "12:21", "12:24", "12:25"].map(isSealed)).toEqual([
    true,
    false,
    true,
    true,
    false,
  ]);
});

test("what one tenant has in flight in several groups of a minute is added up", () => {
  const one = { minute: "2026-11-24T1229", tenant: "b", payloads: 3, spans: 30 };
  const { tenants } = minuteSteps({
    ...facts,
    ended: [],
    unsettled: { ...facts.unsettled, keys: [], others: [one, { ...one, payloads: 2 }] },
  });
  expect(tenants).toMatchObject([{ tenant: "b", inFlight: 5, accepted: 5 }]);
});

test("what is in flight and has a receipt counts by that, whichever minute it is of", () => {
  const replayed = keyAt("12:20", "a", 1);
  const fresh = keyAt("12:20", "a", 2);
  const keys = [replayed, fresh].map((key) => ({ key, spans: 10 }));
  const unsettled = { ...facts.unsettled, keys, others: [], isWhole: true };
  const named = row("00:00", "", { step: 0, receipted: [replayed] });
  const { steps, tenants } = minuteSteps({ ...facts, ended: [...facts.ended, named], unsettled });
  expect(steps.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(11);
  expect(tenants).toMatchObject([{ tenant: "a", accepted: 7, inFlight: 1, dead: 1 }, { tenant: "b" }]);
});

test("a walk that is over says nothing of what is in flight, where the ledger says all of it", () => {
  const one = { ...opened(at("12:10"), now), listed: 8, pending: 2 };
  const checkpoint = withOpen(facts.unsettled.checkpoint, one);
  const unsettled = { ...facts.unsettled, checkpoint, keys: [], others: [], isWhole: true };
  expect(minuteSteps({ ...facts, unsettled }).steps.reduce((sum, step) => sum + step.inFlight, 0)).toBe(0);
});
