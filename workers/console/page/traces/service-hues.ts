/** A colour per service: far apart for those that come first, and the same each time the trace is looked at. */

/** The golden angle: each further service lands in the widest gap. */
const stepDegrees = 137.508;
const firstDegrees = 190;

/** Degrees on the colour wheel, by service, in the order in which they appear. */
export function serviceHues(spans: readonly { readonly service: string }[]): ReadonlyMap<string, number> {
  const hues = new Map<string, number>();
  for (const { service } of spans) {
    if (!hues.has(service)) {
      hues.set(service, Math.round((firstDegrees + hues.size * stepDegrees) % 360));
    }
  }
  return hues;
}
