/**
 * Spans of a day, made within ClickHouse from a seed: 50 services with 20 operations each, 20 tenants, traces of 4 to 10,000
 * spans (Pareto, 27 on average), one span of a hundred with an error and a stack trace. Trace `n` of `tracesInAll` begins at
 * its share of the day.
 */

/** Mean spans per trace, by which as many traces are made as are wanted spans. */
export const spansPerTrace = 27;
export const dayStart = "2026-11-26 00:00:00";
const seed = 7;
const dayNs = 86_400_000_000_000;

export const madeColumns = [
  "Timestamp",
  "TraceId",
  "SpanId",
  "ParentSpanId",
  "SpanName",
  "SpanKind",
  "ServiceName",
  "ResourceAttributes",
  "ScopeName",
  "ScopeVersion",
  "SpanAttributes",
  "Duration",
  "StatusCode",
  "StatusMessage",
  "`Events.Timestamp`",
  "`Events.Name`",
  "`Events.Attributes`",
  "HeadraceTenant",
  "HeadracePayload",
].join(", ");

const stack = `concat('Error: upstream did not answer\\n', repeat('    at Object.handle (/srv/app/node_modules/framework/lib/router/layer.js:95:5)\\n', 8))`;

/** A SELECT of `madeColumns`: the spans of `count` traces from the trace `first`. */
export function madeSpans(first: number, count: number, tracesInAll: number): string {
  const route = "concat('/', service, '/operation-', toString(op))";
  return `WITH toUInt64(toUnixTimestamp(toDateTime('${dayStart}', 'UTC'))) * 1000000000 AS day
SELECT
  fromUnixTimestamp64Nano(toInt64(begin + offset)), lower(hex(sipHash128(${seed}, t))), lower(hex(sipHash64(t, i))),
  i = 0 ? '' : lower(hex(sipHash64(t, intDiv(i - 1, 4)))),
  concat(['GET', 'POST', 'query', 'publish'][1 + op % 4], ' ', ${route}),
  i = 0 ? 'Server' : ['Server', 'Client', 'Internal'][1 + hi % 3], service,
  map('deployment.environment.name', 'production', 'host.name', concat('node-', toString(hi % 40)), 'k8s.namespace.name', 'shop',
    'k8s.pod.name', concat(service, '-', hex(toUInt16(sipHash64(service, hi % 6)))), 'process.pid', toString(1000 + hi % 6),
    'service.name', service, 'service.version', '1.42.0', 'telemetry.sdk.language', 'nodejs', 'telemetry.sdk.name', 'opentelemetry',
    'telemetry.sdk.version', '2.2.0'),
  '@opentelemetry/instrumentation-http', '0.208.0',
  map('http.request.method', ['GET', 'POST'][1 + op % 2], 'http.response.status_code', isError ? '500' : '200', 'http.route', ${route},
    'network.peer.address', concat('10.', toString(hi % 256), '.', toString(intDiv(hi, 256) % 256), '.7'),
    'network.protocol.version', '1.1', 'session.id', lower(hex(sipHash64(t, 'session'))), 'thread.id', toString(hi % 32),
    'url.path', concat(${route}, '/', toString(hi % 100000)), 'user.id', toString(sipHash64(t, 'user') % 1000000)),
  toUInt64(i = 0 ? duration : duration * (1 + hi % 89) / 100 / (1 + log2(i + 1))),
  isError ? 'Error' : (hi % 5 = 0 ? 'Ok' : 'Unset'), isError ? 'upstream did not answer' : '',
  isError ? [fromUnixTimestamp64Nano(toInt64(begin + offset))] : [], isError ? ['exception'] : [],
  isError ? [map('exception.message', concat('upstream ', service, ' did not answer'), 'exception.stacktrace', ${stack}, 'exception.type', 'Error')] : [],
  tenant, reinterpretAsFixedString(sipHash128(service, tenant, intDiv(t, 400)))
FROM (
  SELECT t, i, begin, duration, tenant, sipHash64(${seed}, t, i) AS hi, toUInt64(duration * (i / size) * 0.9) AS offset,
    concat('service-', leftPad(toString((h % 50 + 7 * (i = 0 ? 0 : sipHash64(t, intDiv(i, 8)) % services)) % 50), 2, '0')) AS service,
    sipHash64(t, intDiv(i, 3)) % 20 AS op, hi % 100 = 0 AS isError
  FROM (
    SELECT number AS t, sipHash64(${seed}, t) AS h,
      toUInt32(least(10000, 4 * pow(1 - (sipHash64(t, 'size') % 1000000) / 1000000, -1 / 1.08))) AS size,
      1 + least(11, toUInt32(log2(size))) AS services, day + t * ${Math.floor(dayNs / tracesInAll)} AS begin,
      toUInt64(least(60e9, 5e6 * pow(1 - (sipHash64(t, 'duration') % 1000000) / 1000000, -1 / 0.9))) AS duration,
      concat('tenant-', toString(toUInt32(sqrt(h % 400)))) AS tenant, arrayJoin(range(size)) AS i
    FROM numbers(${first}, ${count})
  )
)`;
}
