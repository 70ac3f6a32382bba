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
import { useAnswer } from "./answer.ts";
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
import { useNow } from "./now.ts";
import { judge, stateText } from "./state.ts";
import { Tenants } from "./tenants.tsx";
import { Top } from "./top.tsx";
import { TurnedAway } from "./turned-away.tsx";

/** The ledger answers from memory; ClickHouse is asked less often. */
const ledgerEveryMs = 2000;
const clickHouseEveryMs = 5000;

interface OverviewProps {
  readonly apiKey: string;
  readonly onSignOut: () => void;
}

export function Overview({ apiKey, onSignOut }: OverviewProps) {
  const now = useNow();
  const about = useAnswer("/api/about", aboutSchema);
  const asked = useOverview();
  const { watermark, inFlight, status, hour, findings, deadLetters } = asked;
  const { notices, reportFindings, dismiss } = useNotices();
  const open = findings.value?.filter(({ state }) => state === "open") ?? [];
  useTitle(watermark.value?.watermark ?? "", open.length);

  const state = judge(watermark.value, status.value, open, {
    isUnread: Object.values(asked).some(({ failure }) => failure !== ""),
    isRefused: inFlight.value?.groups.some(({ failure }) => (failure?.refused ?? 0) > 1) === true,
  });
  const trouble = status.value?.trouble ?? "";
  const again = (): void => {
    for (const one of [inFlight, status, hour, deadLetters, findings]) {
      one.again();
    }
  };

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
        {isEmpty(asked) && <FirstSteps about={about} apiKey={apiKey} />}
        <Findings findings={findings} now={now} isPartial={hour.failure !== ""} />
        <Held
          held={status.value?.held ?? []}
          count={status.value?.heldCount ?? 0}
          reportFindings={reportFindings}
          onDone={again}
        />
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
      <Footer onSignOut={onSignOut} />
    </>
  );
}

/** What the overview asks for again and again. */
function useOverview() {
  return {
    watermark: useAnswer("/api/watermark", watermarkSchema, ledgerEveryMs),
    inFlight: useAnswer("/api/in-flight", inFlightSchema, ledgerEveryMs),
    status: useAnswer("/api/status", statusSchema, ledgerEveryMs),
    hour: useAnswer("/api/minutes?hours=1", minutesSchema, clickHouseEveryMs),
    findings: useAnswer("/api/findings", findingsSchema, clickHouseEveryMs),
    deadLetters: useAnswer("/api/dead-letters", deadLettersSchema, clickHouseEveryMs),
  };
}

/** Nothing arrived in the last hour, and nothing waits. */
function isEmpty({ hour, deadLetters, inFlight }: ReturnType<typeof useOverview>): boolean {
  return hour.value?.tenantsCount === 0 && deadLetters.value?.length === 0 && inFlight.value?.payloads === 0;
}

/** The tab says how many findings are open, and where the watermark is. */
function useTitle(watermark: string, openCount: number): void {
  useEffect(() => {
    const open = openCount > 0 ? `(${openCount}) ` : "";
    document.title = `${open}${watermark === "" ? "" : `${clockText(watermark)} · `}Headrace`;
  }, [watermark, openCount]);
}

function Footer({ onSignOut }: { readonly onSignOut: () => void }) {
  return (
    <footer>
      <p>
        All times are UTC. The page asks again every few seconds while it is visible. The same answers:{" "}
        <code>GET /api/…</code>, <code>GET /metrics</code>.
      </p>
      <button type="button" class="quiet" onClick={onSignOut}>
        Sign out
      </button>
    </footer>
  );
}
