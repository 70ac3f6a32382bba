-- Ids begin with their minute (decision 0085), and lie in their order here: of 12 bytes 9.4 are left. Parts have it from their next merge on.
ALTER TABLE {{database}}.headrace_receipt_places MODIFY COLUMN head FixedString(12) CODEC(ZSTD(1));
