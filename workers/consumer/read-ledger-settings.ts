/**
 * The durations of the protocol for this deployment: the ledger's leases and fences, and the INSERTs that they count on,
 * must come from one place.
 */

import { defaultSettings, type LedgerSettings, settingsFaster } from "../../shared/ledger/settings.ts";
import {
  type ReconcileSettings,
  reconcileSettings,
  reconcileSettingsFaster,
} from "../../shared/reconcile/settings.ts";

/** Throws (an assertion) when the divisor makes no sense. */
export function readLedgerSettings(env: { readonly LEDGER_TIMES_FASTER?: string }): LedgerSettings {
  const faster = env.LEDGER_TIMES_FASTER;
  return faster === undefined ? defaultSettings : settingsFaster(defaultSettings, Number(faster));
}

/** The reconciler's durations, divided likewise. */
export function readReconcileSettings(env: { readonly LEDGER_TIMES_FASTER?: string }): ReconcileSettings {
  const faster = env.LEDGER_TIMES_FASTER;
  return faster === undefined
    ? reconcileSettings
    : reconcileSettingsFaster(reconcileSettings, Number(faster));
}
