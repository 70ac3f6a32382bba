/**
 * Lines of a log that say the same again and again: the first is written, the others of its period are counted, and one
 * more line says how many they were. A flood of requests that are refused is a few lines, not one each: in production they
 * cost money, and a local log that nobody reads stops the Worker that writes it.
 */
import { limits } from "./limits.ts";
import type { LogFields } from "./write-log.ts";

/** What is written instead of a line whose like were too many. */
const others = "and others like it, with different messages";

export class RepeatedLines {
  #period = new Map<string, { readonly fields: LogFields; repeated: number }>();

  /** The line to write now; nothing when it was written in this period. */
  add(fields: LogFields & { readonly outcome: string; readonly reason: string }): LogFields | undefined {
    const known = this.#count(fields);
    if (known || this.#period.size < limits.logLinesAPeriod) {
      return known ? undefined : this.#write(fields);
    }
    // Outcomes and reasons are few: these are bounded without a limit.
    const { outcome, reason } = fields;
    const kind = { outcome, reason, message: others };
    return this.#count(kind) ? undefined : this.#write(kind);
  }

  /** The period ends: the lines that say how often the others came. */
  end(): readonly LogFields[] {
    const period = [...this.#period.values()];
    this.#period = new Map();
    return period
      .filter(({ repeated }) => repeated > 0)
      .map(({ fields, repeated }) => ({ ...fields, repeated }));
  }

  #count(fields: LogFields): boolean {
    const line = this.#period.get(JSON.stringify(fields));
    if (line === undefined) {
      return false;
    }
    line.repeated += 1;
    return true;
  }

  #write(fields: LogFields): LogFields {
    this.#period.set(JSON.stringify(fields), { fields, repeated: 0 });
    return fields;
  }
}
