-- How requests ended, anew: by key and with a reason. Best effort: what an isolate of the ingress had not reported when
-- it ended is missing, so these are not evidence; receipts are. Nothing was ever written into the earlier form.

DROP TABLE IF EXISTS {{database}}.headrace_outcomes SYNC;

-- A reporter (one isolate, for as long as it lives) writes a minute's totals, and may write them again, larger: the
-- latest sequence holds, so a repeated or overtaken message changes nothing. Sums are over the reporters: with FINAL.
CREATE TABLE IF NOT EXISTS {{database}}.headrace_outcomes (
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  -- Both empty where no key names them; the key's id is the SHA-256 of the key.
  tenant LowCardinality(String) CODEC(ZSTD(1)),
  key String CODEC(ZSTD(1)),
  -- A word of shared/outcome.ts, and why.
  outcome LowCardinality(String) CODEC(ZSTD(1)),
  reason LowCardinality(String) CODEC(ZSTD(1)),
  reporter String CODEC(ZSTD(1)),
  sequence UInt64 CODEC(T64, ZSTD(1)),
  -- Each request has one outcome. A row of `sampled` with reason `some_spans` counts spans of requests of other outcomes.
  requests UInt64 CODEC(T64, ZSTD(1)),
  -- Good spans in these requests, as far as they were counted: accepted, refused with the request, or left out.
  spans UInt64 CODEC(T64, ZSTD(1)),
  rejected_spans UInt64 CODEC(T64, ZSTD(1)),
  -- Bodies as received.
  bytes UInt64 CODEC(T64, ZSTD(1)),
  -- KV reads and calls of the Meter that these requests made.
  key_lookups UInt64 CODEC(T64, ZSTD(1)),
  meter_calls UInt64 CODEC(T64, ZSTD(1)),
  at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(sequence)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, tenant, key, outcome, reason, reporter)
TTL toDateTime(minute) + toIntervalDay({{minutes_days}})
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;

-- What each tenant has sent by day of arrival, from the receipts: evidence. What was sent twice counts once; what is in
-- flight counts when it has ended.
CREATE VIEW IF NOT EXISTS {{database}}.headrace_usage AS
SELECT
  tenant,
  toDate(minute) AS day,
  count() AS payloads,
  sum(spans) AS spans,
  sum(rejected_spans) AS rejected_spans,
  sum(bytes) AS bytes
FROM {{database}}.headrace_receipts FINAL
WHERE outcome != 'duplicate'
GROUP BY tenant, day;
