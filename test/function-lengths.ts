/** How many lines each function has, by the layout that the formatter gives it: its end has the indentation of its start. */

const starts = [
  /^ *(?:export )?(?:default )?(?:async )?function ?\*? ?(?<name>\w*)[<(]/,
  /^ *(?:export )?(?:const|let) (?<name>\w+)\b.*(?:=> \{|= (?:async )?\()$/,
  /^ +(?:private |static |override |async |get |set |\*)*(?<name>#?\w+)\((?:.*\) ?(?::.*)?\{|)$/,
];
const notFunctions = new Set(["if", "for", "while", "switch", "catch", "return", "super", "await", "yield"]);

export interface FunctionLength {
  readonly name: string;
  readonly lines: number;
}

export function functionLengths(text: string): readonly FunctionLength[] {
  const lines = text.split("\n");
  return lines.flatMap((line, start) => {
    const name = starts
      .map((pattern) => pattern.exec(line)?.groups?.["name"])
      .find((found) => found !== undefined);
    if (name === undefined || notFunctions.has(name)) {
      return [];
    }
    const indentation = line.slice(0, line.search(/\S/));
    const rest = lines.slice(start + 1);
    if (line.endsWith("(")) {
      // Parameters on lines of their own, and then a body; without one it is a call.
      const closed = rest.find(
        (next) => next.startsWith(`${indentation})`) || next.startsWith(`${indentation}}`),
      );
      if (closed?.endsWith("{") !== true) {
        return [];
      }
    }
    // `}: Options): void {` ends the parameters, not the function.
    const after = rest.findIndex((next) => next.startsWith(`${indentation}}`) && !next.endsWith("{"));
    return after === -1 || /\}[;,)]*$/.test(line) ? [] : [{ name, lines: after + 2 }];
  });
}
