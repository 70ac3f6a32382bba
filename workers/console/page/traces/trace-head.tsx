/** What a trace is, at a glance: its name and id, when and how long, what is odd about it, and whose spans it has. */
import { useMemo } from "preact/hooks";
import { durationText } from "../../../../shared/console/duration-text.ts";
import { tracePagePath } from "../../../../shared/console/page-routes.ts";
import type { TraceNode } from "../../../../shared/console/trace-tree.ts";
import { oddityMark, treeOddities } from "../../../../shared/console/tree-oddities.ts";
import { CopyButton } from "../copy-button.tsx";
import { countText, dateText, plural, timeText } from "../format.ts";
import { nodeName } from "./node-text.ts";
import type { SeenTrace } from "./seen-trace.ts";

/** Services named in the legend; the others are counted. */
const servicesNamed = 10;

export function TraceHead({ seen }: { readonly seen: SeenTrace }) {
  const { trace, tree } = seen;
  const root = namingNode(seen);
  const oddities = useMemo(
    () => treeOddities(tree).map(({ kind, text }) => `${oddityMark(kind)} ${text}`.trimStart()),
    [tree],
  );
  return (
    <>
      <div class="title">
        <h1 id="trace-title">
          <bdi>{root === undefined ? "" : nodeName(root, trace.spans[root.place])}</bdi>
        </h1>
        <p class="note">
          <span class="key whole">{trace.traceId}</span> <CopyButton text={trace.traceId} label="Copy id" />
        </p>
      </div>
      <p>{summaryText(seen)}</p>
      {[...oddities, ...trace.notes].map((text) => (
        <p key={text} class="stale">
          {text}
        </p>
      ))}
      <Tenants seen={seen} />
      <Services seen={seen} />
    </>
  );
}

/** Equal trace ids may be several tenants': each can be looked at alone. */
function Tenants({ seen: { trace } }: { readonly seen: SeenTrace }) {
  const { traceId, tenant, tenants } = trace;
  if (tenant !== null) {
    return (
      <p class="note">
        Spans of tenant <bdi>{tenant}</bdi> alone: <a href={`#${tracePagePath(traceId)}`}>all of its spans</a>
      </p>
    );
  }
  return tenants.length < 2 ? null : (
    <p class="note">
      Spans of one tenant alone:
      {tenants.map((one) => (
        <span key={one}>
          {" "}
          <a href={`#${tracePagePath(traceId, "", one)}`}>{one}</a>
        </span>
      ))}
    </p>
  );
}

/** Whose name the trace has: its first root's, or its first span's where none has come. */
function namingNode({ trace, tree }: SeenTrace): TraceNode | undefined {
  const isRoot = ({ place }: TraceNode): boolean => trace.spans[place]?.parentSpanId === "";
  return tree.nodes.find(isRoot) ?? tree.nodes.find(({ place }) => place >= 0);
}

function summaryText({ trace, tree, hues }: SeenTrace): string {
  const { start, durationNs, spansCount, errorsCount } = trace;
  const begin = start === null ? "" : `${dateText(start)}, ${timeText(start)} UTC, `;
  return `${begin}${durationText(durationNs)}: ${plural(spansCount, "span")} of ${plural(hues.size, "service")}, ${
    errorsCount === 0 ? "no errors" : plural(errorsCount, "error")
  }, ${countText(tree.depth)} deep.`;
}

function Services({ seen: { trace, hues } }: { readonly seen: SeenTrace }) {
  const counts = useMemo(() => {
    const sums = new Map<string, number>();
    for (const { service } of trace.spans) {
      sums.set(service, (sums.get(service) ?? 0) + 1);
    }
    return [...sums].sort(([, a], [, b]) => b - a);
  }, [trace]);
  const others = counts.length - servicesNamed;
  return (
    <ul class="services" aria-label="Services">
      {counts.slice(0, servicesNamed).map(([service, count]) => (
        <li key={service} style={{ "--hue": String(hues.get(service) ?? 0) }} data-count={countText(count)}>
          <bdi>{service === "" ? "(no service)" : service}</bdi>
        </li>
      ))}
      {others > 0 && <li class="others">{plural(others, "other service")}</li>}
    </ul>
  );
}
