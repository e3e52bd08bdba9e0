// A job service as it is commonly built on Node: fastify, PostgreSQL, BullMQ.

import { randomUUID } from 'node:crypto';
import fastifyJwt from '@fastify/jwt';
import rateLimit from '@fastify/rate-limit';
import { Queue } from 'bullmq';
import Fastify from 'fastify';
import { QUEUE, connect, pool, ready, settings } from './peer.js';

const INSERT = {
  name: 'insert',
  text: 'insert into jobs (id, user_id, input) values ($1, $2, $3)',
};
const SELECT = {
  name: 'select',
  text: 'select id, state, created_at, finished_at from jobs where id = $1 and user_id = $2',
};
// Who asks where no token is checked.
const NOBODY = '00000000-0000-4000-8000-000000000000';

const queue = new Queue(QUEUE, {
  connection: connect(),
  defaultJobOptions: { attempts: 3, removeOnComplete: true },
});
const app = Fastify({ forceCloseConnections: true });
const guarded = {};
if (settings.jwtSecret) {
  await app.register(fastifyJwt, { secret: settings.jwtSecret });
  await app.register(rateLimit, {
    global: false,
    hook: 'preHandler',
    redis: connect(),
    keyGenerator: (request) => request.user.sub,
  });
  guarded.onRequest = (request) => request.jwtVerify();
}
const limited = settings.jwtSecret
  ? { ...guarded, config: { rateLimit: { max: 1_000_000, timeWindow: '1 hour' } } }
  : guarded;
const userOf = (request) => request.user?.sub ?? NOBODY;

app.post('/plans', limited, async (request, reply) => {
  const id = randomUUID();
  await pool.query({ ...INSERT, values: [id, userOf(request), JSON.stringify(request.body)] });
  await queue.add('plan', { id });
  reply.code(202);
  return { id, status: 'queued' };
});

app.get('/plans/:id', guarded, async (request, reply) => {
  const { rows } = await pool.query({ ...SELECT, values: [request.params.id, userOf(request)] });
  if (rows.length === 0) {
    reply.code(404);
    return { detail: 'there is no such job' };
  }
  return rows[0];
});

const url = await app.listen({ host: '127.0.0.1', port: 0 });
ready([`PEER_URL=${url}`]);
process.on('SIGTERM', () => process.exit(0));
