-- Payloads that could not be stored, with what ClickHouse or the decoder said. Whether one has been replayed, purged
-- or erased since is what its receipt says. One row per key, the latest.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_dead_letters (
  key String CODEC(ZSTD(1)),
  payload FixedString(16) DEFAULT unhex(payload_hex) CODEC(NONE),
  payload_hex String EPHEMERAL,
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  tenant LowCardinality(String) CODEC(ZSTD(1)),
  -- decode, rejected:<code>, missing_object
  reason LowCardinality(String) CODEC(ZSTD(1)),
  message String CODEC(ZSTD(1)),
  -- The last group that it was in, and how often one with it was refused.
  group_id String CODEC(ZSTD(1)),
  refusals UInt16 CODEC(ZSTD(1)),
  spans UInt32 CODEC(ZSTD(1)),
  bytes UInt64 CODEC(ZSTD(1)),
  -- The key of its record in R2.
  record String CODEC(ZSTD(1)),
  at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  INDEX idx_payload payload TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toDate(minute)
ORDER BY key
TTL toDateTime(minute) + toIntervalDay({{receipts_days}})
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1;
