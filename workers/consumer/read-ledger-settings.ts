/**
 * The durations of the protocol for this deployment: the ledger's leases and fences, and the INSERTs that they count on,
 * must come from one place.
 */
import { defaultSettings, type LedgerSettings, settingsFaster } from "../../shared/ledger/settings.ts";

/** Throws (an assertion) when the divisor makes no sense. */
export function readLedgerSettings(env: { readonly LEDGER_TIMES_FASTER?: string }): LedgerSettings {
  const faster = env.LEDGER_TIMES_FASTER;
  return faster === undefined ? defaultSettings : settingsFaster(defaultSettings, Number(faster));
}
