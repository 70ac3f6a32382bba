/** What the engine's parent and child say to each other. */
import * as v from "valibot";

/** The child's only argument, as JSON. */
export const childOptionsSchema = v.object({
  directory: v.string(),
  host: v.string(),
  port: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)),
  password: v.string(),
});
export type ChildOptions = v.InferOutput<typeof childOptionsSchema>;

/** What the child says over IPC, once. */
export const childMessageSchema = v.variant("type", [
  v.object({
    type: v.literal("ready"),
    port: v.number(),
    /** Holds nothing worth keeping once the process has ended. */
    bodiesDirectory: v.string(),
  }),
  v.object({
    type: v.literal("failed"),
    reason: v.picklist(["port_taken", "directory_locked", "other"]),
    text: v.string(),
  }),
]);
export type ChildMessage = v.InferOutput<typeof childMessageSchema>;
