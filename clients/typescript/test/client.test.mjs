// The client against the real ingress: REGIMEN_URL, REGIMEN_TOKENS (one user each).
import assert from "node:assert/strict";
import { createServer, request as httpRequest } from "node:http";
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import test from "node:test";
import { build } from "esbuild";
import { ConnectionError, ProblemError, RegimenClient, LAST_EVENTS } from "regimen-client";

const url = process.env.REGIMEN_URL;
const tokens = process.env.REGIMEN_TOKENS.split(",");
const answers = JSON.parse(await readFile(process.env.REGIMEN_QUIZ, "utf8"));
const quiz = { answers, kinds: ["meal", "workout"] };

/** A client for a new user. */
function client(options = {}) {
  const token = tokens.pop();
  return new RegimenClient({ baseUrl: url, token: () => token, ...options });
}

async function all(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

/** A proxy in front of the API; `meddle` may answer itself (true) or cut the response. */
async function between(t, meddle) {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push(request);
    if (meddle.request?.(request, response, seen.length)) return;
    const { hostname, port } = new URL(url);
    const options = { hostname, port, path: request.url, method: request.method, headers: request.headers };
    const onward = httpRequest(options, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      let isCut = false;
      answer.on("data", (chunk) => {
        if (isCut) return;
        const kept = meddle.chunk?.(request, chunk, seen.length) ?? chunk;
        isCut = kept !== chunk;
        response.write(kept, () => isCut && response.destroy());
      });
      answer.on("end", () => response.end());
      response.on("close", () => onward.destroy());
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close(() => undefined) && server.closeAllConnections());
  return { baseUrl: `http://127.0.0.1:${server.address().port}`, seen };
}

test("a quiz becomes two plans, with every event once and in order", async () => {
  const regimen = client();
  const numbers = {};
  let accepted;
  const jobs = await regimen.submitAndWatch(quiz, {
    onAccepted: (value) => (accepted = value),
    onEvent: (event, job) => (numbers[job] ??= []).push(event.seq),
  });
  assert.ok(accepted.nutrition.goalCalories > 1000);
  assert.deepEqual(jobs.map((job) => job.kind), ["meal", "workout"]);
  for (const job of jobs) {
    assert.equal(job.status, "succeeded");
    assert.equal(typeof job.plan, "object");
    assert.deepEqual(numbers[job.id], numbers[job.id].map((_, index) => index + 1));
  }
  const active = await regimen.activePlan("meal");
  assert.deepEqual(active.plan, jobs[0].plan);
  const again = await all(regimen.events(jobs[0].id, { after: 2 }));
  assert.equal(again[0].seq, 3);
  assert.ok(LAST_EVENTS.has(again.at(-1).kind));
});

test("a stream that breaks is resumed: nothing is missed, nothing comes twice", async (t) => {
  let cuts = 0;
  const { baseUrl, seen } = await between(t, {
    // In the middle of an event, twice.
    chunk(request, chunk) {
      if (!request.url.endsWith("/events") || cuts >= 2) return chunk;
      const text = chunk.toString();
      const at = text.indexOf("id: ");
      if (at < 0) return chunk;
      cuts += 1;
      const second = text.indexOf("id: ", at + 4);
      return Buffer.from(text.slice(0, (second < 0 ? at : second) + 12));
    },
  });
  const regimen = client({ baseUrl });
  const numbers = [];
  const [job] = await regimen.submitAndWatch(
    { ...quiz, kinds: ["meal"] },
    { onEvent: (event) => numbers.push(event.seq) },
  );
  assert.equal(job.status, "succeeded");
  assert.equal(cuts, 2);
  assert.deepEqual(numbers, numbers.map((_, index) => index + 1));
  const resumed = seen.filter((request) => request.url.endsWith("/events"));
  assert.ok(resumed.length >= 3);
});

test("what is sent again is done once, after as long as the server asks", async (t) => {
  const times = [];
  const keys = new Set();
  const { baseUrl } = await between(t, {
    request(request, response, count) {
      times.push(Date.now());
      keys.add(request.headers["idempotency-key"]);
      if (count === 1) {
        response.writeHead(503, { "retry-after": "1", "content-type": "text/html" }).end("<h1>away</h1>");
        return true;
      }
      return false;
    },
    // The response to the second is lost.
    chunk: (request, chunk, count) => (count === 2 ? Buffer.alloc(0) : chunk),
  });
  const regimen = client({ baseUrl });
  const accepted = await regimen.submit({ ...quiz, kinds: ["meal"] });
  assert.ok(times[1] - times[0] >= 1_000, `${times[1] - times[0]} ms`);
  assert.equal(times.length, 3);
  assert.equal(keys.size, 1);
  const { jobs } = await regimen.request("GET", "/v1/jobs");
  assert.deepEqual(jobs.map((job) => job.id), accepted.jobs.map((job) => job.id));
});

test("a refusal names the field and is not repeated", async (t) => {
  const { baseUrl, seen } = await between(t, {});
  const regimen = client({ baseUrl });
  const refused = regimen.submit({ answers: { ...answers, age: "no number" }, kinds: ["meal"] });
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof ProblemError);
    assert.equal(error.status, 422);
    assert.match(error.field("age"), /\S/);
    assert.equal(error.field("height"), undefined);
    return true;
  });
  assert.equal(seen.length, 1);
  assert.equal(await regimen.activePlan("workout"), undefined);
});

