// The AI simulator, if the run has one (SIMULATOR_URL).

import http from 'k6/http';

const URL = __ENV.SIMULATOR_URL;
// The faults of a run: the body of the simulator's POST /control.
const CONTROL = JSON.parse(__ENV.SIMULATOR_CONTROL || '{}');

// Sets the average latency of provider calls, and the settings of SIMULATOR_CONTROL.
export function slowDown(milliseconds) {
  if (!URL) return;
  const latency = { normal_ms: { mean: milliseconds, deviation: milliseconds / 5 } };
  const body = JSON.stringify({ latency, ...CONTROL });
  const answer = http.post(`${URL}/control`, body);
  if (answer.status !== 200) throw new Error(`the simulator refuses SIMULATOR_CONTROL: ${answer.body}`);
}

// Resets the settings.
export function restore() {
  if (URL) http.del(`${URL}/control`);
}
