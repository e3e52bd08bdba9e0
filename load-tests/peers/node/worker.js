// The worker of the job service on Node: asks the provider, writes the plan and the
// job's last state in one statement.

import { Worker } from 'bullmq';
import { QUEUE, connect, pool, ready, settings } from './peer.js';

const READ = { name: 'read', text: 'select input from jobs where id = $1' };
const FINISH = {
  name: 'finish',
  text: `with plan as (insert into plans (job_id, plan) values ($1, $2))
    update jobs set state = 'succeeded', finished_at = now() where id = $1`,
};

async function ask(input) {
  if (!settings.providerUrl) return {};
  const response = await fetch(`${settings.providerUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer peer', 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'gpt-4o-mini',
      response_format: { type: 'json_object' },
      messages: [{ role: 'user', content: `Answer with a meal plan as JSON. ${JSON.stringify(input)}` }],
    }),
  });
  if (!response.ok) throw new Error(`the provider answered with ${response.status}`);
  return JSON.parse((await response.json()).choices[0].message.content);
}

async function handle(job) {
  const { id } = job.data;
  const { rows } = await pool.query({ ...READ, values: [id] });
  const plan = await ask(rows[0].input);
  await pool.query({ ...FINISH, values: [id, JSON.stringify(plan)] });
}

const worker = new Worker(QUEUE, handle, { connection: connect(), concurrency: settings.slots });
worker.on('failed', (job, error) => console.error(job?.id, error.message));
await worker.waitUntilReady();
ready(['READY=1']);
process.on('SIGTERM', () => process.exit(0));
