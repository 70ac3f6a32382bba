-- Of a payload in a segment headrace_receipt_places has the beginning of its place, and no tenant: five characters of the segment's name, which
-- are when it was opened, to the millisecond, and five random bits. A name is 35 characters that nothing compresses, and was there once
-- per payload; in which granules of the receipts its keys are its beginning says too (decision 0095). Rows of before have the whole place until
-- they leave by their TTL. An object of its own has the empty place and its tenant, as before.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.headrace_receipt_place_beginnings_mv TO {{database}}.headrace_receipt_places AS
SELECT toFixedString(substring(payload, 1, 12), 12) AS head, minute, if(substring(key, 23, 3) = '_2/', '', tenant) AS tenant,
  if(substring(key, 23, 3) = '_2/', substring(key, 26, 5), '') AS place
FROM {{database}}.headrace_receipts;

-- The new view is there before the old one goes: what both have taken is found twice.
DROP TABLE IF EXISTS {{database}}.headrace_receipt_places_mv;

-- Ids begin with their minute, and lie in their order here: of 12 bytes 9.4 are left. Parts have it from their next merge on.
ALTER TABLE {{database}}.headrace_receipt_places MODIFY COLUMN head FixedString(12) CODEC(ZSTD(1));
