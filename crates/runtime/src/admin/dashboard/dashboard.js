// The dashboard: shows the documents of `events`, and asks `explain`. All addresses are relative, so that it works behind a
// proxy that puts something in front of the path, such as that of the API server.
"use strict";

const at = (id) => document.getElementById(id);

// An element with its children. Text is only ever set as text: names in objects are whatever their owners wrote.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Parts of the page by id, and what they show: what is the same is left alone, with its focus and its selection.
const shown = new Map();
function show(id, data, render) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  at(id).replaceChildren(...render(data));
}

const count = (number) => Number(number).toLocaleString("en");
const times = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;
function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) { number /= 1000; unit += 1; }
  return `${number.toFixed(unit === 0 || number >= 100 ? 0 : 1)} ${units[unit]}`;
}
function clock(seconds) {
  const time = new Date(seconds * 1000);
  return make("time", { datetime: time.toISOString(), title: time.toISOString() }, time.toLocaleTimeString([], { hour12: false }));
}
function pill(text, kind) {
  const marks = { good: "✓", bad: "✕", mid: "!" };
  return make("span", { class: `pill ${kind}` }, make("span", { "aria-hidden": "true" }, marks[kind] ?? "·"), text);
}
const kinds = { Up: "good", Down: "bad", Unresolved: "bad", Stale: "mid", Draining: "mid" };
const nothing = (columns, text) => [make("tr", {}, make("td", { colspan: columns, class: "empty" }, text))];

// Rates come from the counters of two documents. Where none came for a while, nothing has changed: then they are zero.
let last = null;
let rates = new Map();
const key = (backend) => `${backend.pool} ${backend.settings} ${backend.address}`;
function measure(next, time) {
  rates = new Map();
  const seconds = last === null ? 0 : (time - last.time) / 1000;
  if (seconds > 0 && seconds < 5) {
    const before = new Map(last.data.backends.map((backend) => [key(backend), backend]));
    for (const now of next.backends) {
      const old = before.get(key(now));
      if (old === undefined) continue;
      const rate = (field) => Math.max(0, ((now[field] ?? 0) - (old[field] ?? 0)) / seconds);
      rates.set(key(now), { opened: rate("websockets_opened"), up: rate("from_client"), down: rate("from_backend") });
    }
  }
  last = { data: next, time };
}
const still = { opened: 0, up: 0, down: 0 };

function tiles(data) {
  const listeners = data.gateways.flatMap((gateway) => gateway.listeners);
  const rules = new Set(listeners.flatMap((listener) => listener.rules.map((rule) => rule.name)));
  const up = data.backends.filter((backend) => backend.health === "Up" || backend.health === "Unknown").length;
  const there = data.backends.filter((backend) => backend.health !== "Draining").length;
  const open = data.problems.filter((problem) => problem.solved === null).length;
  const sum = (field) => data.backends.reduce((all, backend) => all + (backend[field] ?? 0), 0);
  let moved = 0;
  for (const rate of rates.values()) moved += rate.up + rate.down;
  const all = [
    ["Gateways", count(data.gateways.length)], ["Listeners", count(listeners.length + (data.more_listeners ?? 0))],
    ["Rules", count(rules.size) + (listeners.some((listener) => listener.more_rules > 0) ? "+" : "")],
    ["Backends up", `${count(up)}/${count(there)}`, up < there],
    ["WebSockets", count(sum("websockets"))], ["WebSocket bytes", `${bytes(moved)}/s`],
    ["Problems", count(open), open > 0],
  ];
  show("tiles", all, () => all.map(([name, value, warn]) =>
    make("div", warn ? { class: "warn" } : {}, make("dt", {}, name), make("dd", {}, value))));
}

// Messages name the field, say what is wrong and, last of all, what to do: behind a semicolon, else behind a second colon.
function problem(one) {
  const colons = one.message.split(": ").length > 2 ? one.message.lastIndexOf(": ") : -1;
  const cut = Math.max(one.message.lastIndexOf("; "), colons);
  const [what, fix] = cut < 0 ? [one.message, null] : [one.message.slice(0, cut), one.message.slice(cut + 2)];
  const solved = one.solved !== null;
  return make("li", solved ? { class: "solved" } : {},
    make("div", { class: "top" }, make("strong", {}, one.object),
      solved ? pill(`solved, was ${one.reason}`, "good") : pill(one.reason, "bad"), clock(solved ? one.solved : one.since)),
    make("p", {}, what), fix && !solved ? make("p", { class: "fix" }, fix) : null);
}
function problems(data) {
  const list = () => data.problems.length === 0
    ? [make("p", { class: "empty" }, "No problems: every object has its effect.")]
    : [make("ul", { class: "problems", tabindex: "0", "aria-label": "Problems, the newest first" }, ...data.problems.map(problem)),
      data.more_problems > 0 ? make("p", { class: "more" }, `And ${count(data.more_problems)} more, see status.`) : ""];
  show("problems", [data.problems, data.more_problems], list);
}

function rules(listener) {
  const rows = listener.rules.flatMap((rule) => {
    const routes = rule.more_routes > 0 ? [...rule.routes, { takes: `and ${count(rule.more_routes)} more`, to: "" }] : rule.routes;
    return routes.map((route, place) => make("tr", {},
      place === 0 ? make("th", { scope: "rowgroup", rowspan: routes.length }, rule.name) : null,
      make("td", { class: "mono" }, route.takes), make("td", { class: "mono" }, route.to)));
  });
  if (listener.more_rules > 0) rows.push(...nothing(3, `And ${times(listener.more_rules, "rule")} more: ask explain, or kubectl.`));
  if (rows.length === 0) return make("p", { class: "empty" }, "No rule is attached: everything gets 404.");
  const head = ["Rule", "Takes", "Sends to"].map((title) => make("th", { scope: "col" }, title));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}
