-- Tables that the Collector's exporter made in 2023 and before have no columns of the scope: its name and version were span
-- attributes there. Elsewhere nothing happens.
ALTER TABLE {{traces}}
  ADD COLUMN IF NOT EXISTS ScopeName String CODEC(ZSTD(1)) AFTER ResourceAttributes,
  ADD COLUMN IF NOT EXISTS ScopeVersion String CODEC(ZSTD(1)) AFTER ScopeName;
