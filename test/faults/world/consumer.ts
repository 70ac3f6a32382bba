/**
 * The consumer Worker: the product's own work (shared/delivery/), its effects performed over this world. Between any two
 * effects time passes, and the invocation may die.
 */
import { type TakenMessage, takeBatch } from "../../../shared/delivery/batch.ts";
import type { DeliveryEffects } from "../../../shared/delivery/effects.ts";
import { subrequestsOf } from "../../../shared/delivery/subrequests.ts";
import { type Answered, type Asked, EffectFailed, type Failure, failure } from "../../../shared/effect.ts";
import type { Process } from "./clock.ts";
import { loseSomething } from "./incidents.ts";
import {
  type BatchInHand,
  BrokenByPayload,
  deleteKeysMax,
  type Hands,
  newHands,
  performer,
  takesTime,
  verifyGetsMax,
} from "./perform.ts";
import type { Message, Queue } from "./queue.ts";
import { Invocation, isWorldFailure, Unanswered, type World } from "./world.ts";

/** A batch was delivered. What it acknowledges is sent when the handler returns; it is redelivered when it throws or is killed. */
export function deliverBatch(world: World, messages: readonly Message[], queue: Queue): void {
  const batch: BatchInHand = { messages, acked: new Set(), retried: new Set(), isDoomed: false };
  const dies = () => batch.isDoomed || world.fate.strikes("consumer dies");
  world.clock.start(handleBatch(world, batch, queue), dies, () => {
    world.say(() => "a consumer died");
    // Acks are sent when the handler ends: whether those of one that died arrived is not known.
    end(batch, queue, world.fate.choices.oneOf(2) === 0);
  });
}

/** One loop for all of it: a generator for each wait and each effect took a fifth of a schedule's time. */
function* handleBatch(world: World, batch: BatchInHand, queue: Queue): Process {
  const { codecVersion, queues } = world; // an isolate runs one version to its end
  const taken = batch.messages.map(readMessage);
  const now = () => world.clock.now + world.skews.consumer;
  const context = { now, codecVersion, deleteKeysMax, verifyGetsMax };
  const work = takeBatch(taken, queue === queues.dead, context);
  const hands = newHands(world, batch, codecVersion);
  const invocation = new Invocation(world, "a batch");
  try {
    let step = work.next();
    while (step.done !== true) {
      invocation.spend(subrequestsOf(step.value));
      if (!sentAtOnce.has(step.value.name)) {
        yield pauseMs(world);
        loseSomething(world);
      }
      let answer: Answered<DeliveryEffects>;
      try {
        const { name } = step.value;
        const result = start(step.value, hands);
        const value = takesTime.has(name) ? yield* result as Process<unknown> : result;
        answer = value instanceof Unanswered ? value : ({ is: "done", to: name, value } as typeof answer);
      } catch (error) {
        answer = failureOf(error);
      }
      step = work.next(answer);
    }
  } catch (error) {
    if (!(error instanceof EffectFailed)) {
      throw error; // ours
    }
    // The handler throws: what it had acknowledged before that is acknowledged all the same.
  }
  end(batch, queue, true);
}

/** What was acknowledged is, where that arrives; everything else is redelivered. */
function end({ messages, acked, retried }: BatchInHand, queue: Queue, arrives: boolean): void {
  const isDone = (message: Message) => arrives && acked.has(message) && !retried.has(message);
  queue.ack(messages.filter(isDone));
  queue.retry(messages.filter((message) => !isDone(message)));
}

/** Statements that are sent in the very moment in which the work has looked at its clock. */
const sentAtOnce: ReadonlySet<keyof DeliveryEffects> = new Set(["sendBlock", "clearRows"]);

function start<Name extends keyof DeliveryEffects>(
  { name, asks }: Asked<DeliveryEffects, Name>,
  hands: Hands,
) {
  return performer[name](hands, asks);
}

/** What the work is answered; throws what is a bug, or an invariant that broke: then the schedule fails. */
function failureOf(error: unknown): Failure {
  if (isWorldFailure(error)) {
    return failure(error);
  }
  if (error instanceof BrokenByPayload) {
    return { is: "broken", claim: error.message };
  }
  throw error;
}

function readMessage({ body, tries }: Message): TakenMessage {
  return { read: body, attempts: tries + 1 };
}

/** The network's way, or an isolate that waits: for its turn, for memory, for nobody knows what. */
export function pauseMs({ fate }: World): number {
  return fate.strikes("consumer stalls") ? fate.within(1000, 240_000) : fate.between(1, 30);
}
