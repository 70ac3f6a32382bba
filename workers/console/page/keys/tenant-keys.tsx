/** A tenant's keys: their rates, and how much of their months is used. */
import { useState } from "preact/hooks";
import { aboutSchema, keysSchema, type ListedKey, usageSchema } from "../../../../shared/console/answers.ts";
import { useAnswer } from "../answer.ts";
import { Dialog } from "../dialog.tsx";
import { bytesText, countText } from "../format.ts";
import { KeyDialogs, type KeyTask } from "./key-dialogs.tsx";
import { KeyRow } from "./key-row.tsx";

interface TenantKeysDialogProps {
  readonly tenant: string;
  readonly everyMs: number;
  readonly onClose: () => void;
}

export function TenantKeysDialog({ tenant, everyMs, onClose }: TenantKeysDialogProps) {
  const asked = encodeURIComponent(tenant);
  const keys = useAnswer(`/api/keys?tenant=${asked}`, keysSchema, everyMs);
  const usage = useAnswer(`/api/usage?tenant=${asked}&days=1`, usageSchema, everyMs);
  const about = useAnswer("/api/about", aboutSchema);
  const [task, setTask] = useState<KeyTask | null>(null);
  const [said, setSaid] = useState("");
  const month = new Date().toISOString().slice(0, 7);
  const usageOf = (key: ListedKey) =>
    usage.value?.accounts?.find((one) => one.account === key.account && one.month === month);
  return (
    <Dialog title={`Keys of ${tenant}`} isWide onClose={onClose}>
      {(keys.failure || usage.failure) !== "" && (
        <p class="stale">Not up to date. {keys.failure || usage.failure}</p>
      )}
      {keys.value === undefined && keys.failure === "" && <p>Reading …</p>}
      {keys.value?.keys.length === 0 && <p class="empty">No key is listed for this tenant.</p>}
      {said !== "" && <p role="status">{said} The list shows it within a minute.</p>}
      {keys.value !== undefined && keys.value.keys.length > 0 && (
        <ul class="rows">
          {keys.value.keys.map((key) => (
            <KeyRow key={key.id} apiKey={key} showsTenant={false} onTask={setTask}>
              <Month used={usageOf(key)?.usedSpans} quota={key.spansPerMonth} month={month} unit="spans" />
              {key.bytesPerMonth !== null && (
                <Month used={usageOf(key)?.usedBytes} quota={key.bytesPerMonth} month={month} unit="bytes" />
              )}
            </KeyRow>
          ))}
        </ul>
      )}
      <div class="actions">
        <button type="button" onClick={() => setTask({ kind: "create", tenant })}>
          New key
        </button>
      </div>
      <KeyDialogs
        task={task}
        otlp={about.value?.otlp ?? ""}
        onClose={() => setTask(null)}
        onChanged={(_, text) => {
          setSaid(text);
          keys.again();
        }}
      />
    </Dialog>
  );
}

interface MonthProps {
  /** Undefined: no limited key of the tenant was used yet. */
  readonly used: number | undefined;
  readonly quota: number | null;
  readonly month: string;
  readonly unit: "spans" | "bytes";
}

function Month({ used = 0, quota, month, unit }: MonthProps) {
  if (quota === null) {
    return <p class="month note">no monthly quota</p>;
  }
  const share = used / quota;
  const amountText = unit === "spans" ? countText : bytesText;
  return (
    <div class="month">
      <meter
        value={Math.min(1, share)}
        max={1}
        high={0.8}
        optimum={0}
        aria-label={`Quota of ${month} used`}
      />
      <p class="note">
        {amountText(used)} of {amountText(quota)} {unit === "spans" ? "spans " : ""}in {month} (
        {Math.floor(share * 100)} %)
      </p>
    </div>
  );
}
