/** A trace that is there: its head, its waterfall, and what the chosen span says. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { isCut } from "../../../../shared/console/cut-spans.ts";
import { durationText } from "../../../../shared/console/duration-text.ts";
import { tracePagePath } from "../../../../shared/console/page-routes.ts";
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { Trace, TraceShape } from "../../../../shared/console/traces.ts";
import type { Answer } from "../answer.ts";
import { plural } from "../format.ts";
import { goTo } from "../route.ts";
import { findNodes, searchTexts } from "./find-spans.ts";
import { type SeenTrace, seeTrace } from "./seen-trace.ts";
import { SpanDetail } from "./span-detail.tsx";
import { keyOf, linkOf, nodeOf, nodeOfKey, parentsWithIds } from "./span-link.ts";
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
  const { chosen, choose } = useChosen(seen, span);
  const { active, activeKey, collapsed, setActive, setCollapsed, show } = useShown(seen, chosen, span);
  const { sought, setSought, found, inPart } = useSpanSearch(seen);
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
          searched={searchedText(details, inPart)}
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
            activeKey={activeKey}
            onActive={setActive}
            chosen={chosen}
            onChoose={choose}
          />
        </section>
        {chosen >= 0 && (
          <SpanDetail
            key={span}
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

/** What the search does not look through; empty: it looks through all of it. */
function searchedText({ value, isAsking }: Answer<Trace>, inPart: number): string {
  if (value !== undefined) {
    return inPart === 0 ? "" : `of ${plural(inPart, "span")} the page has a part only`;
  }
  return isAsking ? "attributes and events are still being read" : "attributes and events could not be read";
}

interface Chosen {
  /** The node whose details are shown, which is the link's; -1: none. */
  readonly chosen: number;
  /** Chooses a node, or what is chosen no longer. */
  readonly choose: (node: number) => void;
}

function useChosen(seen: SeenTrace, span: string): Chosen {
  const chosen = useMemo(() => nodeOf(seen, span), [seen, span]);
  const choose = (node: number): void =>
    goTo(
      tracePagePath(
        seen.trace.traceId,
        node === chosen ? "" : linkOf(seen, node),
        seen.trace.tenant ?? undefined,
      ),
      { replace: true },
    );
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
  /** The node that the keyboard is at, and by what it is known when others arrive. */
  readonly active: number;
  readonly activeKey: string;
  readonly setActive: (node: number) => void;
  readonly collapsed: ReadonlySet<number>;
  readonly setCollapsed: (collapsed: ReadonlySet<number>) => void;
  /** Goes to a node, and unfolds what hides it. */
  readonly show: (node: number) => void;
}

/** Remembered by the spans, not by the rows: what a trace's spans say may bring further ones. `span`: the link's. */
function useShown(seen: SeenTrace, chosen: number, span: string): Shown {
  const { nodes } = seen.tree;
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const collapsed = useMemo(() => parentsWithIds(seen.tree, folded), [seen, folded]);
  const setCollapsed = (places: ReadonlySet<number>): void =>
    setFolded(new Set([...places].map((n) => nodes[n]?.id ?? "")));
  const [activeKey, setActiveKey] = useState("");
  const active = useMemo(() => Math.max(0, nodeOfKey(seen, activeKey)), [seen, activeKey]);
  const setActive = (node: number): void => setActiveKey(keyOf(seen, node));
  const show = (node: number): void => {
    const open = new Set(collapsed);
    for (let above = nodes[node]?.parent ?? -1; above >= 0; above = nodes[above]?.parent ?? -1) {
      open.delete(above);
    }
    setCollapsed(open);
    setActive(node);
  };
  useEffect(() => {
    if (chosen >= 0) {
      show(chosen);
    }
  }, [span, chosen >= 0]);
  return { active, activeKey, setActive, collapsed, setCollapsed, show };
}

interface SpanSearch {
  readonly sought: string;
  readonly setSought: (text: string) => void;
  /** Nodes that have it, in their order. */
  readonly found: readonly number[];
  /** Spans of which the page has not all that they say. */
  readonly inPart: number;
}

function useSpanSearch({ trace: { spans }, tree, details }: SeenTrace): SpanSearch {
  const [sought, setSought] = useState("");
  const isSearching = sought.trim() !== "";
  // Megabytes of text: only for somebody who searches.
  const texts = useMemo(() => (isSearching ? searchTexts(spans) : []), [spans, isSearching]);
  const found = useMemo(() => findNodes(tree, texts, sought), [tree, texts, sought]);
  const inPart = useMemo(
    () =>
      isSearching && details !== undefined
        ? details.spans.filter(
            (span) => span.attributes === null || isCut(span, details.resources[span.resource]),
          ).length
        : 0,
    [details, isSearching],
  );
  return { sought, setSought, found, inPart };
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
