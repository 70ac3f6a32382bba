/** What to do next where nothing has arrived yet. */
import { exportLines } from "../../../shared/export-lines.ts";
import type { Answer } from "./answer.ts";
import { CopyButton } from "./copy-button.tsx";

interface FirstStepsProps {
  /** Where exporters send to; empty: not known. While it is asked for, nothing is there to be copied without it. */
  readonly about: Pick<Answer<{ readonly otlp: string }>, "value" | "isAsking">;
  readonly apiKey: string;
}

export function FirstSteps({ about, apiKey }: FirstStepsProps) {
  if (about.isAsking) {
    return null;
  }
  const { otlp = "" } = about.value ?? {};
  const endpoint = otlp === "" ? "https://<your ingress>" : otlp;
  const key = apiKey === "" ? "hr_…" : apiKey;
  const lines = exportLines(endpoint, key).join("\n");
  return (
    <section class="first-steps" aria-labelledby="first-steps-title">
      <div>
        <h2 id="first-steps-title">Nothing arrived in the last hour</h2>
        <p>
          Point an exporter at the ingress and start your program: its first spans show here within seconds.{" "}
          {apiKey === "" && (
            <>
              The key is the one that <code>npm run dev</code> printed; deployed,{" "}
              <code>headrace keys create</code> makes one.
            </>
          )}
        </p>
      </div>
      <div class="paste">
        <pre>{lines}</pre>
        <CopyButton text={lines} label="Copy" />
      </div>
    </section>
  );
}
