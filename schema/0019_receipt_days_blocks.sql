-- Who asks by id for some hundred receipts reads a granule of 1,024 for each, and the days were, behind the keys, what took longest. Of a granule as
-- little as it has is read and decompressed now. Parts have it from their next merge on (decision 0104).
ALTER TABLE {{database}}.headrace_receipts
  MODIFY COLUMN spans_by_day Map(Date, UInt32) CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096);
