/** The zone in front of the ingress: what it refused, or why that is not known. */
import type { Status } from "../../../shared/console/answers.ts";
import { Panel } from "./panel.tsx";

export function FrontDoor({ lines }: { readonly lines: Status["frontDoor"] }) {
  if (lines.length === 0) {
    return null; // a Worker of an earlier version
  }
  return (
    <Panel id="front-door" title="Before the ingress">
      {lines.map(({ verdict, text }) => (
        <p key={text} class={verdict === "good" ? "note" : "stale"}>
          {text}
        </p>
      ))}
    </Panel>
  );
}
