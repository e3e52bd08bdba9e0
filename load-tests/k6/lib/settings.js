// What the scripts are told by the environment. The README lists the variables.

// Loopback unless somebody names another host.
export const API_URL = (__ENV.API_URL || 'http://127.0.0.1:8080').replace(/\/+$/, '');
if (!/^https?:\/\/[^/]/.test(API_URL)) {
  throw new Error(`API_URL is "${API_URL}": expected http://HOST or https://HOST`);
}

const BRISK = __ENV.BRISK === '1';

// The value for a full run, or for a short one.
export const choose = (full, brisk) => (BRISK ? brisk : full);

// Percentiles that the summaries show.
export const TREND_STATS = ['min', 'med', 'avg', 'p(90)', 'p(95)', 'p(99)', 'max'];

// The options of a script: its scenarios, and its thresholds beside those of all scripts.
export function optionsOf(scenarios, thresholds) {
  return {
    scenarios,
    thresholds: {
      errors: ['rate<0.01'],
      wrong_answers: ['count<1'],
      iterations: ['count>0'],
      // More, and the load was not what the script says: too few virtual users.
      dropped_iterations: ['rate<1'],
      ...thresholds,
    },
    summaryTrendStats: TREND_STATS,
    setupTimeout: '120s',
    teardownTimeout: '120s',
    userAgent: 'regimen-load-test',
  };
}

// A setting that a script cannot do without.
export function required(name, why) {
  const value = __ENV[name];
  if (!value) throw new Error(`${name} is not set: ${why}`);
  return value;
}
