-- A payload whose rows were all older than the traces' TTL when they were inserted or verified: ClickHouse answers 200 and
-- keeps none of them. Of two receipts of one key it holds against `dead`, and gives way to `stored` (the TTL was made
-- longer, and the payload replayed).
ALTER TABLE {{database}}.headrace_receipts
  MODIFY COLUMN outcome Enum8('dead' = 1, 'duplicate' = 2, 'stored' = 3, 'erased' = 4, 'expired' = 5) CODEC(ZSTD(1)),
  MODIFY COLUMN rank UInt8 DEFAULT if(outcome = 'expired', 2, toUInt8(outcome)) CODEC(ZSTD(1));
ALTER TABLE {{database}}.headrace_minutes ADD COLUMN IF NOT EXISTS expired UInt64 CODEC(T64, ZSTD(1)) AFTER erased;
