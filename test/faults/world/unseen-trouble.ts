/**
 * Trouble that no open finding says, as the judge of the alerts should have seen it: by all groups, whatever else is in trouble. Nothing
 * here is shared with the code under test but the shapes of its data.
 */
import type { Finding } from "../../../shared/finding.ts";
import type { Group } from "../../../shared/ledger/group.ts";
import { limits, MINUTE_MS } from "../../../shared/limits.ts";

/** A payload's arrival is of another clock than its group's age. */
const workMs = limits.alertInFlightMs + MINUTE_MS;

/** Of what has been in trouble for long enough at `now`. Null: all of it is said. */
export function unseenTrouble(
  groups: Iterable<Group>,
  open: readonly Finding[],
  refusedHeldMs: number,
  now: number,
): string | null {
  const said = new Set(open.map(({ kind, subject }) => `${kind} ${subject}`));
  const isSaid = (...names: readonly string[]): boolean => names.some((name) => said.has(name));
  for (const { id, state, payloads, failure, refusals, lastRefusalAt, made } of groups) {
    const [first] = payloads;
    if (state.at === "held") {
      const unsaid = state.found.find(({ key }) => !isSaid(`inexact ${key}`, "inexact ledger"));
      if (unsaid !== undefined) {
        return `${unsaid.key} is held`;
      }
      continue;
    }
    if (payloads.length === 1 && refusals > 0 && failure?.kind === "refused") {
      if (now - lastRefusalAt < refusedHeldMs || isSaid(`refused ${first?.key}`, "refused ledger")) {
        continue;
      }
      return `${first?.key} is refused`;
    }
    const isErasure = /^(not erased|rows are to be erased): /.test(failure?.text ?? "");
    const failedFor = failure === null ? 0 : now - Math.max(failure.since, made);
    if (isErasure && failedFor > limits.alertInFlightMs && !isSaid("in_flight erasure")) {
      return `the erasure ${id} fails`;
    }
    const isWork = payloads.some(({ cause, erase }) => cause !== "replay" && erase === null);
    if (isWork && now - made > workMs && !isSaid("in_flight ledger")) {
      return `${id} is in flight`;
    }
  }
  return null;
}
