/**
 * Which ID_TIME_FROM an ingress is deployed with (decision 0085): chosen once, and then the same for ever. Another one would give
 * bytes that are on their way a second id, and so a second payload. Pure.
 */
import { earliestIdTimeFrom, everyTime, parseIdTimeFrom } from "../../shared/id-time.ts";
import { limits } from "../../shared/limits.ts";
import { UserError } from "../user-error.ts";
import type { Present } from "./present.ts";

export interface IdTimeFrom {
  readonly from: string;
  /** No ingress knows it yet, and there may be one that gives ids of version 1: it has to lie ahead when this one is deployed. */
  readonly isAhead: boolean;
}

/** The steps before the ingress's deployment may take so long: a person's consent, migrations. */
const planMs = 60 * 60_000;

/** `given`: the person's own, or empty. Throws `UserError`. */
export function chooseIdTimeFrom(
  given: string,
  { hasBucket, hasIngress, idTimes }: Pick<Present, "hasBucket" | "hasIngress" | "idTimes">,
  now: number,
): IdTimeFrom {
  if (given !== "" && parseIdTimeFrom(given) === undefined) {
    throw new UserError(`ID_TIME_FROM is a time in UTC such as 2026-11-29T08:00Z, not "${given}"`);
  }
  // What is deployed tells it. After a rollback to a version from before there was one, those since then do.
  const known = idTimes.deployed.length > 0 ? idTimes.deployed : idTimes.earlier;
  const [from, ...others] = new Set(known);
  if (from !== undefined && (given === "" ? others.length === 0 : known.includes(given))) {
    return { from: given === "" ? from : given, isAhead: false };
  }
  if (from !== undefined) {
    throw new UserError(
      others.length === 0
        ? `ID_TIME_FROM is ${from} in the ingress, and stays so: with another one, bytes that a client sends again would be stored twice`
        : `versions of the ingress have ID_TIME_FROM ${known.join(" and ")}: deploy one of them to all requests, or set ID_TIME_FROM to the one that was there first`,
    );
  }
  // Nobody has been given an id yet.
  const isFresh = !hasBucket && !hasIngress;
  const chosen = given !== "" ? given : isFresh ? everyTime : earliestIdTimeFrom(now + planMs);
  const idTime = { from: chosen, isAhead: !isFresh };
  checkIdTimeFrom(idTime, now);
  return idTime;
}

/** Before the ingress is deployed: its plan may have waited for long. Throws `UserError`. */
export function checkIdTimeFrom({ from, isAhead }: IdTimeFrom, now: number): void {
  const earliest = earliestIdTimeFrom(now);
  if (isAhead && (parseIdTimeFrom(from) ?? 0) < (parseIdTimeFrom(earliest) ?? 0)) {
    const hours = limits.idTimeLeadMs / 3_600_000;
    throw new UserError(
      `ID_TIME_FROM=${from} is less than ${hours} hours ahead: leave it out, or say ${earliest} or later. (If it was planned by this command, the plan has waited for too long: run it again.)`,
    );
  }
}
