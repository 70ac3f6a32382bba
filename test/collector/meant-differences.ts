/**
 * Where our rows are meant to differ from the Collector's: docs/decisions/0020. Each request is sent to
 * both; rows are matched by name, Duration and attribute texts.
 */
import {
  attribute,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  request,
  span,
  startNanos,
  stringField,
  tag,
  value,
  varintField,
} from "../fixtures/protobuf.ts";

export interface MeantDifference {
  readonly name: string;
  readonly body: Uint8Array;
  /** The Collector's answer. */
  readonly status: 200 | 400;
  /** Rows that only the Collector has, and only we. */
  readonly theirs: readonly string[];
  readonly ours: readonly string[];
}

const named = (name: string) => stringField(5, name);
const wrapped = (nanos: bigint): string => String(BigInt.asUintN(64, nanos));
const good = span(named("good"));
const day = 86_400_000_000_000n;

export const meantDifferences: readonly MeantDifference[] = [
  {
    name: "a span that ends before it starts has Duration 0, theirs wraps around",
    body: request(
      good,
      span(named("ends before it starts"), fixed64Field(8, startNanos - 1n)),
      span(named("without end"), fixed64Field(8, 0n)),
    ),
    status: 200,
    theirs: [`ends before it starts ${wrapped(-1n)}`, `without end ${wrapped(-startNanos)}`],
    ours: ["ends before it starts 0", "without end 0"],
  },
  {
    name: "spans without ids and with a start out of bounds are refused one by one, theirs are stored",
    body: request(
      good,
      span(named("trace id zero"), bytesField(1, new Uint8Array(16))),
      span(named("span id zero"), bytesField(2, new Uint8Array(8))),
      span(named("no start"), fixed64Field(7, 0n)),
      span(named("before the bounds"), fixed64Field(7, startNanos - 90n * day)),
    ),
    status: 200,
    theirs: [
      `before the bounds ${1500n + 90n * day}`,
      `no start ${startNanos + 1500n}`,
      "span id zero 1500",
      "trace id zero 1500",
    ],
    ours: [],
  },
  {
    name: "a span with an id of a wrong length is refused alone, theirs takes the whole request along",
    body: request(good, span(named("short trace id"), bytesField(1, [1, 2]))),
    status: 400,
    theirs: [],
    ours: ["good 1500"],
  },
  {
    name: "a value in two pieces is one, as protobuf says; theirs is the last piece",
    body: request(
      good,
      span(named("array"), attribute("v", join(value.array(value.int(1)), value.array(value.int(2))))),
      span(
        named("map"),
        attribute("v", join(value.map(keyValue("x", value.int(1))), value.map(keyValue("y", value.int(2))))),
      ),
    ),
    status: 200,
    theirs: ["array 1500 [2]", 'map 1500 {"y":2}'],
    ours: ["array 1500 [1,2]", 'map 1500 {"x":1,"y":2}'],
  },
  {
    name: "an unknown group is skipped, theirs refuses the request",
    body: request(good, span(named("with a group"), join(tag(40, 3), varintField(1, 1), tag(40, 4)))),
    status: 400,
    theirs: [],
    ours: ["good 1500", "with a group 1500"],
  },
  {
    // The texts are compared as UTF-8, where both are the same.
    name: "text that is not UTF-8 has U+FFFD, theirs is stored as it is",
    body: request(good, span(named("x"), attribute("v", bytesField(1, [0x61, 0xff])))),
    status: 200,
    theirs: [],
    ours: [],
  },
];

/** The rows that only one side has. */
export function differenceOf(
  their: readonly string[],
  our: readonly string[],
): { readonly theirs: readonly string[]; readonly ours: readonly string[] } {
  return {
    theirs: their.filter((row) => !our.includes(row)),
    ours: our.filter((row) => !their.includes(row)),
  };
}
