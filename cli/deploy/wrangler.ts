/** Runs the project's own wrangler. Secrets go to its standard input and nowhere else. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";

export interface WranglerAnswer {
  readonly ok: boolean;
  readonly out: string;
  /** Both streams, for a message. */
  readonly text: string;
}

export interface WranglerCall {
  readonly argv: readonly string[];
  /** Written to its standard input, which then ends. */
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export type Wrangler = (call: WranglerCall) => Promise<WranglerAnswer>;

/** The wrangler of package.json, in its exact version. */
export function projectWrangler(): string {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve("wrangler/package.json")), "bin", "wrangler.js");
}

/** What wrangler is given of the environment: what it finds its way and its login by. No secret of ours is among it. */
const givenNames = new Set([
  "PATH",
  "HOME",
  "XDG_CONFIG_HOME",
  "TMPDIR",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "ALL_PROXY",
  "NODE_EXTRA_CA_CERTS",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  // Windows: where the system, a profile and temporary files are.
  "SYSTEMROOT",
  "COMSPEC",
  "PATHEXT",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
  "TEMP",
  "TMP",
]);

function environmentFor(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  const isGiven = (name: string): boolean => givenNames.has(name) || name.startsWith("CLOUDFLARE_");
  return Object.fromEntries(Object.entries(env).filter(([name]) => isGiven(name.toUpperCase())));
}

/** `path`: an executable, or a script that Node runs. `folder`: its working directory; wrangler reads no file there. */
export function wranglerAt(
  path: string,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): Wrangler {
  const isScript = /\.[cm]?js$/.test(path);
  return ({ argv, stdin, env: more }) =>
    new Promise((resolve, reject) => {
      const child = spawn(isScript ? process.execPath : path, isScript ? [path, ...argv] : argv, {
        cwd: folder,
        // Plain text in a fixed language of forms: no colours, no questions, no reports.
        env: {
          ...environmentFor(env),
          NO_COLOR: "1",
          FORCE_COLOR: "0",
          CI: "1",
          WRANGLER_SEND_METRICS: "false",
          ...more,
        },
        stdio: ["pipe", "pipe", "pipe"],
      });
      let out = "";
      let text = "";
      child.stdout.on("data", (bytes: Buffer) => {
        out += bytes;
        text += bytes;
      });
      child.stderr.on("data", (bytes: Buffer) => {
        text += bytes;
      });
      child.on("error", reject);
      child.stdin.on("error", () => {}); // a child that ends without reading its input has said why by its exit code
      child.stdin.end(stdin ?? "");
      child.on("close", (code) => resolve({ ok: code === 0, out, text }));
    });
}
