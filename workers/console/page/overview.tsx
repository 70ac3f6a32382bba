/** Everything at a glance: has all that was accepted arrived, and if not, what has not? */
import { useEffect } from "preact/hooks";
import {
  aboutSchema,
  deadLettersSchema,
  findingsSchema,
  inFlightSchema,
  minutesSchema,
  statusSchema,
  watermarkSchema,
} from "../../../shared/console/answers.ts";
import { DeadLetters } from "./dead-letters.tsx";
import { Findings } from "./findings.tsx";
import { FirstSteps } from "./first-steps.tsx";
import { clockText } from "./format.ts";
import { FrontDoor } from "./front-door.tsx";
import { Held } from "./held.tsx";
import { Hero } from "./hero.tsx";
import { InFlight } from "./in-flight-table.tsx";
import { MinutesPanel } from "./minutes-panel.tsx";
import { NoticeList, useNotices } from "./notices.tsx";
import { useNow, usePolled } from "./polling.ts";
import { judge, stateText } from "./state.ts";
import { Tenants } from "./tenants.tsx";
import { Top } from "./top.tsx";
import { TurnedAway } from "./turned-away.tsx";

/** The ledger answers from memory; ClickHouse is asked less often. */
const ledgerEveryMs = 2000;
const clickHouseEveryMs = 5000;
const onceMs = 3_600_000;

interface OverviewProps {
  readonly apiKey: string;
  readonly onSignOut: () => void;
}

export function Overview({ apiKey, onSignOut }: OverviewProps) {
  const now = useNow();
  const about = usePolled("/api/about", aboutSchema, onceMs);
  const watermark = usePolled("/api/watermark", watermarkSchema, ledgerEveryMs);
  const inFlight = usePolled("/api/in-flight", inFlightSchema, ledgerEveryMs);
  const status = usePolled("/api/status", statusSchema, ledgerEveryMs);
  const hour = usePolled("/api/minutes?hours=1", minutesSchema, clickHouseEveryMs);
  const findings = usePolled("/api/findings", findingsSchema, clickHouseEveryMs);
  const deadLetters = usePolled("/api/dead-letters", deadLettersSchema, clickHouseEveryMs);
  const { notices, reportFindings, dismiss } = useNotices();

  const open = findings.value?.filter(({ state }) => state === "open") ?? [];
  const state = judge(watermark.value, status.value, open, {
    isUnread: [watermark, inFlight, status, hour, findings, deadLetters].some(
      ({ failure }) => failure !== "",
    ),
    isRefused: inFlight.value?.groups.some(({ failure }) => (failure?.refused ?? 0) > 1) === true,
  });
  const trouble = status.value?.trouble ?? "";
  const title = watermark.value?.watermark ?? "";
  useEffect(() => {
    document.title = `${open.length > 0 ? `(${open.length}) ` : ""}${title === "" ? "" : `${clockText(title)} · `}Headrace`;
  }, [title, open.length]);

  const again = (): void => {
    for (const polled of [inFlight, status, hour, deadLetters, findings]) {
      polled.again();
    }
  };
  const isEmpty =
    hour.value !== undefined &&
    deadLetters.value?.length === 0 &&
    inFlight.value?.payloads === 0 &&
    hour.value.tenantsCount === 0;

  return (
    <>
      <Top page="overview">
        <p class={`state ${state}`} role="status">
          {stateText(state)}
        </p>
      </Top>
      <main>
        <Hero
          now={now}
          state={state}
          watermark={watermark}
          status={status.value}
          inFlight={inFlight.value}
          hour={hour.value}
          dead={deadLetters.failure === "" ? deadLetters.value?.length : undefined}
        />
        {trouble !== "" && (
          <p class="trouble" role="alert">
            {trouble}
          </p>
        )}
        <NoticeList notices={notices} onDismiss={dismiss} />
        {isEmpty && <FirstSteps otlp={about.value?.otlp ?? ""} apiKey={apiKey} />}
        <Findings findings={findings} now={now} isPartial={hour.failure !== ""} />
        <Held held={status.value?.held ?? []} reportFindings={reportFindings} onDone={again} />
        <MinutesPanel
          hour={hour}
          watermark={watermark.value?.watermark ?? null}
          everyMs={clickHouseEveryMs}
        />
        <InFlight inFlight={inFlight} now={now} />
        <DeadLetters deadLetters={deadLetters} now={now} reportFindings={reportFindings} onDone={again} />
        <TurnedAway everyMs={clickHouseEveryMs} />
        <FrontDoor lines={status.value?.frontDoor ?? []} />
        <Tenants hour={hour} everyMs={clickHouseEveryMs} />
      </main>
      <footer>
        <p>
          All times are UTC. The page asks again every few seconds while it is visible. The same answers:{" "}
          <code>GET /api/…</code>, <code>GET /metrics</code>.
        </p>
        <button type="button" class="quiet" onClick={onSignOut}>
          Sign out
        </button>
      </footer>
    </>
  );
}
