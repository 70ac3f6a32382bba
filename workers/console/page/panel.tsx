/** A section with its heading, what is wrong with its data, and room for what belongs beside the heading. */
import type { ComponentChildren } from "preact";

interface PanelProps {
  readonly id: string;
  readonly title: string;
  /** Why its numbers could not be read anew; empty: they could. */
  readonly failure?: string;
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
}

export function Panel({ id, title, failure = "", aside, children }: PanelProps) {
  return (
    <section class="panel" aria-labelledby={`${id}-title`} id={id}>
      <header>
        <h2 id={`${id}-title`}>{title}</h2>
        {aside}
      </header>
      {failure !== "" && (
        <p class="stale" role="status">
          Not up to date. {failure}
        </p>
      )}
      {children}
    </section>
  );
}
