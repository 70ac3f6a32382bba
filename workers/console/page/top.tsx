/** The head of every place of the page: the name, and the way to the others. */
import type { ComponentChildren } from "preact";
import { Wordmark } from "./wordmark.tsx";

interface TopProps {
  /** Which place this is; empty: none of them. */
  readonly page: "overview" | "traces" | "keys" | "";
  readonly children?: ComponentChildren;
}

export function Top({ page, children }: TopProps) {
  const current = (name: TopProps["page"]) => (name === page ? { "aria-current": "page" as const } : {});
  return (
    <header class="top">
      <Wordmark />
      <nav aria-label="Places">
        <a href="#/" {...current("overview")}>
          Overview
        </a>
        <a href="#/traces" {...current("traces")}>
          Traces
        </a>
        <a href="#/keys" {...current("keys")}>
          Keys
        </a>
      </nav>
      {children}
    </header>
  );
}
