// The API's page in a real Chromium: a token is entered, a call is tried, and the samples
// of each call stand beside it with this instance's address.
import assert from "node:assert/strict";
import { test } from "node:test";
import { REGIMEN_URL, accessible, complaints, open, picture, until } from "../browser.mjs";

const { REGIMEN_TOKEN } = process.env;
const SUBMIT = "#operations-plans-post_v1_plans";
const USAGE = "#operations-account-get_v1_usage";

async function show(page, operation) {
  await (await page.waitForSelector(`${operation} .opblock-summary-control`)).click();
  await page.waitForSelector(`${operation} .execute`);
}

/** Sends the call; its response must have this status and these words. */
async function execute(page, operation, status, words) {
  const response = `${operation} .live-responses-table .response`;
  await page.click(`${operation} .execute`);
  await until(page, status, `${response} .response-col_status`);
  await until(page, words, response);
}

test("a call is refused without a token and answered with one", async () => {
  const page = await open("/docs");
  await show(page, USAGE);
  await execute(page, USAGE, "401", "unauthenticated");
  await page.click(".auth-wrapper .authorize");
  await page.type(".auth-container input", REGIMEN_TOKEN);
  await page.click(".auth-btn-wrapper .authorize");
  await page.click(".auth-btn-wrapper .btn-done");
  await execute(page, USAGE, "200", "remaining");
  await picture(page, "docs-call", USAGE);
  await show(page, SUBMIT);
  // The example of the header Prefer waits for the plans.
  await execute(page, SUBMIT, "200", "daily_totals");
  await page.close();
});

test("samples are shown in three languages, with this instance's address", async () => {
  const page = await open("/docs/#/plans/post_v1_plans");
  await page.waitForSelector(`${SUBMIT} .samples`);
  const shown = () => page.$eval(`${SUBMIT} .samples pre`, (code) => code.innerText);
  assert.match(await shown(), /^curl /);
  await accessible(page, ".samples");
  for (const [language, words] of [["Python", "import httpx"], ["TypeScript", "RegimenClient"]]) {
    await page.locator(`${SUBMIT} .samples ::-p-text(${language})`).click();
    await until(page, words, `${SUBMIT} .samples pre`);
    assert.ok((await shown()).includes(`"${new URL(REGIMEN_URL).origin}"`), await shown());
  }
  await picture(page, "docs-samples", `${SUBMIT} .samples`);
  // The language holds for the other calls, and every sample has its place.
  const described = await (await fetch(new URL("/openapi.json", REGIMEN_URL))).json();
  let samples = 0;
  for (const item of Object.values(described.paths)) {
    for (const operation of Object.values(item)) {
      const own = operation["x-codeSamples"];
      if (!own) continue;
      const place = `[id="operations-${operation.tags[0]}-${operation.operationId}"]`;
      if (place !== `[id="${SUBMIT.slice(1)}"]`) await show(page, place);
      const code = await page.$$eval(`${place} .samples pre`, (all) => all.map((one) => one.innerText));
      const wanted = own.filter((sample) => sample.lang === "TypeScript");
      assert.equal(code.length, wanted.length, place);
      for (const one of code) assert.match(one, /regimen-client/);
      samples += code.length;
    }
  }
  assert.equal(samples, 10);
  assert.equal(await page.evaluate(() => document.body.innerText.includes("api.example.com")), false);
  await page.close();
});

test("no page complained", () => assert.deepEqual(complaints, []));
