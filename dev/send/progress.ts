/** Shows how far a run is: one line that changes on a terminal, a line now and then in a log. */

export interface ProgressView {
  /** `label done/total` with a bar. `detail` may be empty. */
  show(label: string, done: number, total: number, detail: string): void;
  /** A line that stays. */
  note(line: string): void;
  /** Ends the changing line. */
  end(): void;
}

export interface ProgressSink {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** On a terminal: not more often than the eye follows. */
const redrawMs = 80;
/** In a log: a line each tenth, and not more often than this. */
const lineMs = 1_000;
const barCellsMax = 40;

export function createProgress(sink: ProgressSink): ProgressView {
  return sink.isTTY === true ? terminalProgress(sink) : lineProgress(sink);
}

function terminalProgress(sink: ProgressSink): ProgressView {
  let shownMs = 0;
  let line = "";
  const clear = "\r\x1b[2K";
  return {
    show(label, done, total, detail) {
      const nowMs = Date.now();
      line = formatProgress(label, done, total, detail, sink.columns || 80); // a pseudo-terminal may say 0
      if (nowMs - shownMs >= redrawMs || done >= total) {
        shownMs = nowMs;
        sink.write(`${clear}${line}`);
      }
    },
    note: (text) => sink.write(`${clear}${text}\n${line}`),
    end() {
      if (line !== "") {
        sink.write(`${clear}${line}\n`);
        line = "";
      }
    },
  };
}

function lineProgress(sink: ProgressSink): ProgressView {
  let shown = "";
  let shownMs = 0;
  return {
    show(label, done, total, detail) {
      const tenth = `${label} ${total === 0 ? 10 : Math.floor((done * 10) / total)}`;
      const nowMs = Date.now();
      if (tenth !== shown && (done >= total || nowMs - shownMs >= lineMs)) {
        shown = tenth;
        shownMs = nowMs;
        sink.write(`${label} ${done}/${total}${detail === "" ? "" : ` ${detail}`}\n`);
      }
    },
    note: (text) => sink.write(`${text}\n`),
    end() {},
  };
}

/** `sending  [#####-----]  512/1024  2 retries`, no wider than `columns`. */
export function formatProgress(
  label: string,
  done: number,
  total: number,
  detail: string,
  columns: number,
): string {
  const count = ` ${done}/${total}${detail === "" ? "" : `  ${detail}`}`;
  const cells = Math.min(barCellsMax, columns - label.length - count.length - 4);
  if (cells < 8) {
    return `${label}${count}`.slice(0, Math.max(0, columns - 1));
  }
  const full = total === 0 ? cells : Math.min(cells, Math.floor((done * cells) / total));
  return `${label} [${"#".repeat(full)}${"-".repeat(cells - full)}]${count}`;
}
