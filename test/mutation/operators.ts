/**
 * Small changes of a source file, one at a time, found in its syntax tree: the mistakes that a hand makes (a boundary,
 * a condition, a call or an early return left out, one of two sides, an element).
 *
 * Left alone: types, imports, texts (what a person reads), comments, and assertions. An assertion says what never is
 * otherwise: weakened it changes nothing that runs, so no test could see it.
 */
import { parseAst } from "vitest/node";

export interface GeneratedMutant {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly operator: string;
  /** What is replaced: from `start` to `end` in UTF-16 code units. */
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}

/** A node of the tree: an ESTree object. Which fields it has, its type says. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value && "end" in value;
}

/** A field of a node: a node, nodes, a text, whatever it is. */
function fieldOf(node: Node, name: string): unknown {
  return Object.getOwnPropertyDescriptor(node, name)?.value;
}

function childOf(node: Node, name: string): Node | undefined {
  const value = fieldOf(node, name);
  return isNode(value) ? value : undefined;
}

function childrenOf(node: Node, name: string): readonly Node[] {
  const value = fieldOf(node, name);
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function textField(node: Node, name: string): string {
  return String(fieldOf(node, name));
}

const binary: ReadonlyMap<string, readonly string[]> = new Map([
  ["<", ["<=", ">="]],
  ["<=", ["<", ">"]],
  [">", [">=", "<="]],
  [">=", [">", "<"]],
  ["===", ["!=="]],
  ["!==", ["==="]],
  ["+", ["-"]],
  ["-", ["+"]],
  ["*", ["/"]],
  ["/", ["*"]],
  ["%", ["*"]],
  ["**", ["*"]],
  ["+=", ["-="]],
  ["-=", ["+="]],
  ["*=", ["/="]],
  ["&&", ["||"]],
  ["||", ["&&"]],
  ["??", []],
  ["||=", ["="]],
  ["&&=", ["="]],
  ["??=", ["="]],
]);

const methods: ReadonlyMap<string, string> = new Map([
  ["min", "max"],
  ["max", "min"],
  ["ceil", "floor"],
  ["floor", "ceil"],
  ["some", "every"],
  ["every", "some"],
]);

/** Methods that may be left out: what they are called on has the type of what they give. */
const passing: ReadonlySet<string> = new Set([
  "filter",
  "slice",
  "sort",
  "toSorted",
  "reverse",
  "toReversed",
]);

/** Types that wrap a value: what is inside is code. */
const wrapping: ReadonlySet<string> = new Set([
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
]);

/** All mutants of a file, in the order of their places. */
export function mutantsOf(file: string, text: string): readonly GeneratedMutant[] {
  const found: GeneratedMutant[] = [];
  const add = (operator: string, { start, end }: Pick<Node, "start" | "end">, replacement: string): void => {
    const line = text.slice(0, start).split("\n").length;
    found.push({ file, line, operator, start, end, replacement });
  };
  const textOf = ({ start, end }: Node): string => text.slice(start, end);

  function visit(node: Node): void {
    if (isLeftAlone(node, textOf)) {
      return;
    }
    mutate(node);
    const names = wrapping.has(node.type) ? ["expression"] : Object.keys(node);
    for (const name of names) {
      const value = fieldOf(node, name);
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child)) {
          visit(child);
        }
      }
    }
  }

  function mutate(node: Node): void {
    switch (node.type) {
      case "BinaryExpression":
      case "LogicalExpression":
      case "AssignmentExpression":
        changeOperator(node);
        break;
      case "UnaryExpression":
        if (textField(node, "operator") === "!") {
          add("negation left out", node, textOf(childOf(node, "argument") ?? node));
        }
        break;
      case "UpdateExpression":
        add("++ for --", node, swapped(textOf(node), "++", "--"));
        break;
      case "IfStatement":
      case "ConditionalExpression":
      case "WhileStatement":
        negate(node);
        break;
      case "ForStatement":
        emptied(childOf(node, "body"));
        break;
      case "ForOfStatement":
        emptied(childOf(node, "body"));
        break;
      case "BlockStatement":
        for (const [i, statement] of childrenOf(node, "body").entries()) {
          leaveOut(statement, i === childrenOf(node, "body").length - 1);
        }
        break;
      case "SwitchCase":
        for (const statement of childrenOf(node, "consequent")) {
          if (statement.type === "ExpressionStatement") {
            leaveOut(statement, false);
          }
        }
        break;
      case "Literal":
        changeLiteral(node);
        break;
      case "CallExpression":
        changeCall(node);
        break;
      case "ArrayExpression":
        dropEach(childrenOf(node, "elements"), "element left out");
        break;
      case "ObjectExpression":
        dropEach(childrenOf(node, "properties"), "property left out");
        break;
    }
  }

  function changeOperator(node: Node): void {
    const [left, right] = [childOf(node, "left"), childOf(node, "right")];
    const operator = textField(node, "operator");
    if (left === undefined || right === undefined) {
      return;
    }
    const isText = [left, right].some(
      (side) => side.type === "TemplateLiteral" || /^["'`]/.test(textOf(side)),
    );
    const at = text.indexOf(operator, left.end);
    for (const other of isText && operator === "+" ? [] : (binary.get(operator) ?? [])) {
      add(`${operator} to ${other}`, { start: at, end: at + operator.length }, other);
    }
    if (node.type === "LogicalExpression") {
      add(`left side of ${operator} alone`, node, textOf(left));
      add(`right side of ${operator} alone`, node, textOf(right));
    }
  }

  function negate(node: Node): void {
    const test = childOf(node, "test");
    if (test !== undefined && !isOneComparison(test)) {
      add("condition negated", test, `!(${textOf(test)})`);
    }
    if (node.type === "IfStatement") {
      emptied(childOf(node, "consequent"));
      emptied(childOf(node, "alternate"));
    }
  }

  function emptied(block: Node | undefined): void {
    // A block of one statement loses it below already.
    if (block?.type === "BlockStatement" && childrenOf(block, "body").length > 1) {
      add("block emptied", block, "{}");
    }
  }

  function leaveOut(statement: Node, isLast: boolean): void {
    if (statement.type === "ExpressionStatement") {
      const expression = childOf(statement, "expression");
      const isAlone = expression !== undefined && isLeftAlone(expression, textOf);
      if (!isAlone) {
        add("statement left out", statement, ";");
      }
    } else if (statement.type === "ReturnStatement" && !isLast) {
      add("return left out", statement, ";");
    } else if (statement.type === "IfStatement") {
      const inner = childOf(statement, "consequent");
      const last = inner === undefined ? undefined : childrenOf(inner, "body").at(-1);
      if (last !== undefined && /^(Return|Break|Continue)Statement$/.test(last.type)) {
        add(`early ${last.type.replace("Statement", "").toLowerCase()} left out`, last, ";");
      }
    }
  }

  function changeLiteral(node: Node): void {
    const value = fieldOf(node, "value");
    const raw = textOf(node);
    if (typeof value === "boolean") {
      add("true for false", node, String(!value));
    } else if (typeof value === "number") {
      add("constant + 1", node, `(${raw} + 1)`);
      add("constant - 1", node, `(${raw} - 1)`);
    } else if (typeof value === "bigint") {
      add("constant + 1", node, `(${raw} + 1n)`);
    }
  }

  function changeCall(node: Node): void {
    const callee = childOf(node, "callee");
    const property = callee === undefined ? undefined : childOf(callee, "property");
    const object = callee === undefined ? undefined : childOf(callee, "object");
    if (property === undefined || object === undefined) {
      return;
    }
    const name = textOf(property);
    const other = methods.get(name);
    if (other !== undefined) {
      add(`${name} to ${other}`, property, other);
    }
    if (passing.has(name)) {
      add(`${name} left out`, node, textOf(object));
    }
  }

  function dropEach(elements: readonly Node[], operator: string): void {
    for (const [i, element] of elements.entries()) {
      const next = elements[i + 1];
      const previous = elements[i - 1];
      const start = next === undefined && previous !== undefined ? previous.end : element.start;
      add(operator, { start, end: next?.start ?? element.end }, "");
    }
  }

  const program: unknown = parseAst(text, { lang: "ts" }, file);
  if (isNode(program)) {
    visit(program);
  }
  return found.sort((a, b) => a.start - b.start || a.end - b.end || a.operator.localeCompare(b.operator));
}

/** Negated it is what its operator's mutants are. */
function isOneComparison(test: Node): boolean {
  return (
    (test.type === "BinaryExpression" && /^[=!]==$/.test(textField(test, "operator"))) ||
    (test.type === "UnaryExpression" && textField(test, "operator") === "!")
  );
}

function isLeftAlone(node: Node, textOf: (node: Node) => string): boolean {
  if (node.type.startsWith("TS") && !wrapping.has(node.type)) {
    return true;
  }
  if (/^Import|^ExportAll/.test(node.type)) {
    return true;
  }
  const callee = node.type === "CallExpression" ? childOf(node, "callee") : undefined;
  return callee !== undefined && /^(assert|unreachable|assertNever|unreachableState)$/.test(textOf(callee));
}

function swapped(text: string, one: string, other: string): string {
  return text.includes(one) ? text.replace(one, other) : text.replace(other, one);
}

/** The file with the change made. */
export function applyMutant(text: string, { start, end, replacement }: GeneratedMutant): string {
  return text.slice(0, start) + replacement + text.slice(end);
}
