/**
 * The two ways in which a body disappoints its reader. `MalformedBody` is a refusal that the sender reads: it names
 * what is wrong and where. `notCanonical` is internal: the fast readers throw it at anything that they do not take in
 * one look, and `canonical-form.ts` then decides slowly whether the body is unusual or wrong.
 */

/** The body is not what its content type says. The message is meant for the sender's developer. */
export class MalformedBody extends Error {
  override readonly name: string = "MalformedBody";
}

/** One list of the body has more members than are read. Thrown before the list takes an isolate's memory. */
export class TooManyMembers extends MalformedBody {
  override readonly name = "TooManyMembers";
}

/** Thrown by the readers of the canonical form. It never leaves `shared/`. */
export class NotCanonical extends Error {
  override readonly name = "NotCanonical";
}

/** One instance for all: capturing a stack for each would cost more than reading a body. */
export const notCanonical = new NotCanonical("the body is not in the canonical form");
