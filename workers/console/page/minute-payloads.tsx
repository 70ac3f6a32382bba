/** What arrived in one minute: behind a bar of the chart. */
import { useState } from "preact/hooks";
import { minutePayloadsSchema } from "../../../shared/console/answers.ts";
import { useAnswer } from "./answer.ts";
import { Dialog } from "./dialog.tsx";
import { countText, plural } from "./format.ts";
import { PayloadKey } from "./payload-key.tsx";
import { PayloadSpansDialog } from "./payload-spans.tsx";

const shownFirst = 50;

interface MinutePayloadsDialogProps {
  /** ISO 8601, UTC */
  readonly at: string;
  readonly onClose: () => void;
}

export function MinutePayloadsDialog({ at, onClose }: MinutePayloadsDialogProps) {
  const minute = at.slice(0, 16);
  const { value, failure } = useAnswer(`/api/minute-payloads?minute=${minute}`, minutePayloadsSchema);
  const [shownCount, setShownCount] = useState(shownFirst);
  const [opened, setOpened] = useState("");
  const payloads = value?.payloads ?? [];
  return (
    <Dialog title={`Payloads of ${minute.replace("T", " ")} UTC`} isWide onClose={onClose}>
      {failure !== "" && <p class="wrong">{failure}</p>}
      {value === undefined && failure === "" && <p>Reading …</p>}
      {value !== undefined && payloads.length === 0 && <p class="empty">Nothing arrived in this minute.</p>}
      {payloads.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">Payload</th>
              <th scope="col">Tenant</th>
              <th scope="col">How it ended</th>
              <th scope="col" class="number">
                Spans
              </th>
            </tr>
          </thead>
          <tbody>
            {payloads.slice(0, shownCount).map(({ key, tenant, outcome, spans, reason }) => (
              <tr key={key}>
                <td data-name="Payload">
                  <PayloadKey payloadKey={key} onOpen={setOpened} />
                </td>
                <td data-name="Tenant">{tenant}</td>
                <td
                  data-name="How it ended"
                  class={outcome === "dead" || outcome === "unaccounted" ? "bad" : ""}
                >
                  {outcome}
                  {reason !== "" && <p class="why">{reason}</p>}
                </td>
                <td data-name="Spans" class="number">
                  {spans === null ? "" : countText(spans)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {payloads.length > shownCount && (
        <button type="button" onClick={() => setShownCount(shownCount * 4)}>
          Show more of {plural(payloads.length, "payload")}
        </button>
      )}
      {value?.notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
    </Dialog>
  );
}
