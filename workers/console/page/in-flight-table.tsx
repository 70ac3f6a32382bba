/** What has been accepted and has not ended: the oldest groups, and what each waits for. */
import { useState } from "preact/hooks";
import type { InFlightAnswer } from "../../../shared/console/answers.ts";
import { elapsedText } from "../../../shared/console/duration-text.ts";
import { failureText } from "../../../shared/failure.ts";
import { waitsForText } from "../../../shared/ledger/in-flight.ts";
import type { Answer } from "./answer.ts";
import { countText, plural } from "./format.ts";
import { Panel } from "./panel.tsx";
import { PayloadKey } from "./payload-key.tsx";
import { PayloadSpansDialog } from "./payload-spans.tsx";

interface InFlightProps {
  readonly inFlight: Answer<InFlightAnswer>;
  readonly now: number;
}

export function InFlight({ inFlight, now }: InFlightProps) {
  const [opened, setOpened] = useState("");
  const { value, failure } = inFlight;
  return (
    <Panel
      id="in-flight"
      title="In flight"
      failure={failure}
      aside={
        value !== undefined && (
          <p class="note">
            {plural(value.groupsCount, "group")}
            {value.waiting > 0 && `, ${plural(value.waiting, "payload")} waiting to become one`}
          </p>
        )
      }
    >
      {value !== undefined && value.groups.length === 0 && (
        <p class="empty">Nothing is in flight: all that was accepted has ended.</p>
      )}
      {value !== undefined && value.groups.length > 0 && (
        <GroupTable groups={value.groups} now={now} onOpen={setOpened} />
      )}
      {value !== undefined && value.groupsCount > value.groups.length && (
        <p class="note">
          The oldest {countText(value.groups.length)} of {plural(value.groupsCount, "group")}.
        </p>
      )}
      {opened !== "" && <PayloadSpansDialog payloadKey={opened} onClose={() => setOpened("")} />}
    </Panel>
  );
}

type Group = InFlightAnswer["groups"][number];

interface GroupTableProps {
  readonly groups: readonly Group[];
  readonly now: number;
  /** With a payload's key. */
  readonly onOpen: (key: string) => void;
}

function GroupTable({ groups, now, onOpen }: GroupTableProps) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Group</th>
          <th scope="col">State</th>
          <th scope="col">Waits for</th>
          <th scope="col" class="number">
            Age
          </th>
          <th scope="col" class="number">
            Attempts
          </th>
          <th scope="col" class="number">
            Spans
          </th>
          <th scope="col">Payloads</th>
        </tr>
      </thead>
      <tbody>
        {groups.map((group) => (
          <GroupRow key={group.group} group={group} now={now} onOpen={onOpen} />
        ))}
      </tbody>
    </table>
  );
}

interface GroupRowProps extends Pick<GroupTableProps, "now" | "onOpen"> {
  readonly group: Group;
}

function GroupRow({ group, now, onOpen }: GroupRowProps) {
  return (
    <tr>
      <td data-name="Group" class="key" title={group.group}>
        {group.group.slice(0, 8)}
      </td>
      <td data-name="State">
        {group.state}
        {group.outcomeUnknown && <em class="late">outcome unknown</em>}
      </td>
      <td data-name="Waits for">
        {waitsForText(group.waitsFor)}
        {group.until !== null && group.until > now && `, in ${elapsedText(group.until - now)}`}
        {group.failure !== null && <p class="why">{failureText(group.failure)}</p>}
      </td>
      <td data-name="Age" class="number">
        {elapsedText(now - group.oldestArrival)}
      </td>
      <td data-name="Attempts" class="number">
        {countText(group.attempts)}
      </td>
      <td data-name="Spans" class="number">
        {countText(group.spans)}
      </td>
      <td data-name="Payloads">
        {group.keys.slice(0, 2).map((key) => (
          <PayloadKey key={key} payloadKey={key} onOpen={onOpen} />
        ))}
        {group.payloads > 2 && <span class="note">and {countText(group.payloads - 2)} more</span>}
      </td>
    </tr>
  );
}
