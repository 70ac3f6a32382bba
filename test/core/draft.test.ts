/** One event's changes, as the machine reads them back (shared/ledger/draft.ts). */
import { expect, test } from "vitest";
import { Draft } from "../../shared/ledger/draft.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import { groupId, groupIn, now, one, open, otherId, stateOf, two } from "../ledger/one-step.ts";

const draftOf = (...args: Parameters<typeof stateOf>): Draft =>
  new Draft(stateOf(...args), { now, tokens: [], databaseBytes: 0 }, defaultSettings);

test("a group that ended is not there any more, and its payloads are where they went", () => {
  const group = groupIn(open, { payloads: [one, two] });
  const draft = draftOf({ groups: [group] });
  draft.make(groupIn(open, { id: otherId, payloads: [two] }));
  draft.end(group, [{ key: one.key, outcome: "stored" }], now - 5);
  expect(draft.group(groupId)).toBeUndefined();
  expect(() => draft.change(group)).toThrow("a group that changes is there");
  // Read again, the places are those of this event, and not those before it.
  draft.readPlaces([one, two].map(({ key }) => idOfKey(key)));
  expect(draft.place(idOfKey(one.key))).toEqual({
    at: "done",
    outcome: "stored",
    tag: Date.UTC(2026, 10, 24, 12) / 60_000,
    since: now - 5,
  });
  expect(draft.place(idOfKey(two.key))).toEqual({ at: "group", group: otherId });
});

test("a group ends only where each of its payloads is done or in another group", () => {
  const group = groupIn(open, { payloads: [one, two] });
  const draft = draftOf({ groups: [group] });
  draft.readPlaces([one, two].map(({ key }) => idOfKey(key)));
  expect(() => draft.end(group, [{ key: one.key, outcome: "stored" }], now)).toThrow(
    "no payload stays in a group",
  );
});
