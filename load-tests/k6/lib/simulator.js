// The stand-in for the AI providers, where the run has one (SIMULATOR_URL).

import http from 'k6/http';

const URL = __ENV.SIMULATOR_URL;
// What a run is to suffer: the body of the simulator's POST /control.
const CONTROL = JSON.parse(__ENV.SIMULATOR_CONTROL || '{}');

// Makes every call to a provider take about so long, and what SIMULATOR_CONTROL adds.
export function slowDown(milliseconds) {
  if (!URL) return;
  const latency = { normal_ms: { mean: milliseconds, deviation: milliseconds / 5 } };
  const body = JSON.stringify({ latency, ...CONTROL });
  const answer = http.post(`${URL}/control`, body);
  if (answer.status !== 200) throw new Error(`the simulator refuses SIMULATOR_CONTROL: ${answer.body}`);
}

// Undoes it for whoever comes next.
export function restore() {
  if (URL) http.del(`${URL}/control`);
}
