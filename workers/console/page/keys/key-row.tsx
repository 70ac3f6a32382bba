/** One key: whose it is, whether it works, what it may send, and what can be done about it. */
import type { ComponentChildren } from "preact";
import type { ListedKey } from "../../../../shared/console/answers.ts";
import { bytesText, countText } from "../format.ts";
import type { KeyTask } from "./key-dialogs.tsx";
import { percentOf } from "./key-form.tsx";

interface KeyRowProps {
  readonly apiKey: ListedKey;
  readonly showsTenant: boolean;
  readonly onTask: (task: KeyTask) => void;
  readonly children?: ComponentChildren;
}

export function KeyRow({ apiKey, showsTenant, onTask, children }: KeyRowProps) {
  const { id, tenant, name, status, expiresAt } = apiKey;
  const isOver = expiresAt !== null && Date.parse(expiresAt) <= Date.now();
  const isRevoked = status === "revoked";
  return (
    <li>
      <div>
        <p>
          <strong>
            {showsTenant && `${tenant} / `}
            <bdi>{name}</bdi>
          </strong>{" "}
          <span class="key" title={id}>
            {id.slice(0, 8)}
          </span>
          {status !== "active" && <em class="late">{status}</em>}
          {expiresAt !== null && !isRevoked && (
            <em class="late">
              {isOver ? "ended" : "until"} {expiresAt.slice(0, 16).replace("T", " ")} UTC
            </em>
          )}
        </p>
        <p class="note">{rateText(apiKey)}</p>
      </div>
      {children}
      {!isRevoked && (
        <div class="actions">
          <button type="button" onClick={() => onTask({ kind: "change", key: apiKey })}>
            Change
          </button>
          <button
            type="button"
            disabled={isOver || status !== "active"}
            onClick={() => onTask({ kind: "rotate", key: apiKey })}
          >
            Rotate
          </button>
          <button type="button" onClick={() => onTask({ kind: "switch", key: apiKey })}>
            {status === "active" ? "Disable" : "Enable"}
          </button>
          <button type="button" class="danger" onClick={() => onTask({ kind: "revoke", key: apiKey })}>
            Revoke
          </button>
        </div>
      )}
    </li>
  );
}

function rateText(key: ListedKey): string {
  const { spansPerSecond, burstSpans, spansPerMonth, bytesPerSecond, burstBytes, bytesPerMonth, sample } =
    key;
  const spans =
    spansPerSecond === null
      ? "no rate limit"
      : `${countText(spansPerSecond)} spans per second${burstSpans === null ? "" : `, bursts of ${countText(burstSpans)}`}`;
  const bytes =
    bytesPerSecond === null
      ? ""
      : `, ${bytesText(bytesPerSecond)} per second${burstBytes === null ? "" : `, bursts of ${bytesText(burstBytes)}`}`;
  const month = [
    spansPerMonth === null ? "" : `${countText(spansPerMonth)} spans`,
    bytesPerMonth === null ? "" : bytesText(bytesPerMonth),
  ]
    .filter((text) => text !== "")
    .join(" and ");
  return `${spans}${bytes}${month === "" ? "" : `; ${month} per month`}${sample === 1 ? "" : `; keeps ${percentOf(sample)} % of traces`}`;
}
