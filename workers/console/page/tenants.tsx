/** Who sent what in the last hour. */
import { useState } from "preact/hooks";
import type { Minutes } from "../../../shared/console/answers.ts";
import { bytesText, countText, rateText } from "./format.ts";
import { TenantKeysDialog } from "./keys/tenant-keys.tsx";
import { Panel } from "./panel.tsx";
import type { Polled } from "./polling.ts";

interface TenantsProps {
  readonly hour: Polled<Minutes>;
  readonly everyMs: number;
}

export function Tenants({ hour, everyMs }: TenantsProps) {
  const { value } = hour;
  const [opened, setOpened] = useState("");
  if (value === undefined) {
    return null;
  }
  const seconds = value.steps.length * value.stepSeconds;
  return (
    <Panel id="tenants" title="Tenants, last hour">
      {value.tenants.length === 0 ? (
        <p class="empty">Nobody sent anything in the last hour.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">Tenant</th>
              <th scope="col" class="number">
                Spans
              </th>
              <th scope="col" class="number">
                Spans per second
              </th>
              <th scope="col" class="number">
                Payloads
              </th>
              <th scope="col" class="number">
                Received
              </th>
              <th scope="col" class="number">
                Rejected spans
              </th>
              <th scope="col" class="number">
                Dead
              </th>
            </tr>
          </thead>
          <tbody>
            {value.tenants.map((tenant) => (
              <tr key={tenant.tenant}>
                <td data-name="Tenant">
                  <button type="button" class="link" onClick={() => setOpened(tenant.tenant)}>
                    {tenant.tenant}
                    <span class="hidden">, rates and quotas of its keys</span>
                  </button>
                </td>
                <td data-name="Spans" class="number">
                  {countText(tenant.spans)}
                </td>
                <td data-name="Spans per second" class="number">
                  {rateText(tenant.spans / seconds)}
                </td>
                <td data-name="Payloads" class="number">
                  {countText(tenant.accepted)}
                </td>
                <td data-name="Received" class="number">
                  {bytesText(tenant.bytes)}
                </td>
                <td data-name="Rejected spans" class="number">
                  {countText(tenant.rejectedSpans)}
                </td>
                <td data-name="Dead" class="number">
                  {countText(tenant.dead)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
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
