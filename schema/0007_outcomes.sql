-- How requests ended, by minute, for those that were never accepted and those that were. A reporter (one instance of a
-- Worker, for as long as it lives) writes the totals of a minute and may write them again, larger: a row says
-- everything that its reporter counted, so a repeated INSERT changes nothing.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_outcomes (
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  -- Empty where no key names it.
  tenant LowCardinality(String) CODEC(ZSTD(1)),
  outcome LowCardinality(String) CODEC(ZSTD(1)),
  reporter String CODEC(ZSTD(1)),
  requests UInt64 CODEC(T64, ZSTD(1)),
  spans UInt64 CODEC(T64, ZSTD(1)),
  rejected_spans UInt64 CODEC(T64, ZSTD(1)),
  bytes UInt64 CODEC(T64, ZSTD(1)),
  at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(requests)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, tenant, outcome, reporter)
TTL toDateTime(minute) + toIntervalDay({{minutes_days}})
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;
