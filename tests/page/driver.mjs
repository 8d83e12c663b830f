// SPDX-License-Identifier: Apache-2.0
// A browser for tests/page/browser.py: reads a command as a line of JSON from standard input, and
// answers with one, {"value": ...} or {"error": text}. Ends with its input.

import {createRequire} from "node:module";
import readline from "node:readline";
import fs from "node:fs";

const [folder, chromium_path, profile] = process.argv.slice(2);
const require = createRequire(folder + "/package.json");
const {chromium} = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// No connection but to the page's own server.
const context = await chromium.launchPersistentContext(profile, {
  executablePath: chromium_path, headless: true, bypassCSP: false,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
});
const errors = [];
const pages = new Map();

const open = async (name, options) => {
  const page = await context.newPage();
  await page.setViewportSize({width: options.width || 1280, height: options.height || 900});
  await page.emulateMedia({colorScheme: options.scheme || "light"});
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) errors.push(`${name}: ${message.text()}`); });
  page.on("pageerror", (error) => errors.push(`${name}: ${error.message}`));
  await page.goto(options.url);
  pages.set(name, page);
};

const commands = {
  open: ({page, ...options}) => open(page, options),
  evaluate: ({page, script}) => pages.get(page).evaluate(script),
  // Not waitForFunction(), which evaluates text in the page: its policy forbids that.
  wait: async ({page, script, seconds}) => {
    for (const until = Date.now() + 1000 * seconds; ; await new Promise((done) => setTimeout(done, 200))) {
      if (await pages.get(page).evaluate(`Boolean(${script})`)) return true;
      if (Date.now() > until) throw new Error("not within the time");
    }
  },
  // Moves the mouse over an element, to a share of its width.
  hover: async ({page, selector, share}) => {
    const element = pages.get(page).locator(selector).last();
    await element.scrollIntoViewIfNeeded();
    const box = await element.boundingBox();
    await pages.get(page).mouse.move(box.x + box.width * share - 5, box.y + box.height / 2);
    await pages.get(page).mouse.move(box.x + box.width * share, box.y + box.height / 2);
  },
  // Moves the mouse over an element with its button down, between two shares of its width.
  drag: async ({page, selector, from, to}) => {
    const element = pages.get(page).locator(selector).last(), mouse = pages.get(page).mouse;
    await element.scrollIntoViewIfNeeded();
    const box = await element.boundingBox(), y = box.y + box.height / 2;
    await mouse.move(box.x + box.width * from, y);
    await mouse.down();
    await mouse.move(box.x + box.width * to, y, {steps: 5});
    await mouse.up();
  },
  doubleClick: ({page, selector}) => pages.get(page).locator(selector).last().dblclick(),
  press: ({page, key, selector}) => selector ? pages.get(page).locator(selector).press(key) : pages.get(page).keyboard.press(key),
  click: ({page, selector}) => pages.get(page).locator(selector).click(),
  files: ({page, selector, paths}) => pages.get(page).locator(selector).setInputFiles(paths),
  screenshot: ({page, path, full}) => pages.get(page).screenshot({path, fullPage: !!full, animations: "disabled"}).then(() => path),
  // What axe-core finds: in the page's world, where the page's policy does not apply to the tool.
  axe: async ({page}) => {
    await pages.get(page).evaluate(axe);
    const result = await pages.get(page).evaluate("axe.run(document, {resultTypes: ['violations']})");
    return result.violations.map((violation) => `${violation.id} (${violation.impact}): ${violation.help}: ` +
      violation.nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + (node.any[0] || node.all[0] || node.none[0] || {}).message).join("; "));
  },
  errors: () => errors.splice(0),
  close: ({page}) => pages.get(page).close(),
};

for await (const line of readline.createInterface({input: process.stdin})) {
  const {command, ...options} = JSON.parse(line);
  let answer;
  try { answer = {value: await commands[command](options) ?? null}; } catch (error) { answer = {error: String(error.message || error)}; }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await context.close();
