-- Minutes that were sealed: everything accepted in them is stored, dead, duplicate or erased. One row per minute and
-- tenant, the latest; a minute that is opened again (finding late_put) gets a row with sealed = false.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_minutes (
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  tenant LowCardinality(String) CODEC(ZSTD(1)),
  sealed Bool CODEC(ZSTD(1)),
  accepted UInt64 CODEC(T64, ZSTD(1)),
  stored UInt64 CODEC(T64, ZSTD(1)),
  dead UInt64 CODEC(T64, ZSTD(1)),
  duplicate UInt64 CODEC(T64, ZSTD(1)),
  erased UInt64 CODEC(T64, ZSTD(1)),
  spans UInt64 CODEC(T64, ZSTD(1)),
  rejected_spans UInt64 CODEC(T64, ZSTD(1)),
  bytes UInt64 CODEC(T64, ZSTD(1)),
  -- The sum, modulo 2^64, of the first 8 bytes (little-endian) of the ids of all keys: equal sets have equal sums.
  key_checksum UInt64 CODEC(NONE),
  at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, tenant)
TTL toDateTime(minute) + toIntervalDay({{minutes_days}})
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;
