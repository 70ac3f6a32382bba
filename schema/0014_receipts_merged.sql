-- A day's receipts, and a week's minutes of them, become one part when nothing was written there for a day. Each part more of the
-- minutes is one granule more to read per id, and each one of the receipts has every column's file to be opened: left to
-- themselves, some parts of an old partition stay apart for weeks.
ALTER TABLE {{database}}.headrace_receipts
  MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;
ALTER TABLE {{database}}.headrace_receipt_minutes
  MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;
