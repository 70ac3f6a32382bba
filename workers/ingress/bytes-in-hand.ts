/**
 * The bytes that an isolate has in hand, of requests and of a collector alike: the platform may run an object where its Worker runs,
 * and 128 MB are for both. A collector takes from it as one key does, so that it leaves requests their room.
 */
import { ByteBudget } from "../../shared/byte-budget.ts";
import { limits } from "../../shared/limits.ts";

/** One per Worker instance. */
export const budget = new ByteBudget(
  limits.ingressBodyBytesMax,
  limits.ingressKeyBytesMax,
  limits.ingressBytesInHandMax - limits.ingressBodyBytesMax,
);