function gateways(data) {
  const closed = new Set([...document.querySelectorAll(".listener:not([open])")].map((listener) => listener.dataset.name));
  show("gateways", [data.gateways, data.more_listeners], () => {
    if (data.gateways.length === 0) return [make("p", { class: "empty" }, "Nothing is listening.")];
    const listener = (gateway) => (one) => {
      const name = `${gateway.name}/${one.name}`;
      const hosts = one.hosts.length === 0 ? "any host" : one.hosts.join(", ");
      const local = one.local_port === one.port ? "" : ` (${one.local_port} here)`;
      return make("details", { class: "listener", "data-name": name, open: closed.has(name) ? null : "" },
        make("summary", {}, make("strong", {}, one.name), make("span", {}, `${one.protocol} ${one.port}${local}`),
          make("span", { class: "mono soft" }, hosts), one.error ? pill(one.error, "bad") : null,
          make("span", { class: "right" },
            `${times(one.rules.length + one.more_rules, "rule")}, ${times(one.connections, "connection")}`)),
        rules(one));
    };
    const parts = data.gateways.map((gateway) =>
      make("div", { class: "gateway" }, make("h3", {}, gateway.name), ...gateway.listeners.map(listener(gateway))));
    if (data.more_listeners > 0) parts.push(make("p", { class: "more" }, `And ${count(data.more_listeners)} more listeners.`));
    return parts;
  });
}

function backends(data) {
  const fields = ["pool", "settings", "address", "health", "reason", "last_probe", "active"];
  const rows = data.backends.map((backend) => fields.map((field) => backend[field] ?? null));
  show("backends", rows, () => rows.length === 0 ? nothing(6, "No backends.") :
    rows.map(([pool, settings, address, health, reason, probe, active]) => make("tr", {},
      make("th", { scope: "row", title: `settings ${settings}` }, pool), make("td", { class: "mono" }, address),
      make("td", {}, pill(health, kinds[health] ?? "")), make("td", {}, reason || "–"),
      make("td", {}, probe === null ? "not probed" : clock(probe)), make("td", { class: "number" }, count(active)))));
  at("more-backends").hidden = !(data.more_backends > 0);
  at("more-backends").textContent = `And ${count(data.more_backends ?? 0)} more that are well: penstock status lists all.`;
}

function websockets(data) {
  const live = data.backends.filter((backend) => backend.websockets > 0 || backend.websockets_opened > 0);
  const rows = live.map((backend) => {
    const rate = rates.get(key(backend)) ?? still;
    return [backend.pool, backend.address, count(backend.websockets), `${count(backend.websockets_opened)}, ${rate.opened.toFixed(1)}/s`, `${bytes(rate.up)}/s`, `${bytes(rate.down)}/s`];
  });
  show("websockets", rows, () => rows.length === 0 ? nothing(6, "None was opened since these backends are there.") :
    rows.map(([pool, address, ...numbers]) => make("tr", {}, make("th", { scope: "row" }, pool), make("td", { class: "mono" }, address),
      ...numbers.map((text) => make("td", { class: "number" }, text)))));
}

function render() {
  if (last === null) return;
  const { data } = last;
  at("instance").textContent = data.instance ?? "";
  const leads = data.leader ? ", leader" : "";
  at("facts").textContent = `${data.version} · configuration ${data.generation ?? 0}${leads} · ${data.state}`;
  for (const part of [tiles, problems, gateways, backends, websockets]) part(data);
}

// The browser connects again by itself, unless the server said no: then this page does.
let quiet = null;
function connection(state, text) {
  if (at("connection").textContent === text) return;
  at("connection").dataset.state = state;
  at("connection").textContent = text;
}
function follow() {
  const events = new EventSource("events");
  events.onopen = () => connection("live", "live");
  events.onmessage = (event) => {
    measure(JSON.parse(event.data), Number(event.lastEventId));
    render();
    clearTimeout(quiet);
    quiet = setTimeout(() => { rates = new Map(); render(); }, 2500);
  };
  events.addEventListener("leaving", () => {
    connection("lost", "this instance is leaving");
    events.close();
    setTimeout(follow, 5000);
  });
  events.onerror = () => {
    if (at("connection").textContent !== "this instance is leaving") connection("lost", "not connected, trying again");
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
  };
}

async function explain(event) {
  event.preventDefault();
  const query = new URLSearchParams({ method: at("method").value, url: at("url").value.trim() });
  for (const line of at("headers").value.split("\n")) if (line.trim() !== "") query.append("header", line.trim());
  const output = at("explanation");
  output.setAttribute("aria-busy", "true");
  let text;
  try {
    text = await (await fetch(`explain?${query}`)).text();
  } catch {
    text = "No answer: is the process still there?";
  }
  const kind = (line) => {
    if (/^(  >|forwarded|redirected|answered with [23])/.test(line)) return "taken";
    return /^\s*(answered with|refused|no listener|no rules|URL|header|method)/.test(line) || line.includes("answered with 50") ? "refused" : null;
  };
  const lines = text.trimEnd().split("\n").map((line) => make("span", { class: kind(line) }, `${line}\n`));
  output.replaceChildren(make("pre", {}, ...lines));
  output.hidden = false;
  output.removeAttribute("aria-busy");
}

at("explain").addEventListener("submit", explain);
follow();
