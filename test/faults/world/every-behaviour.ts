/**
 * Of each harsh behaviour a world so small that all its schedules are run: one payload (two, where one is flawed), one
 * strike beside what happens to the world, and each thing that may happen does happen or does not.
 */
import { harshProfiles } from "./harsh-profiles.ts";
import type { Profile } from "./profile.ts";

/** Of what differs beside the strikes (when, which server, for how long) so much is not the plainest in one schedule. */
export const othersMax = 1;

/** What strikes only a look at rows or at processes needs more to come to it: incidents, and strikes with them. */
const wider: Readonly<Record<string, { readonly incidents: number; readonly strikes: number }>> = {
  "replica lags": { incidents: 1, strikes: 3 },
  "a KILL that fails": { incidents: 2, strikes: 3 },
  "processes are elsewhere": { incidents: 2, strikes: 3 },
  "processes of replicas are elsewhere": { incidents: 2, strikes: 3 },
};

/** It takes five strikes together until a KILL is sent and fails: that is left to seeds. */
export const leftToSeeds: ReadonlySet<string> = new Set(["kill fails"]);

export const behaviourWorlds: readonly Profile[] = harshProfiles.map(every);

function every(profile: Profile): Profile {
  const { faults, incidents, flaws, collects } = profile;
  const isFlawed = Object.keys(flaws).length > 0;
  const few = wider[profile.name] ?? { incidents: 1, strikes: 2 };
  // What the world is named after comes first.
  const first = Object.entries(incidents).slice(0, few.incidents);
  const count = isFlawed || collects > 0 ? 2 : 1;
  return {
    ...profile,
    name: `every: ${profile.name}`,
    payloads: { least: count, most: count },
    overMs: 0,
    resends: { least: Math.min(1, profile.resends.least), most: Math.min(1, profile.resends.least) },
    strikesMax: few.strikes,
    isCronSpared: true,
    days: profile.ttlDays === null ? 1 : 0,
    faults: certain(withoutDeaths(faults), () => 1),
    flaws: certain(flaws, () => 1),
    incidents: certain(Object.fromEntries(first), (incident) => ({ ...incident, times: 1, probability: 1 })),
  };
}

/** Our own parts' deaths strike everywhere in the small world "every answer and death". */
function withoutDeaths(faults: Profile["faults"]): Profile["faults"] {
  const { "consumer dies": _a, "ledger dies after": _b, "ledger answer lost": _c, ...others } = faults;
  return others;
}

function certain<K extends string, V>(
  some: Readonly<Partial<Record<K, V>>>,
  of: (value: V) => V,
): Readonly<Partial<Record<K, V>>> {
  return Object.fromEntries(Object.entries(some).map(([name, value]) => [name, of(value as V)])) as Partial<
    Record<K, V>
  >;
}
