/** Runs own-worker.ts in a workerd of its own, with nothing of Miniflare's around it. */
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as v from "valibot";
import { bundleWorker } from "../../dev/bundle.ts";
import { type PeerProcess, startPeer } from "./processes.ts";

/** The workerd that Miniflare brings, without types of its own: the program's path, and the date it was made for. */
const { default: workerd, compatibilityDate } = v.parse(
  v.object({ default: v.string(), compatibilityDate: v.string() }),
  createRequire(createRequire(import.meta.url).resolve("miniflare"))("workerd"),
);

/** A string of Cap'n Proto's text form. */
const text = (value: string): string => JSON.stringify(value);

export async function startOwnWorker(
  folder: string,
  port: number,
  clickhouseUrl: string,
): Promise<PeerProcess> {
  writeFileSync(join(folder, "own.js"), await bundleWorker(join(import.meta.dirname, "own-worker.ts")));
  const file = join(folder, "own.capnp");
  writeFileSync(
    file,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "own.js", esModule = embed "own.js")],
      compatibilityDate = ${text(compatibilityDate)},
      bindings = [(name = "CLICKHOUSE_URL", text = ${text(clickhouseUrl)})],
    )),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = ${text(`127.0.0.1:${port}`)}, http = (), service = "main")],
);
`,
  );
  return await startPeer(workerd, ["serve", file], port);
}
