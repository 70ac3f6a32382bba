-- What a person should know. One row a finding, the latest state of it.

CREATE TABLE IF NOT EXISTS {{database}}.headrace_findings (
  -- A word of shared code, for example inexact, lost_rows, late_put, unlisted_code, table_check.
  kind LowCardinality(String),
  -- What it is about: a key, a payload, a group, a minute, a table.
  subject String,
  opened_at DateTime64(3, 'UTC'),
  state Enum8('open' = 1, 'resolved' = 2),
  severity Enum8('note' = 1, 'warning' = 2, 'page' = 3),
  tenant LowCardinality(String),
  message String,
  -- JSON, for programs.
  detail String,
  at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(opened_at)
ORDER BY (kind, subject, opened_at)
TTL toDateTime(at) + toIntervalDay({{minutes_days}})
SETTINGS index_granularity = 1024;
