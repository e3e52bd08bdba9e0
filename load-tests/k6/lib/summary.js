// The end of a run: a table on stdout and, where SUMMARY_DIR names a folder,
// the same as JSON for programs and as one HTML page for people.

import { API_URL, TREND_STATS } from './settings.js';

// For a script's export handleSummary.
export function summaryOf(script) {
  return (data) => {
    const summary = summarise(script, data);
    const files = { stdout: asText(summary) };
    if (__ENV.SUMMARY_DIR) {
      files[`${__ENV.SUMMARY_DIR}/${script}.json`] = `${JSON.stringify(summary, null, 2)}\n`;
      files[`${__ENV.SUMMARY_DIR}/${script}.html`] = asHtml(summary);
    }
    return files;
  };
}

function summarise(script, data) {
  const metrics = Object.entries(data.metrics).map(([name, metric]) => ({ name, ...metric }));
  metrics.sort((one, other) => (one.name < other.name ? -1 : 1));
  const thresholds = metrics.flatMap((metric) =>
    Object.entries(metric.thresholds || {}).map(([condition, { ok }]) => ({
      metric: metric.name,
      condition,
      // The number in a condition such as `p(95)<2000`.
      value: metric.values[condition.split(/[<>=!]/)[0].trim()] ?? null,
      contains: metric.contains,
      ok,
    })),
  );
  return {
    script,
    target: API_URL.replace(/\/\/[^/@]*@/, '//'),
    at: new Date().toISOString(),
    seconds: data.state.testRunDurationMs / 1000,
    passed: thresholds.every(({ ok }) => ok),
    thresholds,
    metrics: metrics.map(({ name, type, contains, values }) => ({ name, type, contains, values })),
  };
}

// Three significant digits for readers.
function show(value, contains) {
  if (value === null) return 'none';
  const number = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  return contains === 'time' ? `${number} ms` : `${number}`;
}

// k6 passes the values of a metric in no order.
function ordered(values) {
  const place = ([name]) => TREND_STATS.indexOf(name);
  return Object.entries(values).sort((one, other) => place(one) - place(other));
}

function asText({ script, seconds, thresholds, passed }) {
  const rows = thresholds.map(({ metric, condition, value, contains, ok }) => [
    `  ${ok ? 'ok  ' : 'FAIL'}`,
    metric,
    condition,
    show(value, contains),
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) => row.map((cell, column) => cell.padEnd(widths[column] || 0)).join('  ');
  const verdict = passed ? 'passed' : 'FAILED';
  return `${script}: ${verdict} in ${seconds.toFixed(1)} s\n${rows.map(line).join('\n')}\n\n`;
}

const escape = (text) =>
  `${text}`.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

function asHtml(summary) {
  const { script, target, at, seconds, passed, thresholds, metrics } = summary;
  const cells = (values) => values.map((value) => `<td>${escape(value)}</td>`).join('');
  const verdicts = thresholds.map(
    ({ metric, condition, value, contains, ok }) =>
      `<tr class="${ok ? 'ok' : 'fail'}">` +
      `${cells([ok ? 'ok' : 'failed', metric, condition, show(value, contains)])}</tr>`,
  );
  const figures = metrics.map(({ name, contains, values }) => {
    const told = ordered(values).map(([key, value]) => `${key} ${show(value, contains)}`);
    return `<tr>${cells([name, told.join(' · ')])}</tr>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(script)}: ${passed ? 'passed' : 'failed'}</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  td, th { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
  .ok td:first-child { color: #2a8a4a; }
  .fail td { color: #c8322b; font-weight: 600; }
</style>
<h1>${escape(script)}: ${passed ? 'passed' : 'failed'}</h1>
<p>${escape(target)}, ${escape(at)}, ${seconds.toFixed(1)} s</p>
<h2>Thresholds</h2>
<table><tr><th></th><th>metric</th><th>condition</th><th>measured</th></tr>
${verdicts.join('\n')}
</table>
<h2>Figures</h2>
<table><tr><th>metric</th><th>values</th></tr>
${figures.join('\n')}
</table>
</html>
`;
}
