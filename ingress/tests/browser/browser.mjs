// A real Chromium for the tests, and what they ask of every page.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before } from "node:test";
import axe from "axe-core";
import puppeteer from "puppeteer-core";

export const { REGIMEN_URL } = process.env;
const { CHROMIUM, PICTURES } = process.env;
export const PATIENCE = 60_000;

export let browser;
// What any page complained about: scripts, policies, files that are not there.
export const complaints = [];

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server", "--force-color-profile=srgb"],
  });
});
after(() => browser?.close());

export async function open(path, { context, width = 1280, height = 900, theme = "light" } = {}) {
  const page = await (context ?? browser.defaultBrowserContext()).newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => complaints.push(`${path}: ${error.message}`));
  page.on("console", (message) => {
    // A refusal that a test asks for is a message of the browser's own.
    if (message.type() === "error" && !/status of (401|403|404|422)/.test(message.text())) {
      complaints.push(`${path}: ${message.text()}`);
    }
  });
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
  await page.goto(new URL(path, REGIMEN_URL).href);
  return page;
}

export async function until(page, words, selector = "main") {
  await page.waitForFunction(
    (selector, words) => document.querySelector(selector)?.innerText.includes(words),
    { timeout: PATIENCE, polling: 100 }, selector, words,
  );
}

/** Accessibility by WCAG 2.2 AA, of the page as it is, or of a part of it. */
export async function accessible(page, part = "html") {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate((part) =>
    axe.run(part, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }), part);
  const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`);
  assert.deepEqual(found, [], page.url());
}

export async function picture(page, name, from = "body") {
  await page.bringToFront();
  await page.$eval(from, (element) => element.scrollIntoView());
  await page.screenshot({ path: join(PICTURES, `${name}.webp`), type: "webp", quality: 60 });
}
