-- What lists traces: of each trace and minute its spans, its errors and its first root, beside the spans themselves. So the
-- console finds the newest traces without reading a span, and a DELETE takes a trace out of it with its rows, which a view
-- would keep. It is left out unless it is asked for (`headrace deploy --trace-projection`), and dropped again by ALTER TABLE … DROP
-- PROJECTION headrace_traces: the console then looks through the spans. What it costs: bench/README.md, "explore".
--
-- The console's queries repeat these expressions (shared/console/trace-queries.ts). `ParentSpanId <= ''` says "empty" in a
-- form that no server rewrites before it looks for a projection; for `= ''` newer ones read ParentSpanId.size instead.
ALTER TABLE {{traces}} ADD PROJECTION IF NOT EXISTS headrace_traces (
  SELECT
    toStartOfMinute(Timestamp),
    TraceId,
    count(),
    countIf(StatusCode = 'Error'),
    countIf(ParentSpanId <= ''),
    countIf(ParentSpanId <= '' AND StatusCode = 'Error'),
    minIf(
      (Timestamp, ServiceName, SpanName, SpanKind, StatusCode, Duration, HeadraceTenant, SpanId),
      ParentSpanId <= ''
    )
  GROUP BY toStartOfMinute(Timestamp), TraceId
);
-- Parts without a projection do not merge with parts that have it.
ALTER TABLE {{traces}} MATERIALIZE PROJECTION headrace_traces;
