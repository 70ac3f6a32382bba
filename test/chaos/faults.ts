/**
 * The faults of the chaos run, each with the production fault that it stands for. The run prints how often each came.
 */
import { type SeededRandom, seededRandom } from "../../dev/send/seeded-random.ts";

export const faults = {
  cut_before: "a connection that breaks before ClickHouse has the request: a load balancer that restarts",
  cut_in_body: "a connection that breaks in the middle of the request's body",
  cut_after: "ClickHouse does what was asked, its answer is lost",
  cut_in_answer: "the connection breaks after ClickHouse's status and headers",
  late_request:
    "a request that something in between holds for up to 30 s, whether or not anybody still waits",
  late_answer: "an answer that takes longer than the attempt's lease (90 s)",
  error: "a gateway's own 500",
  overloaded: "a gateway's own 503",
  html: "a login page or a firewall's challenge, with status 200",
  workers_killed:
    "every isolate, the ledger and all queue messages are lost at once, in the middle of INSERTs",
  engine_killed: "the database server is killed in the middle of INSERTs and started again",
  outage: "the database server is gone for a while; clients still get 200",
  doorbell_again: "a queue delivers a message twice",
  event_again: "R2 notifies twice, or early",
  replayed: "an operator replays a payload that is not dead",
  sent_again: "a client whose 200 was lost sends the same bytes again",
  poison: "a payload that the table refuses",
  delivered_late:
    "an INSERT that something in between holds until its payloads have been stored under other tokens, and delivers then",
  delivered_twice: "an INSERT that something in between delivers again, long after its answer",
  hung_up: "a client that breaks off at any byte of its body, the last one too",
  slow_upload: "a client whose body comes in pieces, over seconds",
  wide: "a payload that is small on its way and large as rows: a long resource, repeated in each",
  slow: "a payload that takes long to transcode: thousands of attributes in each row",
  too_old: "spans that the table's TTL drops at their INSERT, alone or among others",
  sampling_changed: "an operator changes how many traces a key keeps while its clients send and send again",
} as const;

export type Fault = keyof typeof faults;

/** What the proxy does to a request. */
export type ProxyFault = Extract<
  Fault,
  | "cut_before"
  | "cut_in_body"
  | "cut_after"
  | "cut_in_answer"
  | "late_request"
  | "late_answer"
  | "error"
  | "overloaded"
  | "html"
  | "delivered_late"
  | "delivered_twice"
>;

const proxyFaults: readonly ProxyFault[] = [
  "cut_before",
  "cut_in_body",
  "cut_after",
  "cut_after", // twice as often: what is committed and not known to be is the hard case
  "cut_in_answer",
  "late_request",
  "late_answer",
  "error",
  "overloaded",
  "html",
];

/** Chooses what breaks. One seed makes the same choices; which request meets which is up to the machine. */
export interface Chooser {
  readonly random: SeededRandom;
  /** For one request to ClickHouse; undefined: it is forwarded as it is. */
  ofRequest(isInsert: boolean): ProxyFault | undefined;
}

/** A third of the INSERTs break: enough for groups that break several times, and few enough that most end. */
const insertFaults = 0.35;
/** Kept until the end, so few: each costs its group three attempts and a fence. */
const lateShare = 0.06;
const twiceShare = 0.1;
/** Receipts, counts, the table check: whatever else the Workers ask of ClickHouse. */
const otherFaults = 0.08;

export function newChooser(seed: number): Chooser {
  const random = seededRandom(seed);
  let inserts = 0;
  return {
    random,
    ofRequest(isInsert) {
      if (isInsert) {
        inserts += 1;
        // The first two are, so that the shortest run has both.
        if (inserts <= 2) {
          return inserts === 1 ? "delivered_late" : "delivered_twice";
        }
        if (random.chance(lateShare)) {
          return "delivered_late";
        }
        if (random.chance(twiceShare)) {
          return "delivered_twice";
        }
      }
      return random.chance(isInsert ? insertFaults : otherFaults) ? random.pick(proxyFaults) : undefined;
    },
  };
}
