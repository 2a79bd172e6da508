// The dashboard in a headless Chromium: what an operator sees, does with the keyboard, and never sees.
//
//   node main.js PENSTOCK CHROMIUM FOLDER     leaves light.png and dark.png in the folder
import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";

import { DEADLINE, Stack, until } from "./stack.js";

const [binary, executablePath, folder] = process.argv.slice(2);
const stack = await Stack.start(binary);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
context.setDefaultTimeout(DEADLINE);
const complaints = [];
const page = await context.newPage();
page.on("console", (message) => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => {
  const url = new URL(request.url());
  if (url.protocol !== "data:" && url.origin !== stack.admin) complaints.push(`a request to ${request.url()}`);
});

const text = (id) => page.locator(`#${id}`).innerText();
const says = (id, part) => until(`${JSON.stringify(part)} in #${id}`, async () => (await text(id)).includes(part));
const row = (id, part) => page.locator(`#${id} tr`, { hasText: part });
const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
async function step(name, check) {
  await check();
  console.log(`  ok  ${name}`);
}

// The luminance of a colour (WCAG 2, 1.4.3).
const luminance = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
  .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
async function contrast(selector) {
  const [ink, back] = await page.locator(selector).first().evaluate((element) => {
    let under = element;
    while (getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)") under = under.parentElement;
    return [getComputedStyle(element).color, getComputedStyle(under).backgroundColor];
  });
  const [light, dark] = [ink, back].map(luminance).sort((a, b) => b - a);
  return { ratio: (light + 0.05) / (dark + 0.05), back };
}

try {
  await step("the page comes with its policy and from one origin", async () => {
    const answer = await page.goto(`${stack.admin}/`);
    const policy = answer.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    await says("connection", "live");
  });
  await step("gateways with their listeners and rules", async () => {
    for (const part of ["edge/public", "edge/internal", `HTTP ${stack.ports.http}`, "*.shop.example.com", "shop/chat",
      "chat.shop.example.com, any path", "shop/chat:80 90%, shop/chat-canary:80 10%", "redirect 301 to http://www.shop.example.com/"]) {
      await says("gateways", part);
    }
  });
  await step("backend health with state, reason and last probe", async () => {
    const down = row("backends", `127.0.0.1:${stack.ports.web2}`).filter({ hasText: "shop/storefront" });
    await until("a good probe", async () => (await down.innerText()).includes("Up"));
    stack.backends.web2.healthy = false;
    await until("a bad probe", async () => (await down.innerText()).includes("Down"));
    assert.match(await down.innerText(), /StatusMismatch.*503.*\d+:\d\d:\d\d/s);
    await until("the tile", async () => (await text("tiles")).includes("6/7"));
  });
  await step("WebSockets with their rates", async () => {
    stack.openWebSockets("chat.shop.example.com", 12);
    await until("12 WebSockets", async () => /WebSockets\s+12\b/.test(await text("tiles")));
    const bytes = row("websockets", `127.0.0.1:${stack.ports.chat}`);
    // Each gets 122 bytes ten times a second.
    await until("bytes to clients", async () => /[1-9][\d.]* kB\/s$/.test((await bytes.innerText()).trim()));
  });
  await step("a change appears without a reload, with its object and the fix, and is solved again", async () => {
    await page.evaluate(() => { globalThis.same = true; });
    const rule = `apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: checkout, namespace: shop}
spec:
  gatewayRef: {name: public, namespace: edge}
  hostNames: [checkout.shop.example.com]
  backend: {services: [{name: payments, port: 80}]}
`;
    stack.write("new.yaml", rule);
    await says("gateways", "checkout.shop.example.com");
    await says("problems", "RoutingRule shop/checkout");
    await says("problems", "ServiceNotFound");
    await says("problems", "create it, or correct the name");
    assert.equal(await page.locator("#problems .fix").innerText(), "create it, or correct the name");
    stack.remove("new.yaml");
    await says("problems", "solved");
    await until("the rule is gone", async () => !(await text("gateways")).includes("checkout"));
    stack.write("new.yaml", rule);
    await says("gateways", "checkout.shop.example.com");
    assert.ok(await page.evaluate(() => globalThis.same), "the page was loaded again");
  });
  await step("a URL is explained with the keyboard alone", async () => {
    await page.locator("#method").focus();
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "url");
    await page.keyboard.type(`http://www.shop.example.com:${stack.ports.http}/old/cart`);
    await page.keyboard.press("Enter");
    await says("explanation", "redirected with 301");
    await says("explanation", "shop/storefront path old");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "Explain");
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, "solid", "the focus cannot be seen");
    await page.locator("#url").fill("nothing");
    await page.locator("#url").press("Enter");
    await says("explanation", "must be absolute");
    // The browser says so by itself.
    assert.match(complaints.pop(), /400/);
    await page.locator("#url").fill(`http://chat.shop.example.com:${stack.ports.http}/room`);
    await page.locator("#url").press("Enter");
    await says("explanation", "weight 9");
  });
  await step("listeners fold with the keyboard, and stay folded when documents come", async () => {
    const fold = page.locator("summary", { hasText: "admin" });
    await fold.focus();
    await page.keyboard.press("Enter");
    stack.write("more.yaml", `apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: wiki, namespace: docs}
spec: {gatewayRef: {name: internal, namespace: edge}, hostNames: [wiki.internal], backend: {services: [{name: handbook, port: 80}]}}
`);
    await says("gateways", "2 rules");
    assert.equal(await page.locator("details[data-name='edge/internal/admin']").getAttribute("open"), null);
    await page.locator("summary", { hasText: "admin" }).click();
    await says("gateways", "wiki.internal");
  });
  await step("landmarks, names and headers for who does not see it", async () => {
    for (const role of ["banner", "main", "contentinfo", "navigation"]) {
      assert.equal(await page.getByRole(role).count(), 1, role);
    }
    for (const name of ["Problems", "Backend health", "WebSockets", "Gateways", "Explain a URL"]) {
      assert.ok(await page.getByRole("region", { name, exact: true }).count() >= 1, name);
    }
    assert.ok(await page.locator("table:not(:has(th[scope=col]))").count() === 0, "a table without headers");
    assert.equal(await page.locator("#problems[aria-live=polite]").count(), 1);
    assert.equal(await page.getByLabel("Method").count(), 1);
  });
  await step("light and dark can both be read", async () => {
    const seen = {};
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const selector of ["body", ".soft", "h2", "thead th", ".pill.good", ".pill.bad", "button", "nav a", "pre .taken"]) {
        const { ratio, back } = await contrast(selector);
        assert.ok(ratio >= 4.5, `${selector} in ${colorScheme}: ${ratio.toFixed(2)}`);
        if (selector === "body") seen[colorScheme] = luminance(back);
      }
      await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
      const clip = { x: 0, y: 0, width: 1280, height: 1180 };
      await page.screenshot({ path: join(folder, `${colorScheme}.png`), fullPage: true, clip });
    }
    assert.ok(seen.light > 0.8 && seen.dark < 0.05, JSON.stringify(seen));
  });
  await step("a narrow window has no sideways scroll", async () => {
    await page.setViewportSize({ width: 380, height: 800 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  });
  assert.deepEqual(complaints, []);
  await step("the drain is said, and no open page holds the process up", async () => {
    stack.closeWebSockets();
    stack.process.kill("SIGTERM");
    await says("connection", "leaving");
    assert.equal(await stack.ended, 0);
  });
} catch (error) {
  console.error(error, `\ncomplaints of the browser: ${JSON.stringify(complaints)}\nlog of the gateway:\n${stack.log}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  stack.stop();
}
