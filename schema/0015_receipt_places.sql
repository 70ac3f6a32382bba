-- Where an id's receipts are: beside the minute and the tenant, what their key may have between the two, which is the object that a
-- payload is in beside others (a segment), and its place there. It takes over from headrace_receipt_minutes, whose rows leave by
-- their TTL (decision 0090).

CREATE TABLE IF NOT EXISTS {{database}}.headrace_receipt_places (
  -- The first 12 of the id's 16 bytes. Two ids may have the same ones: both are found then.
  head FixedString(12) CODEC(NONE) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096),
  minute DateTime('UTC') CODEC(T64, ZSTD(1)) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096),
  tenant LowCardinality(String) CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096),
  -- `_2/{name}/{slot}/`; empty for a payload with an object of its own. On disk 24.5 bytes per payload of segments of 20 (the whole row
  -- 37, where it was 13), of 10^6 receipts in one part: a segment's name is random, and ids of one segment do not lie together.
  place String CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096)
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(minute)
PRIMARY KEY head
ORDER BY (head, minute, tenant, place)
TTL toDateTime(minute) + toIntervalDay({{receipts_days}})
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1,
  min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

-- Behind `p/0/t/2026-11-24T0741/` and before the tenant and the id, of 26 characters, with a slash between them.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.headrace_receipt_places_mv TO {{database}}.headrace_receipt_places AS
SELECT toFixedString(substring(payload, 1, 12), 12) AS head, minute, tenant,
  substring(key, 23, greatest(0, toInt64(length(key)) - 49 - toInt64(length(tenant)))) AS place
FROM {{database}}.headrace_receipts;

-- The new view is there before the old one goes: what both have taken is found once.
DROP TABLE IF EXISTS {{database}}.headrace_receipt_minutes_mv;
