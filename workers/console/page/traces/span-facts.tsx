/** What every span has: whose it is, when, how long, and where it is in its trace. */
import { durationText } from "../../../../shared/console/duration-text.ts";
import { childrenOf, type TraceNode } from "../../../../shared/console/trace-tree.ts";
import type { ShapeSpan } from "../../../../shared/console/traces.ts";
import { CopyButton } from "../copy-button.tsx";
import { timeText } from "../format.ts";
import { Fact } from "./fact.tsx";
import { nodeName } from "./node-text.ts";
import type { SeenTrace } from "./seen-trace.ts";

interface SpanFactsProps {
  readonly seen: SeenTrace;
  readonly node: number;
  readonly span: ShapeSpan;
  /** Undefined: it is not known yet. */
  readonly scope: string | undefined;
  readonly onShow: (node: number) => void;
}

export function SpanFacts({ seen, node, span, scope, onShow }: SpanFactsProps) {
  return (
    <dl class="pairs">
      <Fact name="service" value={span.service} />
      <Fact name="kind" value={span.kind} />
      <Fact name="duration" value={durationText(span.durationNs)} />
      <Fact
        name="begins"
        value={`${durationText(span.startNs)} after the trace${clock(seen.trace.start, span.startNs)}`}
      />
      <Fact name="its own time" value={ownTimeText(seen, node)} />
      <Fact name="status" value={span.status} />
      {scope !== undefined && <Fact name="scope" value={scope} />}
      <div>
        <dt>span id</dt>
        <dd>
          <span class="key whole">{span.spanId}</span> <CopyButton text={span.spanId} label="Copy" />
        </dd>
      </div>
      {span.parentSpanId !== "" && <ParentFact seen={seen} node={node} span={span} onShow={onShow} />}
    </dl>
  );
}

function ParentFact({ seen: { trace, tree }, node, span, onShow }: Omit<SpanFactsProps, "scope">) {
  const parent = tree.nodes[node]?.parent ?? -1;
  const above = tree.nodes[parent];
  return (
    <div>
      <dt>parent</dt>
      <dd>
        {above === undefined || above.place < 0 ? (
          <>
            <span class="key">{span.parentSpanId}</span>, {whereParentIs(span, tree.nodes[node])}
          </>
        ) : (
          <button type="button" class="link" onClick={() => onShow(parent)}>
            <bdi>{nodeName(above, trace.spans[above.place])}</bdi>
          </button>
        )}
      </dd>
    </div>
  );
}

/** Of a parent that is not above. */
function whereParentIs({ spanId, parentSpanId }: ShapeSpan, node: TraceNode | undefined): string {
  if (spanId === parentSpanId) {
    return "which is the span itself";
  }
  return node?.isCycle ? "which is below this span" : "which is not here";
}

function ownTimeText(seen: SeenTrace, node: number): string {
  const onPathNs = (seen.path.get(node) ?? []).reduce((sum, { fromNs, toNs }) => sum + toNs - fromNs, 0);
  const onPath = onPathNs > 0 ? `; ${durationText(onPathNs)} on the critical path` : "";
  return `${durationText(ownNs(seen, node))}${onPath}`;
}

/** The time in which none of its children ran. */
function ownNs({ trace, tree }: SeenTrace, node: number): number {
  const of = (n: number): { readonly from: number; readonly to: number } => {
    const { startNs = 0, durationNs = 0 } = trace.spans[tree.nodes[n]?.place ?? -1] ?? {};
    return { from: startNs, to: startNs + durationNs };
  };
  const { from, to } = of(node);
  const children = childrenOf(tree, node)
    .map(of)
    .sort((a, b) => a.from - b.from);
  let own = 0;
  let at = from;
  for (const child of children) {
    own += Math.max(0, Math.min(child.from, to) - at);
    at = Math.max(at, Math.min(child.to, to));
  }
  return own + Math.max(0, to - at);
}

/** `, 20:55:12.123 UTC` */
function clock(start: string | null, afterNs: number): string {
  if (start === null) {
    return "";
  }
  const at = new Date(Date.parse(start) + afterNs / 1e6);
  return Number.isNaN(at.getTime()) ? "" : `, ${timeText(at.toISOString())} UTC`;
}
