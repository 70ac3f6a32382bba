/** One trace: its waterfall, and what a span of it says. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { criticalPath } from "../../../../shared/console/critical-path.ts";
import { tracePagePath } from "../../../../shared/console/page-routes.ts";
import { buildTree, type TraceTree } from "../../../../shared/console/trace-tree.ts";
import { type Trace, type TraceSpan, traceSchema } from "../../../../shared/console/traces.ts";
import { CopyButton } from "../copy-button.tsx";
import { dateText, nanosText, plural, timeText } from "../format.ts";
import { goTo } from "../route.ts";
import { Top } from "../top.tsx";
import { useAnswer } from "./answer.ts";
import { serviceHues } from "./service-hues.ts";
import { SpanDetail } from "./span-detail.tsx";
import { nodeName, Waterfall } from "./waterfall.tsx";

/** How often a trace that is not there is looked for again: its spans may be on their way. */
const lookAgainMs = 3000;
/** Services named in the legend; the others are counted. */
const servicesNamed = 10;

interface TracePageProps {
  readonly trace: string;
  /** The span that the link chooses; empty: none. */
  readonly span: string;
}

export function TracePage({ trace, span }: TracePageProps) {
  const { value, failure, again } = useAnswer(`/api/trace?id=${encodeURIComponent(trace)}`, traceSchema);
  const isAbsent = value?.spans.length === 0;
  useEffect(() => {
    document.title = `Trace ${trace.slice(0, 8)} · Headrace`;
    if (!isAbsent) {
      return;
    }
    const timer = setInterval(() => document.hidden || again(), lookAgainMs);
    return () => clearInterval(timer);
  }, [trace, isAbsent]);
  return (
    <>
      <Top page="traces" />
      <main class="trace">
        {failure !== "" && (
          <p class="stale" role="alert">
            {failure}{" "}
            <button type="button" onClick={again}>
              Ask again
            </button>
          </p>
        )}
        {value === undefined && failure === "" && <p class="empty">Reading the trace …</p>}
        {isAbsent && (
          <section class="panel">
            <h1>Trace {trace}</h1>
            {value.notes.map((note) => (
              <p key={note}>{note}</p>
            ))}
            <p class="note">
              The page looks again every few seconds. <a href="#/traces">The newest traces</a>
            </p>
          </section>
        )}
        {value !== undefined && !isAbsent && <Found trace={value} span={span} />}
      </main>
    </>
  );
}

