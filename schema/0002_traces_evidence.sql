-- What makes the spans countable and their INSERTs repeatable, on a new table and on one that the Collector's exporter
-- made. The exporter's own INSERT names its columns, so it goes on as before.

-- Which payload a row came from. The exporter's rows have 16 zero bytes and an empty tenant.
ALTER TABLE {{traces}} ADD COLUMN IF NOT EXISTS HeadraceTenant LowCardinality(String) DEFAULT '' CODEC(ZSTD(1));
ALTER TABLE {{traces}} ADD COLUMN IF NOT EXISTS HeadracePayload FixedString(16) DEFAULT '' CODEC(ZSTD(1));

-- The default window is 0, which means no deduplication at all. The view's target needs one too, or its rows double at
-- each retry. The first setting is for plain MergeTree, the other two for Replicated and Shared tables.
ALTER TABLE {{traces}} MODIFY SETTING
  non_replicated_deduplication_window = {{deduplication_window}},
  replicated_deduplication_window = {{deduplication_window}},
  replicated_deduplication_window_seconds = {{deduplication_window_seconds}},
  lightweight_mutation_projection_mode = 'rebuild';
ALTER TABLE {{trace_id_ts}} MODIFY SETTING
  non_replicated_deduplication_window = {{deduplication_window}},
  replicated_deduplication_window = {{deduplication_window}},
  replicated_deduplication_window_seconds = {{deduplication_window_seconds}};

-- The table's own evidence: how many rows of a payload each day has. It is committed and deduplicated with its part.
-- Without 'rebuild' above a lightweight DELETE on this table fails with code 344.
ALTER TABLE {{traces}} ADD PROJECTION IF NOT EXISTS headrace_counts (
  SELECT HeadracePayload, toDate(Timestamp) AS day, count() GROUP BY HeadracePayload, day
);
-- Parts without a projection do not merge with parts that have it.
ALTER TABLE {{traces}} MATERIALIZE PROJECTION headrace_counts;
