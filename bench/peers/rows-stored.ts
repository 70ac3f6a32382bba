/** Waits for rows, and counts what became of spans by their ids. */
import type { EngineSession } from "../engine-session.ts";

const pollMs = 250;
const waitMsMax = 120_000;

/** Resolves when the table has `rows` rows; throws when it has not after two minutes. */
export async function waitForRows(engine: EngineSession, rows: number): Promise<void> {
  const deadline = performance.now() + waitMsMax;
  for (;;) {
    const found = Number(await engine.text("SELECT count() FROM otel_traces"));
    if (found >= rows) {
      return;
    }
    if (performance.now() > deadline) {
      throw new Error(`${found} of ${rows} rows are there after ${waitMsMax / 1000} s`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** How often each span id is in the table. */
export async function copiesOf(engine: EngineSession): Promise<ReadonlyMap<string, number>> {
  const text = await engine.text("SELECT SpanId, count() FROM otel_traces GROUP BY SpanId FORMAT TSV");
  const lines = text.split("\n").filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const [id = "", count = ""] = line.split("\t");
      return [id, Number(count)];
    }),
  );
}
