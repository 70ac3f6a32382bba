/** What is in a payload: its first spans, decoded as they would be stored. */
import { type PayloadSpans, payloadSpansSchema } from "../../../shared/console/answers.ts";
import { durationText } from "../../../shared/console/duration-text.ts";
import { tracePagePath } from "../../../shared/console/page-routes.ts";
import { useAnswer } from "./answer.ts";
import { CopyButton } from "./copy-button.tsx";
import { Dialog } from "./dialog.tsx";
import { bytesText, countText, keyParts, plural, shortId } from "./format.ts";

interface PayloadSpansDialogProps {
  readonly payloadKey: string;
  readonly onClose: () => void;
}

export function PayloadSpansDialog({ payloadKey, onClose }: PayloadSpansDialogProps) {
  const { value, failure } = useAnswer(
    `/api/payload-spans?key=${encodeURIComponent(payloadKey)}`,
    payloadSpansSchema,
  );
  const { tenant, minute, id } = keyParts(payloadKey);
  return (
    <Dialog title={`Payload ${shortId(id)}`} isWide onClose={onClose}>
      <p class="note">
        {tenant}, arrived {minute.replace("T", " ")} UTC. <span class="key whole">{payloadKey}</span>{" "}
        <CopyButton text={payloadKey} label="Copy key" />
      </p>
      {value === undefined && failure === "" && <p>Decoding …</p>}
      {failure !== "" && <p class="wrong">{failure}</p>}
      {value !== undefined && <Decoded payload={value} />}
    </Dialog>
  );
}

function Decoded({ payload }: { readonly payload: PayloadSpans }) {
  const { spans, spansCount, failure, bytes, type, encoding } = payload;
  const form = type === "pb" ? "protobuf" : "JSON";
  return (
    <>
      <p>
        {plural(spansCount, "span")} in {bytesText(bytes)} of {form}
        {encoding === "identity" ? "" : `, ${encoding}`}.
        {spans.length < spansCount && ` The first ${countText(spans.length)} are shown.`}
      </p>
      {failure !== "" && (
        <p class="wrong">
          {spans.length > 0 ? "It could be read this far. Then: " : "It could not be read: "}
          {failure}
        </p>
      )}
      <ol class="spans">
        {spans.map((span, index) => (
          <li key={index}>
            <details>
              <summary>
                <bdi class="name">{span.name === "" ? "(no name)" : span.name}</bdi>
                <span class="note">
                  <bdi>{span.service}</bdi> · {span.kind} · {durationText(span.durationMs * 1e6)}
                </span>
                {span.status === "Error" && <em class="bad">error</em>}
                {span.rejected !== "" && <em class="bad">refused: {span.rejected}</em>}
              </summary>
              <p class="note">
                trace{" "}
                <a class="key" href={`#${tracePagePath(span.traceId, span.spanId)}`}>
                  {span.traceId}
                </a>
              </p>
              <Pairs
                pairs={[
                  ["span id", span.spanId],
                  ["parent", span.parentSpanId],
                  ["start", span.start],
                  ["status", [span.status, span.statusMessage].filter((text) => text !== "").join(": ")],
                  ["scope", span.scope],
                  ["events, links", `${span.events}, ${span.links}`],
                ]}
              />
              <h3>Attributes</h3>
              <Pairs pairs={span.attributes} />
              <h3>Resource</h3>
              <Pairs pairs={span.resource} />
            </details>
          </li>
        ))}
      </ol>
    </>
  );
}

function Pairs({ pairs }: { readonly pairs: readonly (readonly [string, string])[] }) {
  const said = pairs.filter(([, value]) => value !== "");
  return said.length === 0 ? (
    <p class="note">none</p>
  ) : (
    <dl class="pairs">
      {said.map(([name, value], index) => (
        <div key={index}>
          <dt>
            <bdi>{name}</bdi>
          </dt>
          <dd>
            <bdi>{value}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}
