/** Who sent what in the last hour. */
import { useState } from "preact/hooks";
import type { Minutes } from "../../../shared/console/answers.ts";
import type { Answer } from "./answer.ts";
import { bytesText, countText, rateText } from "./format.ts";
import { TenantKeysDialog } from "./keys/tenant-keys.tsx";
import { Panel } from "./panel.tsx";

interface TenantsProps {
  readonly hour: Answer<Minutes>;
  readonly everyMs: number;
}

export function Tenants({ hour, everyMs }: TenantsProps) {
  const { value } = hour;
  const [opened, setOpened] = useState("");
  if (value === undefined) {
    return null;
  }
  return (
    <Panel id="tenants" title="Tenants, last hour">
      {value.tenants.length === 0 ? (
        <p class="empty">Nobody sent anything in the last hour.</p>
      ) : (
        <TenantTable hour={value} onOpen={setOpened} />
      )}
      {value.tenants.some(({ rejectedSpans }) => rejectedSpans > 0) && (
        <p class="note">
          Rejected: refused one by one within requests that were accepted. Requests that were refused whole
          are under Turned away.
        </p>
      )}
      {value.tenantsCount > value.tenants.length && (
        <p class="note">
          The first {countText(value.tenants.length)} of {countText(value.tenantsCount)}.
        </p>
      )}
      {opened !== "" && <TenantKeysDialog tenant={opened} everyMs={everyMs} onClose={() => setOpened("")} />}
    </Panel>
  );
}

interface TenantTableProps {
  readonly hour: Minutes;
  /** With the tenant's name. */
  readonly onOpen: (tenant: string) => void;
}

function TenantTable({ hour: { tenants, steps, stepSeconds }, onOpen }: TenantTableProps) {
  const seconds = steps.length * stepSeconds;
  /** By the heading of the column. */
  const cellsOf = (tenant: Minutes["tenants"][number]): readonly (readonly [string, string])[] => [
    ["Spans", countText(tenant.spans)],
    ["Spans per second", rateText(tenant.spans / seconds)],
    ["Payloads", countText(tenant.accepted)],
    ["Received", bytesText(tenant.bytes)],
    ["Rejected spans", countText(tenant.rejectedSpans)],
    ["Dead", countText(tenant.dead)],
  ];
  const [first] = tenants;
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Tenant</th>
          {(first === undefined ? [] : cellsOf(first)).map(([name]) => (
            <th key={name} scope="col" class="number">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {tenants.map((tenant) => (
          <tr key={tenant.tenant}>
            <td data-name="Tenant">
              <button type="button" class="link" onClick={() => onOpen(tenant.tenant)}>
                {tenant.tenant}
                <span class="hidden">, rates and quotas of its keys</span>
              </button>
            </td>
            {cellsOf(tenant).map(([name, text]) => (
              <td key={name} data-name={name} class="number">
                {text}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
