/** The names of the local Workers and queues that more than one file speaks of. */

export const workerNames = {
  ingress: "headrace-ingress",
  consumer: "headrace-consumer",
  console: "headrace-console",
} as const;

export type Environment = keyof typeof workerNames;

/** The Worker that does what Cloudflare does (`stand-ins/`). */
export const standInsName = "headrace-stand-ins";

/** The queue of the first ring, as wrangler.toml names it. */
export const ringQueue = "headrace-ring";

/** The queue of the second ring, that R2 event notifications go to. */
export const lateQueue = "headrace-late";
