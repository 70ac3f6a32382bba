/**
 * Which installation a command speaks to: a profile, then the environment, then what `npm run dev` wrote. Pure; the
 * caller reads the files. The token of one installation never goes to the address of another.
 */
import * as v from "valibot";
import { addressRefusal, privateNetworkWord } from "../shared/clickhouse/address.ts";
import { ok, type Result, refuse } from "../shared/result.ts";

export interface Installation {
  readonly console: string;
  readonly adminToken: string;
  /** The ingress's address and a key for sending, where the installation names them: `doctor` sends a canary there. */
  readonly otlp: string | undefined;
  readonly key: string | undefined;
  /** A service token of Cloudflare Access, for a console behind it; undefined: none is set. */
  readonly access?: { readonly id: string; readonly secret: string } | undefined;
  /** For messages: where address and token come from. */
  readonly from: string;
  /** Whether it is what `npm run dev` runs. */
  readonly isLocal: boolean;
}

const isHttpUrl = (text: string): boolean => addressRefusal(text, true, { name: "", declare: "" }) === "";
const urlSchema = v.pipe(v.string(), v.check(isHttpUrl, "is not a URL"));
const tokenSchema = v.pipe(v.string(), v.minLength(1, "is empty"));

const profileSchema = v.object({
  console: urlSchema,
  adminToken: tokenSchema,
  otlp: v.optional(urlSchema),
  key: v.optional(v.string()),
  /** Its addresses are of a private network: `http://` is let through. */
  network: v.optional(v.literal(privateNetworkWord)),
});
export type Profile = v.InferOutput<typeof profileSchema>;
export const profilesSchema = v.record(v.string(), profileSchema);

const devFileSchema = v.object({
  console: urlSchema,
  adminToken: tokenSchema,
  otlp: urlSchema,
  key: v.string(),
});

export interface InstallationFacts {
  readonly url: string | undefined;
  readonly profile: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A file as a person would name it, and its text; undefined: it is not there. */
  readonly profiles: { readonly path: string; readonly text: string | undefined };
  readonly dev: { readonly path: string; readonly text: string | undefined };
}

export function chooseInstallation(facts: InstallationFacts): Result<Installation, string> {
  const chosen = chosenInstallation(facts);
  if (!chosen.ok) {
    return chosen;
  }
  const { network, ...installation } = { ...chosen.value, access: accessOf(facts.env, chosen.value) };
  const isPrivate = (network ?? nonEmpty(facts.env["HEADRACE_NETWORK"])) === privateNetworkWord;
  for (const address of [installation.console, installation.otlp]) {
    const refusal =
      address === undefined
        ? ""
        : addressRefusal(address, isPrivate, {
            name: `the address of ${installation.from}`,
            declare: `set HEADRACE_NETWORK to ${privateNetworkWord} (or "network" of the profile)`,
          });
    if (refusal !== "") {
      return refuse(refusal);
    }
  }
  return ok(installation);
}

/** A service token goes to a deployed console and not to the local one, which has no Access. */
function accessOf(env: InstallationFacts["env"], { isLocal }: Installation): Installation["access"] {
  const id = nonEmpty(env["CF_ACCESS_CLIENT_ID"]);
  const secret = nonEmpty(env["CF_ACCESS_CLIENT_SECRET"]);
  return isLocal || id === undefined || secret === undefined ? undefined : { id, secret };
}

/** With what a profile says of its network. */
type Chosen = Installation & Pick<Profile, "network">;

function chosenInstallation(facts: InstallationFacts): Result<Chosen, string> {
  const { env } = facts;
  const name = facts.profile ?? nonEmpty(env["HEADRACE_PROFILE"]);
  if (name !== undefined) {
    return overridden(facts, ofProfile(name, facts.profiles));
  }
  const url = nonEmpty(env["HEADRACE_CONSOLE_URL"]);
  const token = nonEmpty(env["HEADRACE_ADMIN_TOKEN"]);
  if (url !== undefined) {
    if (!isHttpUrl(url)) {
      return refuse(`HEADRACE_CONSOLE_URL is a URL that begins with http:// or https://, not "${url}"`);
    }
    if (token === undefined) {
      return refuse("HEADRACE_CONSOLE_URL is set and HEADRACE_ADMIN_TOKEN is not: set both");
    }
    const from = "HEADRACE_CONSOLE_URL and HEADRACE_ADMIN_TOKEN";
    return overridden(facts, ok(withEnvironment({ console: url, adminToken: token }, env, from)));
  }
  if (token !== undefined && facts.url !== undefined) {
    const from = "--url and HEADRACE_ADMIN_TOKEN";
    return ok(withEnvironment({ console: facts.url, adminToken: token }, env, from));
  }
  return overridden(facts, ofDevFile(facts.dev));
}

/** `--url` replaces the address; a token is sent only where it belongs, so the origins must be equal. */
function overridden(
  { url, env }: InstallationFacts,
  installation: Result<Chosen, string>,
): Result<Chosen, string> {
  if (url === undefined || !installation.ok) {
    return url !== undefined && !installation.ok
      ? refuse(
          `--url names no token: set HEADRACE_ADMIN_TOKEN, or name a --profile (${installation.refusal})`,
        )
      : installation;
  }
  const token = nonEmpty(env["HEADRACE_ADMIN_TOKEN"]);
  if (token === undefined && new URL(url).origin !== new URL(installation.value.console).origin) {
    return refuse(
      `the token of ${installation.value.from} is for ${new URL(installation.value.console).origin} and is not sent to ${new URL(url).origin}: set HEADRACE_ADMIN_TOKEN`,
    );
  }
  return ok({ ...installation.value, console: url, adminToken: token ?? installation.value.adminToken });
}

function ofProfile(name: string, { path, text }: InstallationFacts["profiles"]): Result<Chosen, string> {
  if (text === undefined) {
    return refuse(`there is no profile file ${path}: \`headrace deploy\` writes it`);
  }
  const profiles = parse(profilesSchema, text);
  if (profiles === undefined) {
    return refuse(
      `${path} is not what \`headrace deploy\` writes: { "${name}": { "console", "adminToken" } }`,
    );
  }
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (profile === undefined) {
    const names = Object.keys(profiles);
    return refuse(
      `${path} has no profile "${name}"; it has ${names.length === 0 ? "none" : names.join(", ")}`,
    );
  }
  return ok({
    ...profile,
    otlp: profile.otlp,
    key: profile.key,
    from: `profile ${name}`,
    isLocal: false,
  });
}

function ofDevFile({ path, text }: InstallationFacts["dev"]): Result<Installation, string> {
  if (text === undefined) {
    return refuse(
      `there is no ${path}: start \`npm run dev\`, or set HEADRACE_CONSOLE_URL and HEADRACE_ADMIN_TOKEN, or name a --profile`,
    );
  }
  const dev = parse(devFileSchema, text);
  return dev === undefined
    ? refuse(`${path} is not what \`npm run dev\` writes; start it again`)
    : ok({ ...dev, from: path, isLocal: true });
}

function withEnvironment(
  installation: { readonly console: string; readonly adminToken: string },
  env: InstallationFacts["env"],
  from: string,
): Installation {
  return {
    ...installation,
    otlp: nonEmpty(env["HEADRACE_OTLP_URL"]),
    key: nonEmpty(env["HEADRACE_KEY"]),
    from,
    isLocal: false,
  };
}

function parse<S extends v.GenericSchema>(schema: S, text: string): v.InferOutput<S> | undefined {
  try {
    const parsed = v.safeParse(schema, JSON.parse(text));
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim();
}
