import { expect, test } from "vitest";
import { CannotStart, readDevSettings } from "../../dev/settings.ts";

test("npm run dev sends a login over http to this machine alone, or into a network that is declared private", () => {
  const url = "http://headrace:secret@10.0.0.5:8123";
  expect(() => readDevSettings({ CLICKHOUSE_URL: url })).toThrow(
    /^CLICKHOUSE_URL is http:\/\/10\.0\.0\.5:8123: .* set CLICKHOUSE_NETWORK to private-network$/,
  );
  expect(() => readDevSettings({ CLICKHOUSE_URL: url })).toThrow(CannotStart);
  expect(() => readDevSettings({ CLICKHOUSE_URL: url, CLICKHOUSE_NETWORK: "yes" })).toThrow(
    /^CLICKHOUSE_NETWORK="yes" is not private-network\.$/,
  );
  expect(readDevSettings({ CLICKHOUSE_URL: url, CLICKHOUSE_NETWORK: "private-network" }).clickHouseUrl).toBe(
    url,
  );
  for (const fine of ["http://a:b@127.0.0.1:8123", "https://a:b@clickhouse.example.com:8443"]) {
    expect(readDevSettings({ CLICKHOUSE_URL: fine }).clickHouseUrl).toBe(fine);
  }
});

test("npm run dev collects where COLLECT is on, and takes no other word for it", () => {
  expect(readDevSettings({}).collect).toEqual({});
  const said = { COLLECT: "on", COLLECT_MS: "20" };
  expect(readDevSettings(said).collect).toEqual(said);
  expect(() => readDevSettings({ COLLECT: "yes" })).toThrow(/^COLLECT="yes" is not one of on, off\.$/);
  expect(() => readDevSettings({ COLLECT_MS: "2 s" })).toThrow(
    /^COLLECT_MS="2 s" is not a number of ms up to 1000\.$/,
  );
});
