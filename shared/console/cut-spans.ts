/** Whether an answer has all that a span says: texts and lists that are too long are cut in it. */
import { limits } from "../limits.ts";
import type { Attributes, Trace, TraceSpan } from "./traces.ts";

/** `textChars`: of the longest text that the answer leaves alone. A span whose attributes are left out altogether is not cut. */
export function isCut(
  span: TraceSpan,
  resource: Trace["resources"][number] | undefined,
  textChars: number = limits.traceTextCharsMax,
): boolean {
  const { name, statusMessage, scope, attributes, events, links } = span;
  const lists: readonly { readonly attributes: Attributes; readonly attributesCount: number }[] = [
    ...(attributes === null ? [] : [{ ...span, attributes }]),
    ...(resource === undefined ? [] : [resource]),
    ...(events ?? []),
    ...(links ?? []),
  ];
  const isLong = (text: string): boolean => isCutText(text, textChars);
  return (
    (events !== null && events.length < span.eventsCount) ||
    (links !== null && links.length < span.linksCount) ||
    lists.some(
      (list) =>
        list.attributes.length < list.attributesCount || list.attributes.some((pair) => pair.some(isLong)),
    ) ||
    [name, statusMessage, scope, ...(events ?? []).map((event) => event.name)].some(isLong)
  );
}

/** What is left of a cut text is `textChars` characters, as ClickHouse counts them, and …: another text may end in it too. */
function isCutText(text: string, textChars: number): boolean {
  return text.length > textChars && text.endsWith("…") && [...text].length === textChars + 1;
}
