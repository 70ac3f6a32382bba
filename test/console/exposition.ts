/**
 * A strict reader of Prometheus' text format, written from its description alone
 * (prometheus.io/docs/instrumenting/exposition_formats): what it refuses, a scraper may refuse.
 */
export interface Series {
  readonly name: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const samplePattern = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;

/** Every series. Throws, naming the line, for whatever the format does not allow. */
export function readExposition(text: string): readonly Series[] {
  if (!text.endsWith("\n")) {
    throw new Error("the last line does not end");
  }
  const series: Series[] = [];
  const types = new Map<string, string>();
  const helped = new Set<string>();
  let family = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\]|\\[\\n])*)$/.exec(line)?.[1];
    const [, typed, type] = /^# TYPE (\S+) (counter|gauge)$/.exec(line) ?? [];
    if (help !== undefined) {
      if (helped.has(help)) {
        throw new Error(`a second HELP: ${line}`);
      }
      helped.add(help);
    } else if (typed !== undefined && type !== undefined) {
      if (types.has(typed)) {
        throw new Error(`a second TYPE, or one behind its samples: ${line}`);
      }
      types.set(typed, type);
      family = typed;
    } else {
      const [, name = "", labelText, value = ""] = samplePattern.exec(line) ?? [];
      if (name === "" || name !== family) {
        throw new Error(`no sample of ${family}: ${line}`);
      }
      const labels = labelText === undefined ? {} : readLabels(labelText, line);
      const known = series.some(
        (one) => one.name === name && JSON.stringify(one.labels) === JSON.stringify(labels),
      );
      if (known) {
        throw new Error(`a second sample of one series: ${line}`);
      }
      series.push({
        name,
        type: types.get(name) ?? "",
        labels,
        value: Number(value.replace("Inf", "Infinity")),
      });
    }
  }
  return series;
}

function readLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  labelPattern.lastIndex = 0;
  while (labelPattern.lastIndex < text.length) {
    const [, label = "", value = ""] = labelPattern.exec(text) ?? [];
    if (label === "" || label in labels) {
      throw new Error(`labels: ${line}`);
    }
    labels[label] = value.replace(/\\([\\"n])/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
  }
  return labels;
}
