-- After the Workers of this version, which read headrace_receipt_ids: those of before found receipts by what this view wrote. docs/operating.md,
-- "Rolling back", says how it is made again.
DROP TABLE IF EXISTS {{database}}.headrace_receipt_places_mv;
