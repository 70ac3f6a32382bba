-- How far the balance has been proven: everything that arrived before `watermark` is stored, dead, duplicate or erased,
-- and nothing of it is in flight. A row whenever minutes were sealed or opened again; the newest one holds:
--   SELECT watermark FROM headrace_watermarks ORDER BY at DESC LIMIT 1
-- No row is written while nothing arrives, so that an idle ClickHouse can sleep: GET /api/watermark has moved on then.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_watermarks (
  at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  watermark DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  -- Minutes that were walked and are not sealed: something of them is in flight or missing.
  open_minutes UInt32 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY at
TTL toDateTime(at) + toIntervalDay({{minutes_days}})
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;
