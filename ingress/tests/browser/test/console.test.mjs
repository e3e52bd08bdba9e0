// The console and /try in a real Chromium, as operators and newcomers use them. The suite
// `console` of `cargo xtask test` starts the stack and gives the addresses.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENCE, REGIMEN_URL, accessible, browser, complaints, open, picture, until } from "../browser.mjs";

const { REGIMEN_LINKS, SIMULATOR_URL } = process.env;
const [adminLink, viewerLink, secondLink] = REGIMEN_LINKS.split(",");

const text = (page, selector = "main") => page.$eval(selector, (element) => element.innerText);

async function click(page, selector) {
  await Promise.all([page.waitForNavigation(), page.click(selector)]);
}

/** Clicks the button or link with this text. */
async function press(page, label) {
  await Promise.all([page.waitForNavigation(), page.locator(`::-p-text(${label})`).click()]);
}

async function signIn(link, context) {
  const page = await open(link, { context });
  await click(page, "main button");
  return page;
}

async function simulator(method, path, body) {
  const answer = await fetch(new URL(path, SIMULATOR_URL), {
    method, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
}

async function act(page, path, reason) {
  await page.goto(new URL(path, REGIMEN_URL).href);
  await page.type("#reason", reason);
  await click(page, "main form button");
}

test("a newcomer sees both plans appear", async () => {
  const page = await open("/try");
  await accessible(page);
  await page.$eval("#age", (field) => { field.value = "four"; });
  await press(page, "Make both plans");
  assert.match(await text(page, "#age-error"), /must|number|year/);
  assert.equal(await page.$eval("#age", (field) => field.getAttribute("aria-describedby")), "age-error");
  await accessible(page);
  await page.$eval("#age", (field) => { field.value = "34"; });
  await press(page, "Make both plans");
  await page.waitForSelector(".week", { timeout: PATIENCE });
  await page.waitForSelector(".ring svg", { timeout: PATIENCE });
  await until(page, "Ended", "[data-live-state]");
  await accessible(page);
  const box = await page.$("[data-tick]");
  await box.click();
  await page.reload();
  assert.equal(await page.$eval("[data-tick]", (box) => box.checked), true, "a tick is kept");
  await picture(page, "try-light");
  await picture(page, "try-meals-light", ".two");
  const dark = await open(new URL(page.url()).pathname, { theme: "dark" });
  await accessible(dark);
  await picture(dark, "try-dark");
  await picture(dark, "try-week-dark", ".week");
  const phone = await open(new URL(page.url()).pathname, { width: 360, height: 740 });
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth <= 360), true, "no sideways scrolling");
  await Promise.all([page, dark, phone].map((one) => one.close()));
});

test("an operator signs in and looks at every page, in both themes and on a phone", async () => {
  const page = await signIn(adminLink);
  assert.equal(new URL(page.url()).pathname, "/console");
  for (const path of ["/console", "/console?span=24h", "/console?span=30d", "/console/jobs",
    "/console/users", "/console/money", "/console/money?any=1", "/console/events/evt_browser",
    "/console/settings",
    "/console/queues", "/console/dead", "/console/audit"]) {
    for (const [theme, width] of [["light", 1280], ["dark", 1280], ["light", 360]]) {
      const seen = await open(path, { theme, width });
      await accessible(seen);
      assert.equal(await seen.evaluate((width) => document.documentElement.scrollWidth <= width, width), true, `${path} ${width}`);
      await picture(seen, `${path.slice(1).replace(/[^a-z0-9]+/g, "-")}-${theme}-${width}`);
      await seen.close();
    }
  }
  // The switch, kept for the next page.
  await press(page, "Dark theme");
  assert.equal(await page.$eval("html", (html) => html.dataset.theme), "dark");
  await press(page, "Light theme");
  await page.close();
});

