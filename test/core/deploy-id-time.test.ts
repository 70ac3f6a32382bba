/** Which ID_TIME_FROM `headrace deploy` gives the ingress: one, chosen once. */
import { describe, expect, test } from "vitest";
import { checkIdTimeFrom, chooseIdTimeFrom } from "../../cli/deploy/id-time-from.ts";
import { formatIdTimeFrom } from "../../shared/id-time.ts";

const hourMs = 3_600_000;
const now = Date.UTC(2026, 10, 24, 7, 41);
const inHours = (hours: number) => formatIdTimeFrom(now + hours * hourMs);
const nowhere = { deployed: [], earlier: [] };
const empty = { hasBucket: false, hasIngress: false, idTimes: nowhere };
const older = { hasBucket: true, hasIngress: true, idTimes: nowhere };
const knowing = (...deployed: string[]) => ({ ...older, idTimes: { deployed, earlier: [] } });

describe("ID_TIME_FROM", () => {
  test("of an installation without a payload: every id begins with its time", () => {
    expect(chooseIdTimeFrom("", empty, now)).toEqual({ from: "2020-01-01T00:00Z", isAhead: false });
  });

  test.each([
    ["an ingress that knows none", older],
    ["a bucket whose ingress is gone", { ...older, hasIngress: false }],
    ["an ingress whose bucket is gone", { ...older, hasBucket: false }],
  ])("with %s lies so far ahead that no retry changes its id", (_name, present) => {
    expect(chooseIdTimeFrom("", present, now)).toEqual({ from: inHours(26), isAhead: true });
  });

  test("is what the deployed ingress has, however old", () => {
    const from = inHours(-1000);
    expect(chooseIdTimeFrom("", knowing(from), now)).toEqual({ from, isAhead: false });
    expect(chooseIdTimeFrom(from, knowing(from), now)).toEqual({ from, isAhead: false });
  });

  test("is what an earlier version had, where one from before there was one is deployed again", () => {
    const from = inHours(-1000);
    const present = { ...older, idTimes: { deployed: [], earlier: [from] } };
    expect(chooseIdTimeFrom("", present, now)).toEqual({ from, isAhead: false });
    expect(() => chooseIdTimeFrom(inHours(30), present, now)).toThrow(
      `is ${from} in the ingress, and stays so`,
    );
  });

  test.each([inHours(-1001), inHours(-999), inHours(48)])("is never changed to %s", (given) => {
    expect(() => chooseIdTimeFrom(given, knowing(inHours(-1000)), now)).toThrow(
      "in the ingress, and stays so: with another one, bytes that a client sends again would be stored twice",
    );
  });

  test("of two versions that differ is chosen by a person", () => {
    const [first, second] = [inHours(1), inHours(2)];
    expect(() => chooseIdTimeFrom("", knowing(first, second), now)).toThrow(`${first} and ${second}`);
    expect(() => chooseIdTimeFrom(inHours(3), knowing(first, second), now)).toThrow(`${first} and ${second}`);
    expect(chooseIdTimeFrom(first, knowing(first, second), now).from).toBe(first);
  });

  test("that a person chose is far enough ahead, or refused", () => {
    expect(chooseIdTimeFrom(inHours(25), older, now)).toEqual({ from: inHours(25), isAhead: true });
    expect(() => chooseIdTimeFrom(inHours(24), older, now)).toThrow(
      `is less than 25 hours ahead: leave it out, or say ${inHours(25)} or later`,
    );
    expect(chooseIdTimeFrom(inHours(-5), empty, now)).toEqual({ from: inHours(-5), isAhead: false });
    expect(() => chooseIdTimeFrom("tomorrow", older, now)).toThrow('not "tomorrow"');
  });

  test("is looked at once more when the ingress is deployed: the plan may have waited", () => {
    const planned = chooseIdTimeFrom("", older, now);
    expect(() => checkIdTimeFrom(planned, now + hourMs)).not.toThrow();
    expect(() => checkIdTimeFrom(planned, now + hourMs + 60_000)).toThrow("has waited for too long");
    expect(() => checkIdTimeFrom(chooseIdTimeFrom("", empty, now), now + 1000 * hourMs)).not.toThrow();
    expect(() => checkIdTimeFrom(chooseIdTimeFrom("", knowing(inHours(1)), now), now)).not.toThrow();
  });
});
