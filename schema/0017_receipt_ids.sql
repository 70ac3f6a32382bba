-- Where an id's receipts are, in half of what headrace_receipt_places takes: a segment's name is random, and was there once per payload
-- of it. Here it is once per segment, in a row of its own, and the payload's row has 16 bits that lead to it (decision 0099).
-- It takes over from headrace_receipt_places, whose rows leave by their TTL.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_receipt_ids (
  -- Of a payload: the first 8 of its id's 16 bytes; two ids may have the same ones, and both are found then. Of a segment: FF FF, the
  -- minute and `segment`, big-endian.
  head FixedString(8) CODEC(ZSTD(1)),
  minute DateTime('UTC') CODEC(T64, ZSTD(1)),
  -- Empty in a segment's row.
  tenant LowCardinality(String) CODEC(ZSTD(1)),
  -- Of the object that the payload is in beside others: 1 to 65535, by a hash. Two of a minute may have the same: both are looked in then.
  -- 0: the payload has an object of its own.
  segment UInt16 CODEC(ZSTD(1)),
  -- The payload's place in it; 255 where it has none.
  slot UInt8 CODEC(ZSTD(1)),
  -- Of a segment's row alone: what its payloads' keys have behind the minute, `_2/{name}/`.
  path String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(minute)
PRIMARY KEY head
ORDER BY (head, minute, tenant, segment, slot, path)
TTL toDateTime(minute) + toIntervalDay({{receipts_days}})
SETTINGS index_granularity = 256, min_compress_block_size = 4096, max_compress_block_size = 4096, ttl_only_drop_parts = 1,
  min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

-- Of each receipt the payload's row and its segment's; of the latter one is left per INSERT, and one per merge. A part has both or none.
-- A key is `p/0/t/2026-11-24T0741/{place}{tenant}/{id}`, the id of 26 characters. A place that is not of a segment's form
-- is a path without slots.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.headrace_receipt_ids_mv TO {{database}}.headrace_receipt_ids AS
SELECT
  CAST(if(is_payload, substring(payload, 1, 8), concat(
    unhex('FFFF'), reinterpretAsFixedString(byteSwap(toUInt32(minute))), reinterpretAsFixedString(byteSwap(segment)))), 'FixedString(8)') AS head,
  minute,
  if(is_payload, tenant, '') AS tenant,
  segment,
  if(is_payload AND has_slots, toUInt8OrZero(substring(place, 40, 3)), 255) AS slot,
  if(is_payload, '', whole_path) AS path
FROM (
  SELECT
    payload, minute, tenant,
    substring(key, 23, greatest(0, toInt64(length(key)) - 49 - toInt64(length(tenant)))) AS place,
    match(place, '^_2/[0-9a-v]{35}/[01][0-9][0-9]/$') AS has_slots,
    if(has_slots, substring(place, 1, 39), place) AS whole_path,
    toUInt16(if(place = '', 0, 1 + sipHash64(whole_path) % 65535)) AS segment,
    arrayJoin(if(place = '', [true], [true, false])) AS is_payload
  FROM {{database}}.headrace_receipts
);