test("ten thousand jobs are listed page by page, and filtered ones retried at once", async () => {
  const page = await open("/console/jobs");
  const seen = new Set();
  for (let pages = 0; pages < 4; pages += 1) {
    for (const id of await page.$$eval("tbody input[name=id]", (boxes) => boxes.map((box) => box.value))) {
      assert.ok(!seen.has(id), "no job twice");
      seen.add(id);
    }
    await click(page, "a[rel=next]");
  }
  assert.equal(seen.size, 200);
  await page.goto(new URL("/console/jobs?state=failed", REGIMEN_URL).href);
  await page.click("[data-select-all]");
  assert.equal(await page.$$eval("input[name=id]:checked", (boxes) => boxes.length), 50);
  await click(page, "button[value=retry]");
  assert.match(await text(page), /Retry 50 jobs/);
  await page.type("#reason", "a test in a browser");
  await click(page, "main form button");
  assert.match(await text(page), /50 jobs retried/);
  await page.close();
});

test("a fault shows as an alert, the provider is paused, corrected and resumed", async () => {
  const overview = await open("/console");
  await until(overview, "Live", "[data-live-state]");
  const rule = { name: "bad-key", provider: "openai", action: { do: "status", status: 401 } };
  await simulator("POST", "/control", { rules: [rule] });
  const form = await open("/try");
  await press(form, "Make both plans");
  await until(overview, "openai fails");
  await picture(overview, "fault");
  const page = await open("/console/queues");
  await act(page, "/console/act?do=pause&what=provider&name=openai", "its key does not hold");
  assert.match(await text(page), /Paused\./);
  await until(overview, "openai is paused by an operator");
  await simulator("DELETE", "/control?rule=bad-key");
  await act(page, "/console/act?do=resume&what=provider&name=openai", "the key is new");
  await overview.waitForFunction(() => !document.querySelector("main").innerText.includes("Provider openai"), { timeout: PATIENCE, polling: 100 });
  await page.goto(new URL("/console/audit", REGIMEN_URL).href);
  assert.match(await text(page), /its key does not hold/);
  await Promise.all([overview, form, page].map((one) => one.close()));
});

test("a user is found by address and gets generations, a customer is assigned", async () => {
  const page = await open("/console/users");
  await page.type("#email", "Browser@Example");
  await press(page, "Search");
  assert.match(await text(page), /browser@example\.test/);
  await accessible(page);
  await picture(page, "users-found");
  await click(page, "main td a.code");
  const id = new URL(page.url()).searchParams.get("user");
  await accessible(page);
  await page.$eval("#number", (field) => { field.value = "3"; });
  await press(page, "Give…");
  await page.type("#reason", "a test in a browser");
  await click(page, "main form button");
  assert.match(await text(page), /The generations are given/);
  await accessible(page);
  await picture(page, "user");
  const phone = await open(new URL(page.url()).pathname + new URL(page.url()).search, { width: 360, height: 740, theme: "dark" });
  await accessible(phone);
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth <= 360), true, "no sideways scrolling");
  await phone.close();
  await act(page, "/console/act?do=show-payload&event=evt_browser", "a test in a browser");
  assert.match(await text(page), /4711/);
  assert.doesNotMatch(await text(page), /browser@/);
  await accessible(page);
  await page.goto(new URL("/console/events/evt_browser", REGIMEN_URL).href);
  await page.type("#user", id);
  await press(page, "Assign the customer…");
  await page.type("#reason", "a test in a browser");
  await click(page, "main form button");
  assert.match(await text(page), /The customer is this user's/);
  // A worker applies the event with the user it now has.
  await page.goto(new URL("/console/events/evt_browser", REGIMEN_URL).href);
  for (let tries = 0; !/applied|ignored/.test(await text(page, "main .tag")); tries += 1) {
    assert.ok(tries < 60, await text(page));
    await new Promise((done) => setTimeout(done, 500));
    await page.goto(new URL("/console/events/evt_browser", REGIMEN_URL).href);
  }
  assert.match(await text(page), new RegExp(id));
  await page.close();
});

