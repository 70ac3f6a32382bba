-- Of a payload in a segment headrace_receipt_places has the beginning of its place, `_2/` and seven characters of the segment's name: when
-- it was opened, to the millisecond, and 15 random bits. A name is 35 characters that nothing compresses, and was there once per payload;
-- where a key lies in the receipts its beginning says too (decision 0095). Rows of before have the whole place until they leave by their TTL.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.headrace_receipt_place_beginnings_mv TO {{database}}.headrace_receipt_places AS
SELECT toFixedString(substring(payload, 1, 12), 12) AS head, minute, tenant,
  substring(key, 23, least(10, greatest(0, toInt64(length(key)) - 49 - toInt64(length(tenant))))) AS place
FROM {{database}}.headrace_receipts;

-- The new view is there before the old one goes: what both have taken is found once.
DROP TABLE IF EXISTS {{database}}.headrace_receipt_places_mv;
