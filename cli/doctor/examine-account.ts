/**
 * What of an installation is in its Cloudflare account, as wrangler lists it: the plan of a deployment, with every
 * Worker's code taken for right. It changes nothing.
 */
import { bad, type Check, good } from "../../shared/doctor/check.ts";
import { planDeployment } from "../deploy/plan.ts";
import { readRawConfig } from "../deploy/read-config.ts";
import { readPresent } from "../deploy/read-present.ts";
import { production, stageWorkers } from "../deploy/stage-config.ts";
import { wantedOf } from "../deploy/wanted.ts";
import type { Wrangler } from "../deploy/wrangler.ts";
import { UserError } from "../user-error.ts";

export async function examineAccount(wrangler: Wrangler, stage: string): Promise<readonly Check[]> {
  // The Workers' ClickHouse settings are left empty: the Workers check those themselves, and listing does not need them.
  const clickHouse = {
    url: "",
    user: "",
    database: "",
    tracesTable: "",
    cluster: "",
    network: "",
    consoleUser: "",
  };
  const access = { team: "", audience: "" };
  const wanted = wantedOf(
    stageWorkers(await readRawConfig(), {
      stage,
      clickHouse,
      access,
      domains: {},
      zoneId: "",
      idTimeFrom: "",
      collect: {},
    }),
  );
  const deploy = `npx headrace deploy${stage === production ? "" : ` --stage ${stage}`}`;
  try {
    const present = await readPresent(
      wrangler,
      wanted,
      async () => [],
      () => {},
    );
    const { steps, asPlanned, conflicts } = planDeployment(wanted, present, {
      tagOf: ({ worker }) => present.workers.get(worker.name)?.tag ?? undefined,
      given: new Set(),
      setSecrets: false,
    });
    return [
      ...(asPlanned.length === 0 ? [] : [good("cloudflare account", asPlanned.join(", "))]),
      ...steps.map(({ kind, what }) => bad(`cloudflare ${kind}`, `to be done: ${what}`, deploy)),
      ...conflicts.map((conflict) => bad("cloudflare rule", conflict, deploy)),
    ];
  } catch (error) {
    if (error instanceof UserError) {
      const mend =
        "set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID (docs/operating.md lists the permissions)";
      return [bad("cloudflare account", error.message.split("\n").slice(0, 3).join(" "), mend)];
    }
    throw error;
  }
}
