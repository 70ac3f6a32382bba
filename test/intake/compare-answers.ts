/** What came of a case at one receiver, in terms that two receivers share, and whether two agree. */
import * as v from "valibot";

export const answerSchema = v.object({
  /** As answered, without following redirects. */
  status: v.number(),
  /** Spans that it took: passed on by the Collector, stored by us. */
  spans: v.number(),
  /** What it said, cut. */
  message: v.string(),
});
export type IntakeAnswer = v.InferOutput<typeof answerSchema>;

/** Only this is compared; the words are each receiver's own. */
function sayAlike(a: IntakeAnswer, b: IntakeAnswer): boolean {
  return a.status === b.status && a.spans === b.spans;
}

function worded({ status, spans, message }: IntakeAnswer): string {
  const said = message === "" ? "" : `: ${message.slice(0, 120)}`;
  return `${status}, ${spans} spans${said}`;
}

/** The cases that differ without a class, and those that have one and do not differ. */
export interface Comparison {
  readonly byClass: ReadonlyMap<string, readonly string[]>;
  readonly unexplained: readonly string[];
  readonly noDifference: readonly string[];
}

export function compareAnswers(
  cases: readonly { readonly name: string; readonly differs?: string }[],
  theirs: ReadonlyMap<string, IntakeAnswer>,
  ours: ReadonlyMap<string, IntakeAnswer>,
): Comparison {
  const byClass = new Map<string, string[]>();
  const unexplained: string[] = [];
  const noDifference = new Map<string, string[]>();
  for (const { name, differs } of cases) {
    const [their, our] = [theirs.get(name), ours.get(name)];
    if (their === undefined || our === undefined) {
      unexplained.push(`${name}: no answer`);
      continue;
    }
    const line = `${name}: the Collector ${worded(their)}; Headrace ${worded(our)}`;
    if (sayAlike(their, our)) {
      if (differs !== undefined) {
        noDifference.set(differs, [...(noDifference.get(differs) ?? []), line]);
      }
    } else if (differs === undefined) {
      unexplained.push(line);
    } else {
      byClass.set(differs, [...(byClass.get(differs) ?? []), line]);
    }
  }
  // Of a class that is sent in two forms, one may agree: what is wrong is a class without any difference.
  const idle = [...noDifference].filter(([name]) => !byClass.has(name)).flatMap(([, lines]) => lines);
  return { byClass, unexplained, noDifference: idle };
}
