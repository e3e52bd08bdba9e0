// The scripts' settings from the environment. The README lists the variables.

// Loopback by default.
export const API_URL = (__ENV.API_URL || 'http://127.0.0.1:8080').replace(/\/+$/, '');
if (!/^https?:\/\/[^/]/.test(API_URL)) {
  throw new Error(`API_URL is "${API_URL}": expected http://HOST or https://HOST`);
}

const BRISK = __ENV.BRISK === '1';

// The value for a full run, or for a short one.
export const choose = (full, brisk) => (BRISK ? brisk : full);

// Percentiles that the summaries show.
export const TREND_STATS = ['min', 'med', 'avg', 'p(90)', 'p(95)', 'p(99)', 'max'];

// The options of a script: its scenarios, and its thresholds in addition to the common ones.
export function optionsOf(scenarios, thresholds) {
  return {
    scenarios,
    thresholds: {
      errors: ['rate<0.01'],
      // Refused requests are fast and right, and measure nothing.
      refused: ['rate<0.01'],
      wrong_answers: ['count<1'],
      iterations: ['count>0'],
      // More dropped iterations mean too few virtual users for the script's load.
      dropped_iterations: ['rate<1'],
      ...thresholds,
    },
    summaryTrendStats: TREND_STATS,
    setupTimeout: '120s',
    teardownTimeout: '120s',
    userAgent: 'regimen-load-test',
  };
}

// A required setting.
export function required(name, why) {
  const value = __ENV[name];
  if (!value) throw new Error(`${name} is not set: ${why}`);
  return value;
}
