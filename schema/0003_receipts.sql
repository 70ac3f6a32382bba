-- How the key of each accepted payload ended. One row per key; where two were written, the higher rank holds, among
-- equals the later one. ORDER BY key equals R2's listing order byte by byte, so the reconciler is a merge-join.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_receipts (
  -- The payload's key in R2: p/0/t/{minute}/{tenant}/{id}
  key String CODEC(ZSTD(1)),
  -- Its id, as in HeadracePayload of the traces. An INSERT of text names payload_hex instead.
  payload FixedString(16) DEFAULT unhex(payload_hex) CODEC(NONE),
  payload_hex String EPHEMERAL,
  -- The minute of arrival.
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  tenant LowCardinality(String) CODEC(ZSTD(1)),
  outcome Enum8('dead' = 1, 'duplicate' = 2, 'stored' = 3, 'erased' = 4) CODEC(ZSTD(1)),
  -- The group that stored it: its insert_deduplication_token, 32 hex digits. Empty where none did.
  group_id String CODEC(ZSTD(1)),
  spans UInt32 CODEC(ZSTD(1)),
  rejected_spans UInt32 CODEC(ZSTD(1)),
  -- Rows by day of their Timestamp: what the table must show for this payload.
  spans_by_day Map(Date, UInt32) CODEC(ZSTD(1)),
  -- The body as received.
  bytes UInt64 CODEC(T64, ZSTD(1)),
  -- Why it is dead or erased; empty for the others.
  reason String CODEC(ZSTD(1)),
  at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  rank UInt8 DEFAULT toUInt8(outcome) CODEC(ZSTD(1)),
  INDEX idx_payload payload TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toDate(minute)
ORDER BY key
TTL toDateTime(minute) + toIntervalDay({{receipts_days}})
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1;