function Found({ trace, span }: { readonly trace: Trace; readonly span: string }) {
  const { spans, durationNs } = trace;
  const tree = useMemo(() => buildTree(spans), [spans]);
  const path = useMemo(() => criticalPath(tree, spans), [tree, spans]);
  const hues = useMemo(() => serviceHues(spans), [spans]);
  const linked = useMemo(() => nodeOf(tree, span), [tree, span]);
  const [collapsed, setCollapsed] = useState<ReadonlySet<number>>(new Set());
  const [active, setActive] = useState(Math.max(0, linked));
  const [showsPath, setShowsPath] = useState(true);
  const [sought, setSought] = useState("");
  const search = useRef<HTMLInputElement>(null);
  const texts = useMemo(() => searchTexts(trace), [trace]);
  const found = useMemo(() => findNodes(tree, texts, sought), [tree, texts, sought]);
  const errors = useMemo(
    () => [...tree.nodes.keys()].filter((n) => spans[tree.nodes[n]?.place ?? -1]?.status === "Error"),
    [tree, spans],
  );
  const root = tree.nodes[0];

  /** Goes to a node, and unfolds what hides it. */
  const show = (node: number): void => {
    const open = new Set(collapsed);
    for (let above = tree.nodes[node]?.parent ?? -1; above >= 0; above = tree.nodes[above]?.parent ?? -1) {
      open.delete(above);
    }
    setCollapsed(open);
    setActive(node);
  };
  const choose = (node: number): void => {
    goTo(tracePagePath(trace.traceId, node === linked ? "" : linkOf(tree, node)), { replace: true });
  };
  useEffect(() => {
    if (linked >= 0) {
      show(linked);
    }
  }, [linked]);
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const { target } = event;
      const isTyping = target instanceof HTMLInputElement || document.querySelector("dialog[open]") !== null;
      if (event.key === "/" && !isTyping) {
        event.preventDefault();
        search.current?.focus();
      } else if (event.key === "Escape" && linked >= 0 && !isTyping) {
        choose(linked);
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  });

  return (
    <>
      <section class="panel head" aria-labelledby="trace-title">
        <div class="title">
          <h1 id="trace-title">
            <bdi>{root === undefined ? "" : nodeName(root, spans[root.place])}</bdi>
          </h1>
          <p class="note">
            <span class="key whole">{trace.traceId}</span> <CopyButton text={trace.traceId} label="Copy id" />
          </p>
        </div>
        <p>{summaryText(trace, tree, hues.size)}</p>
        {[...oddities(tree), ...trace.notes].map((text) => (
          <p key={text} class="stale">
            {text}
          </p>
        ))}
        <Services spans={spans} hues={hues} />
        <div class="actions">
          <input
            ref={search}
            type="search"
            placeholder="Search in this trace ( / )"
            aria-label="Search in this trace: names, services, ids, attributes"
            value={sought}
            onInput={(event) => setSought(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter") {
                const next = neighbour(found, active, event.shiftKey ? -1 : 1);
                if (next !== undefined) {
                  show(next);
                }
              }
            }}
          />
          {sought !== "" && (
            <span class="note" role="status">
              {found.length === 0
                ? "nothing found"
                : `${plural(found.length, "span")} found; Enter goes to the next`}
            </span>
          )}
          <button
            type="button"
            disabled={errors.length === 0}
            onClick={() => show(neighbour(errors, active, 1) ?? active)}
          >
            Next error
          </button>
          <button type="button" onClick={() => setCollapsed(collapsed.size > 0 ? new Set() : foldable(tree))}>
            {collapsed.size > 0 ? "Unfold all" : "Fold all"}
          </button>
          <label>
            <input type="checkbox" checked={showsPath} onChange={() => setShowsPath(!showsPath)} /> Critical
            path
          </label>
        </div>
      </section>
      <div class={linked >= 0 ? "split" : ""}>
        <section class="panel spans-over-time" aria-label="Spans over time">
          <Ruler durationNs={durationNs} />
          <Waterfall
            spans={spans}
            tree={tree}
            path={path}
            showsPath={showsPath}
            hues={hues}
            durationNs={durationNs}
            collapsed={collapsed}
            onCollapse={setCollapsed}
            found={useMemo(() => new Set(found), [found])}
            active={active}
            onActive={setActive}
            chosen={linked}
            onChoose={choose}
          />
        </section>
        {linked >= 0 && (
          <SpanDetail
            key={linked}
            trace={trace}
            tree={tree}
            node={linked}
            path={path.get(linked)}
            onClose={() => choose(linked)}
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

function summaryText(
  { start, durationNs, spansCount, errorsCount }: Trace,
  tree: TraceTree,
  services: number,
): string {
  const begin = start === null ? "" : `${dateText(start)}, ${timeText(start)} UTC, `;
  return `${begin}${nanosText(durationNs)}: ${plural(spansCount, "span")} of ${plural(services, "service")}, ${
    errorsCount === 0 ? "no errors" : plural(errorsCount, "error")
  }, ${tree.depth} deep.`;
}

/** What is not as a trace should be. */
function oddities({ missingParents, cycles, repeated, early, roots }: TraceTree): string[] {
  const said = [
    [
      missingParents,
      `${plural(missingParents, "parent")} that spans name ${missingParents === 1 ? "is" : "are"} not here: not sent, sampled out, or not arrived yet.`,
    ],
    [
      cycles,
      `${cycles === 1 ? "A span leads back to itself by its parents: it is" : `${plural(cycles, "span")} lead back to themselves by their parents: they are`} shown as a root.`,
    ],
    [
      repeated,
      `${plural(repeated, "span")} ${repeated === 1 ? "has" : "have"} an id that another span has too.`,
    ],
    [
      early,
      `${plural(early, "span")} ${early === 1 ? "begins" : "begin"} before the parent: the clocks of their machines may differ. Times are shown as they were sent.`,
    ],
    [roots > 1 ? roots : 0, `${roots} spans have no parent: the trace has several roots.`],
  ] as const;
  return said.filter(([count]) => count > 0).map(([, text]) => text);
}

function Services({
  spans,
  hues,
}: {
  readonly spans: readonly TraceSpan[];
  readonly hues: ReadonlyMap<string, number>;
}) {
  const counts = useMemo(() => {
    const sums = new Map<string, number>();
    for (const { service } of spans) {
      sums.set(service, (sums.get(service) ?? 0) + 1);
    }
    return [...sums].sort(([, a], [, b]) => b - a);
  }, [spans]);
  const others = counts.length - servicesNamed;
  return (
    <ul class="services" aria-label="Services">
      {counts.slice(0, servicesNamed).map(([service, count]) => (
        <li key={service} style={{ "--hue": String(hues.get(service) ?? 0) }} data-count={count}>
          <bdi>{service}</bdi>
        </li>
      ))}
      {others > 0 && <li class="others">{plural(others, "other service")}</li>}
    </ul>
  );
}

function Ruler({ durationNs }: { readonly durationNs: number }) {
  return (
    <div class="ruler" aria-hidden="true">
      {[0, 0.25, 0.5, 0.75, 1].map((share) => (
        <span key={share} style={{ "--from": String(share) }}>
          {nanosText(durationNs * share)}
        </span>
      ))}
    </div>
  );
}

/** A span in a link: its id, and which one of those with it where several have it: `051581bf3cb55c13`, `051581bf3cb55c13.2`. */
function linkOf({ nodes }: TraceTree, node: number): string {
  const { id = "", place = -1 } = nodes[node] ?? {};
  const before = nodes.slice(0, node).filter((one) => one.id === id && one.place >= 0).length;
  return place < 0 ? "" : before === 0 ? id : `${id}.${before + 1}`;
}

/** The node that a link names; -1: none. */
function nodeOf({ nodes }: TraceTree, link: string): number {
  const [id = "", ordinal = "1"] = link.split(".");
  const same = [...nodes.keys()].filter((n) => nodes[n]?.id === id && (nodes[n]?.place ?? -1) >= 0);
  return id === "" ? -1 : (same[Number(ordinal) - 1] ?? -1);
}

/** What the search looks through, by place of the span: in lower case. */
function searchTexts({ spans }: Trace): readonly string[] {
  return spans.map(({ name, service, spanId, statusMessage, kind, attributes }) =>
    [
      name,
      service,
      spanId,
      statusMessage,
      kind,
      ...(attributes ?? []).map(([key, value]) => `${key}=${value}`),
    ]
      .join("\n")
      .toLowerCase(),
  );
}

function findNodes({ nodes }: TraceTree, texts: readonly string[], sought: string): readonly number[] {
  const wanted = sought.trim().toLowerCase();
  return wanted === ""
    ? []
    : [...nodes.keys()].filter((n) => texts[nodes[n]?.place ?? -1]?.includes(wanted) === true);
}

/** The next one behind `from`, or before it, round the end. */
function neighbour(nodes: readonly number[], from: number, direction: 1 | -1): number | undefined {
  return direction === 1
    ? (nodes.find((node) => node > from) ?? nodes[0])
    : (nodes.findLast((node) => node < from) ?? nodes.at(-1));
}

/** Everything below the roots. */
function foldable({ nodes }: TraceTree): ReadonlySet<number> {
  return new Set([...nodes.keys()].filter((n) => (nodes[n]?.depth ?? 0) > 0 && (nodes[n]?.end ?? 0) > n + 1));
}
