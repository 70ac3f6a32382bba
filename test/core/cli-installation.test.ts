import { describe, expect, test } from "vitest";
import { chooseInstallation, type InstallationFacts } from "../../cli/installation.ts";

const dev = JSON.stringify({
  otlp: "http://127.0.0.1:4318",
  key: "hr_x",
  clickhouse: "http://127.0.0.1:8123",
  console: "http://127.0.0.1:4319",
  adminToken: "local",
});
const profiles = JSON.stringify({
  production: { console: "https://console.example", adminToken: "secret", otlp: "https://otlp.example" },
});

function choose(changed: Partial<InstallationFacts>) {
  const installation = chooseInstallation({
    url: undefined,
    profile: undefined,
    env: {},
    profiles: { path: "/home/op/profiles.json", text: profiles },
    dev: { path: ".headrace/dev.json", text: dev },
    ...changed,
  });
  return installation.ok
    ? `${installation.value.console} ${installation.value.adminToken}`
    : installation.refusal;
}

describe("which installation a command speaks to", () => {
  test("is a profile, then the environment, then what npm run dev wrote", () => {
    const env = { HEADRACE_CONSOLE_URL: "https://env.example", HEADRACE_ADMIN_TOKEN: "env" };
    expect(choose({ profile: "production", env })).toBe("https://console.example secret");
    expect(choose({ env: { ...env, HEADRACE_PROFILE: "production" } })).toBe(
      "https://console.example secret",
    );
    expect(choose({ env })).toBe("https://env.example env");
    expect(choose({})).toBe("http://127.0.0.1:4319 local");
  });

  test("is never an address with another one's token", () => {
    const url = "https://evil.example";
    expect(choose({ url })).toContain("is not sent to https://evil.example");
    expect(choose({ url, profile: "production" })).toContain("is not sent to https://evil.example");
    expect(choose({ url: "http://127.0.0.1:4319/" })).toBe("http://127.0.0.1:4319/ local");
    expect(choose({ url, env: { HEADRACE_ADMIN_TOKEN: "mine" } })).toBe("https://evil.example mine");
  });

  test("gets its token over http only on this machine, or in a network that is declared private", () => {
    const env = { HEADRACE_CONSOLE_URL: "http://10.0.0.5:4319", HEADRACE_ADMIN_TOKEN: "env" };
    expect(choose({ env })).toMatch(
      /^the address of HEADRACE_CONSOLE_URL and .* is http:\/\/10\.0\.0\.5:4319: .*in the clear/,
    );
    expect(choose({ env: { ...env, HEADRACE_NETWORK: "private-network" } })).toBe("http://10.0.0.5:4319 env");
    expect(choose({ env: { ...env, HEADRACE_CONSOLE_URL: "http://127.0.0.1.example.com" } })).toContain(
      "in the clear",
    );
    expect(choose({ url: "http://console.example", env: { HEADRACE_ADMIN_TOKEN: "mine" } })).toContain(
      "in the clear",
    );
    const profile = (more: object) =>
      choose({
        profile: "x",
        profiles: {
          path: "p",
          text: JSON.stringify({ x: { console: "http://c:1", adminToken: "t", ...more } }),
        },
      });
    expect(profile({})).toContain("in the clear");
    expect(profile({ network: "private-network" })).toBe("http://c:1 t");
    expect(profile({ console: "https://c", otlp: "http://ingest.example" })).toContain(
      "http://ingest.example",
    );
  });

  test.each<[string, Partial<InstallationFacts>, string]>([
    ["no file", { dev: { path: ".headrace/dev.json", text: undefined } }, "start `npm run dev`, or set"],
    ["a damaged file", { dev: { path: ".headrace/dev.json", text: "{" } }, "start it again"],
    [
      "an address without a token",
      { env: { HEADRACE_CONSOLE_URL: "https://x.example" } },
      "HEADRACE_ADMIN_TOKEN is not",
    ],
    ["an address that is none", { env: { HEADRACE_CONSOLE_URL: "x.example" } }, "begins with http"],
    ["a profile that is not there", { profile: "staging" }, 'has no profile "staging"; it has production'],
    ["a profile named like a method", { profile: "toString" }, 'has no profile "toString"'],
    [
      "no profile file",
      { profile: "production", profiles: { path: "/home/op/profiles.json", text: undefined } },
      "`headrace deploy` writes it",
    ],
  ])("is refused with what is missing: %s", (_name, changed, refusal) => {
    expect(choose(changed)).toContain(refusal);
  });
});
