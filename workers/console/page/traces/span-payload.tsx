/** Which payload brought a span, when, in which group, and how that ended. */
import { useState } from "preact/hooks";
import { payloadSchema } from "../../../../shared/console/answers.ts";
import type { TracePayload } from "../../../../shared/console/traces.ts";
import { limits } from "../../../../shared/limits.ts";
import { useAnswer } from "../answer.ts";
import { CopyButton } from "../copy-button.tsx";
import { isoOf, plural } from "../format.ts";
import { PayloadSpansDialog } from "../payload-spans.tsx";

/** What brought a span: a payload, one that the answer does not list, or another exporter. */
export type SpanOrigin = TracePayload | "unlisted" | "other";

export function originOf(payload: number | null, payloads: readonly TracePayload[]): SpanOrigin {
  return payload === null ? "other" : (payloads[payload] ?? "unlisted");
}

export function SpanPayload({ origin }: { readonly origin: SpanOrigin }) {
  return (
    <section>
      <h3>How it came here</h3>
      {origin === "other" && <p class="note">Not through Headrace: another exporter wrote this row.</p>}
      {origin === "unlisted" && (
        <p class="note">
          In a payload that is not among the {limits.payloadsListed} that are listed of this trace.
        </p>
      )}
      {typeof origin !== "string" && <KnownPayload payload={origin} />}
    </section>
  );
}

function KnownPayload({ payload }: { readonly payload: TracePayload }) {
  const [wantsStory, setWantsStory] = useState(false);
  const [opened, setOpened] = useState("");
  const story = useAnswer(wantsStory ? `/api/payload?id=${payload.payload}` : "", payloadSchema);
  const { receipts, keys, spansInAll } = payload;
  const [receipt] = receipts;
  return (
    <>
      <p>
        In payload <span class="key whole">{payload.payload}</span>{" "}
        <CopyButton text={keys[0] ?? payload.payload} label="Copy key" /> of {plural(spansInAll, "span")},
        tenant <bdi>{payload.tenant}</bdi>
        {receipt === undefined
          ? ". Its receipt is not written yet."
          : `, accepted in the minute of ${isoOf(receipt.arrival).slice(0, 16).replace("T", " ")} UTC. `}
        {receipt !== undefined && (
          <>
            <b>{receipt.outcome}</b>
            {receipt.group !== "" && (
              <>
                {" "}
                in group <span class="key">{receipt.group.slice(0, 8)}</span>
              </>
            )}
            {receipt.reason !== "" && <bdi>: {receipt.reason}</bdi>}, receipt at{" "}
            {isoOf(receipt.at).slice(0, 19).replace("T", " ")} UTC.
          </>
        )}
        {receipts.length > 1 && ` The same bytes came ${receipts.length} times: they are stored once.`}
      </p>
      <div class="actions">
        {keys[0] !== undefined && (
          <button type="button" onClick={() => setOpened(keys[0] ?? "")}>
            Look into the payload
          </button>
        )}
        {!wantsStory && (
          <button type="button" onClick={() => setWantsStory(true)}>
            What happened to it
          </button>
        )}
      </div>
      {story.failure !== "" && <p class="stale">{story.failure}</p>}
      {story.value !== undefined && (
        <ol class="events">
          {story.value.steps.map(({ at, what }, index) => (
            <li key={index}>
              <span class="note">{isoOf(at).slice(0, 19).replace("T", " ")}</span> <bdi>{what}</bdi>
            </li>
          ))}
        </ol>
      )}
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
    </>
  );
}
