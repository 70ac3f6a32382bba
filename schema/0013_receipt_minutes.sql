-- In which minutes an id has receipts. The receipts lie by key, so by minute: to find all of an id, their index on `payload`
-- read nearly all of them for a few hundred ids. Here 500 ids cost the same at any size, as long as there are few parts: so
-- a partition is a week, and what one id costs to read is small (decision 0075).

CREATE TABLE IF NOT EXISTS {{database}}.headrace_receipt_minutes (
  -- The first 12 of the id's 16 bytes. Two ids may have the same ones: both are found then.
  head FixedString(12) CODEC(NONE) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096),
  minute DateTime('UTC') CODEC(T64, ZSTD(1)) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096),
  tenant LowCardinality(String) CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096)
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(minute)
PRIMARY KEY head
ORDER BY (head, minute, tenant)
TTL toDateTime(minute) + toIntervalDay({{receipts_days}})
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1;

-- A receipt whose row here is missing was never acknowledged: its INSERT is repeated until both are there.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.headrace_receipt_minutes_mv TO {{database}}.headrace_receipt_minutes AS
SELECT toFixedString(substring(payload, 1, 12), 12) AS head, minute, tenant FROM {{database}}.headrace_receipts;

-- Those that were there before. What the view has taken meanwhile is the same row, and stays one.
INSERT INTO {{database}}.headrace_receipt_minutes
SELECT toFixedString(substring(payload, 1, 12), 12) AS head, minute, tenant FROM {{database}}.headrace_receipts
SETTINGS max_partitions_per_insert_block = 0, max_execution_time = 0;

-- Of the receipts themselves a few hundred single granules are read: less is decompressed for each. Parts have it from their next
-- merge on.
ALTER TABLE {{database}}.headrace_receipts MODIFY SETTING min_compress_block_size = 16384, max_compress_block_size = 16384;

-- Nothing asks for it any more.
ALTER TABLE {{database}}.headrace_receipts DROP INDEX IF EXISTS idx_payload;