test("an expired token is renewed once", async () => {
  const good = tokens.pop();
  const asked = [];
  const token = ({ expired }) => {
    asked.push(expired);
    return expired ? good : "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
  };
  const regimen = new RegimenClient({ baseUrl: url, token });
  assert.deepEqual((await regimen.request("GET", "/v1/jobs")).jobs, []);
  assert.deepEqual(asked, [false, true]);
  const never = new RegimenClient({ baseUrl: url, token: () => "no token" });
  await assert.rejects(never.request("GET", "/v1/jobs"), { name: "ProblemError", status: 401 });
});

test("a wait that is too long, a server that is away and a signal all end", async (t) => {
  const { baseUrl } = await between(t, {
    request: (request, response) => response.writeHead(429, { "retry-after": "3600" }).end("{}"),
  });
  const refused = client({ baseUrl }).submit(quiz);
  await assert.rejects(refused, { name: "ProblemError", status: 429, retryAfterSeconds: 3600 });
  const nobody = client({ baseUrl: "http://127.0.0.1:1", attempts: 2 });
  await assert.rejects(nobody.submit(quiz), ConnectionError);
  const regimen = client();
  const left = new AbortController();
  const watching = regimen.submitAndWatch(quiz, {
    signal: left.signal,
    onAccepted: () => left.abort(new Error("left the page")),
  });
  await assert.rejects(watching, /left the page/);
});

test("a cancelled job says so", async () => {
  const regimen = client();
  const { jobs } = await regimen.submit({ ...quiz, kinds: ["meal"] });
  const cancelled = await regimen.cancel(jobs[0].id).catch((error) => error);
  const job = await regimen.watch(jobs[0].id);
  // The job may have ended first.
  assert.ok(["cancelled", "succeeded"].includes(job.status), cancelled);
});

test("frames are read however they are cut", async () => {
  const { frames } = await import(new URL("../dist/sse.js", import.meta.url));
  const text = '\uFEFF: hello\r\nretry: 1500\r\n\r\nid: 1\nevent: a\ndata: {"a":\ndata: "ü€"}\n\ndata:x\r\rdata: lost';
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size <= bytes.length; size += 1) {
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const found = await all(frames(body, () => undefined));
    assert.deepEqual(found, [{ data: "", retry: 1500 }, { data: '{"a":\n"ü€"}' }, { data: "x" }], `${size}`);
  }
});

test("it is below 6 kB, minified and gzipped", async () => {
  const entryPoints = [new URL("../dist/index.js", import.meta.url).pathname];
  const { outputFiles } = await build({ entryPoints, bundle: true, minify: true, format: "esm", write: false });
  const size = gzipSync(outputFiles[0].contents).length;
  console.log(`${size} bytes`);
  assert.ok(size < 6_000, `${size} bytes`);
});

test("it is what openapi.json of this server describes", async () => {
  const served = await (await fetch(`${url}/openapi.json`)).json();
  const kept = JSON.parse(await readFile(new URL("../openapi.json", import.meta.url), "utf8"));
  assert.deepEqual(kept, served, "write it anew: see README.md of the client");
});
