/** A trace that is there: its head, its waterfall, and what the chosen span says. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { durationText } from "../../../../shared/console/duration-text.ts";
import { tracePagePath } from "../../../../shared/console/page-routes.ts";
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { Trace, TraceShape } from "../../../../shared/console/traces.ts";
import type { Answer } from "../answer.ts";
import { goTo } from "../route.ts";
import { findNodes, searchTexts } from "./find-spans.ts";
import { type SeenTrace, seeTrace } from "./seen-trace.ts";
import { SpanDetail } from "./span-detail.tsx";
import { linkOf, nodeOf } from "./span-link.ts";
import { TraceHead } from "./trace-head.tsx";
import { TraceTools } from "./trace-tools.tsx";
import { Waterfall } from "./waterfall.tsx";

interface FoundTraceProps {
  readonly shape: TraceShape;
  /** What its spans say, when it is there. */
  readonly details: Answer<Trace>;
  /** The span that the link chooses; empty: none. */
  readonly span: string;
}

export function FoundTrace({ shape, details, span }: FoundTraceProps) {
  const seen = useMemo(() => seeTrace(shape, details.value), [shape, details.value]);
  const { trace, tree } = seen;
  const { chosen, choose } = useChosen(tree, trace.traceId, span);
  const { active, collapsed, setActive, setCollapsed, show } = useShown(tree, chosen);
  const { sought, setSought, found } = useSpanSearch(seen);
  const [showsPath, setShowsPath] = useState(true);
  return (
    <>
      <section class="panel head" aria-labelledby="trace-title">
        <TraceHead seen={seen} />
        {span !== "" && chosen < 0 && (
          <p class="stale">
            The span that the link names, <bdi class="key">{span}</bdi>, is not among these.
          </p>
        )}
        {details.failure !== "" && (
          <p class="stale" role="alert">
            What its spans say could not be read: attributes, events, links and payloads. {details.failure}{" "}
            <button type="button" disabled={details.isAsking} onClick={details.again}>
              Ask again
            </button>
          </p>
        )}
        <TraceTools
          sought={sought}
          searched={searchedText(details)}
          onSought={setSought}
          found={found}
          errors={seen.errors}
          active={active}
          onShow={show}
          isFolded={collapsed.size > 0}
          onFold={(isFolded) => setCollapsed(isFolded ? foldable(tree) : new Set())}
          showsPath={showsPath}
          onShowsPath={setShowsPath}
        />
      </section>
      <div class={chosen >= 0 ? "split" : ""}>
        <section class="panel spans-over-time" aria-label="Spans over time">
          <Ruler durationNs={trace.durationNs} />
          <Waterfall
            seen={seen}
            showsPath={showsPath}
            collapsed={collapsed}
            onCollapse={setCollapsed}
            found={useMemo(() => new Set(found), [found])}
            active={active}
            onActive={setActive}
            chosen={chosen}
            onChoose={choose}
          />
        </section>
        {chosen >= 0 && (
          <SpanDetail
            key={chosen}
            seen={seen}
            isComing={details.isAsking}
            node={chosen}
            onClose={() => choose(chosen)}
            onShow={(node) => {
              show(node);
              choose(node);
            }}
          />
        )}
      </div>
    </>
  );
}

/** What the search does not look through; empty: it looks through all that the page has. */
function searchedText({ value, isAsking }: Answer<Trace>): string {
  if (value !== undefined) {
    return "";
  }
  return isAsking ? "attributes and events are still being read" : "attributes and events could not be read";
}

interface Chosen {
  /** The node whose details are shown, which is the link's; -1: none. */
  readonly chosen: number;
  /** Chooses a node, or what is chosen no longer. */
  readonly choose: (node: number) => void;
}

function useChosen(tree: TraceTree, traceId: string, span: string): Chosen {
  const chosen = useMemo(() => nodeOf(tree, span), [tree, span]);
  const choose = (node: number): void =>
    goTo(tracePagePath(traceId, node === chosen ? "" : linkOf(tree, node)), { replace: true });
  useEffect(() => {
    const pressed = ({ key, target }: KeyboardEvent): void => {
      const isElsewhere =
        target instanceof HTMLInputElement || document.querySelector("dialog[open]") !== null;
      if (key === "Escape" && chosen >= 0 && !isElsewhere) {
        choose(chosen);
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  });
  return { chosen, choose };
}

interface Shown {
  /** The node that the keyboard is at. */
  readonly active: number;
  readonly setActive: (node: number) => void;
  readonly collapsed: ReadonlySet<number>;
  readonly setCollapsed: (collapsed: ReadonlySet<number>) => void;
  /** Goes to a node, and unfolds what hides it. */
  readonly show: (node: number) => void;
}

function useShown(tree: TraceTree, chosen: number): Shown {
  const [collapsed, setCollapsed] = useState<ReadonlySet<number>>(new Set());
  const [active, setActive] = useState(Math.max(0, chosen));
  const show = (node: number): void => {
    const open = new Set(collapsed);
    for (let above = tree.nodes[node]?.parent ?? -1; above >= 0; above = tree.nodes[above]?.parent ?? -1) {
      open.delete(above);
    }
    setCollapsed(open);
    setActive(node);
  };
  useEffect(() => {
    if (chosen >= 0) {
      show(chosen);
    }
  }, [chosen]);
  return { active, setActive, collapsed, setCollapsed, show };
}

interface SpanSearch {
  readonly sought: string;
  readonly setSought: (text: string) => void;
  /** Nodes that have it, in their order. */
  readonly found: readonly number[];
}

function useSpanSearch({ trace: { spans }, tree }: SeenTrace): SpanSearch {
  const [sought, setSought] = useState("");
  const isSearching = sought.trim() !== "";
  // Megabytes of text: only for somebody who searches.
  const texts = useMemo(() => (isSearching ? searchTexts(spans) : []), [spans, isSearching]);
  const found = useMemo(() => findNodes(tree, texts, sought), [tree, texts, sought]);
  return { sought, setSought, found };
}

/** Everything below the roots. */
function foldable({ nodes }: TraceTree): ReadonlySet<number> {
  return new Set([...nodes.keys()].filter((n) => (nodes[n]?.depth ?? 0) > 0 && (nodes[n]?.end ?? 0) > n + 1));
}

function Ruler({ durationNs }: { readonly durationNs: number }) {
  return (
    <div class="ruler" aria-hidden="true">
      {[0, 0.25, 0.5, 0.75, 1].map((share) => (
        <span key={share} style={{ "--from": String(share) }}>
          {durationText(durationNs * share)}
        </span>
      ))}
    </div>
  );
}