test("an admin has a worker test a model, and sees its settings and a plan", async () => {
  const page = await open("/console/queues");
  await until(page, "Live", "[data-live-state]");
  await press(page, "Test call…");
  await page.type("#reason", "a test in a browser");
  await click(page, "main form button");
  assert.match(await text(page), /A worker makes the call/);
  await until(page, "ok", "[data-live] tbody tr:first-child");
  assert.match(await text(page, "[data-live] tbody tr:first-child"), /ms[\s\S]*in, \d+ out/);
  await accessible(page);
  await picture(page, "test-call");
  await page.goto(new URL("/console/settings", REGIMEN_URL).href);
  assert.match(await text(page), /Workers worker-/);
  await page.goto(new URL("/console/jobs?state=succeeded&kind=meal", REGIMEN_URL).href);
  // The newest are those of /try, with a plan.
  await click(page, "main tbody a.code");
  // The last rendering is there: nothing replaces what is clicked.
  await until(page, "Ended", "[data-live-state]");
  await page.click("#plan > summary");
  assert.match(await text(page, "#plan"), /Shopping list/);
  await accessible(page);
  await picture(page, "job-plan", "#plan");
  await page.close();
});

test("an admin makes a link, and whoever has it is signed in as a viewer", async () => {
  const page = await open("/console/audit");
  await page.type("#as", "eve");
  await press(page, "Make a link that signs in once…");
  await page.type("#reason", "a test in a browser");
  await click(page, "main form button");
  await accessible(page);
  const link = await page.$eval("#made-link", (link) => link.getAttribute("href"));
  const context = await browser.createBrowserContext();
  const eve = await signIn(link, context);
  assert.match(await text(eve, "header"), /link:eve \(viewer\)/);
  await eve.goto(new URL("/console/users", REGIMEN_URL).href);
  assert.equal(await eve.$("#email"), null, "viewers search no addresses");
  const refused = await eve.goto(new URL("/console/act?do=make-link&role=admin&as=eve", REGIMEN_URL).href);
  assert.equal(refused.status(), 403);
  await context.close();
  await page.close();
});

test("a viewer is refused, and a session that was ended is over", async () => {
  const context = await browser.createBrowserContext();
  const viewer = await signIn(viewerLink, context);
  await viewer.goto(new URL("/console/jobs", REGIMEN_URL).href);
  assert.equal(await viewer.$("input[name=id]"), null);
  const refused = await viewer.goto(new URL("/console/act?do=pause&what=queue&name=free", REGIMEN_URL).href);
  assert.equal(refused.status(), 403);
  await accessible(viewer);
  const admin = await open("/console/audit");
  const end = await admin.$$eval("table:last-of-type tr", (rows) =>
    rows.filter((row) => row.innerText.includes("viewer") && !row.innerText.includes("link:eve"))
      .map((row) => row.querySelector("a[href*=revoke]")).find(Boolean)?.getAttribute("href"));
  await act(admin, end, "a test");
  await viewer.goto(new URL("/console/jobs", REGIMEN_URL).href);
  assert.match(viewer.url(), /sign-in/);
  await accessible(viewer);
  await context.close();
  await admin.close();
});

test("without JavaScript every page is readable and actions work", async () => {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setJavaScriptEnabled(false);
  await page.goto(new URL(secondLink, REGIMEN_URL).href);
  await click(page, "main button");
  for (const path of ["/console", "/console/jobs", "/console/queues", "/console/dead", "/console/audit"]) {
    await page.goto(new URL(path, REGIMEN_URL).href);
    assert.equal(await page.$("h1") !== null, true, path);
  }
  await page.goto(new URL("/console/act?do=pause&what=queue&name=free", REGIMEN_URL).href);
  await page.type("#reason", "without scripts");
  await click(page, "main form button");
  await page.goto(new URL("/console/act?do=resume&what=queue&name=free", REGIMEN_URL).href);
  await page.type("#reason", "without scripts");
  await click(page, "main form button");
  await context.close();
});

test("the keyboard reaches the content first and shows where it is", async () => {
  const page = await open("/console/jobs");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const width = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
  assert.notEqual(width, "0px");
  await page.close();
});

test("no page complained", () => assert.deepEqual(complaints, []));
