"use strict";
// The live page. What comes from outside (paths, names) is only ever set as text.

const MOST = 200;
const byId = (id) => document.getElementById(id);
const made = (tag, text, name) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = visible(text);
  if (name) element.className = name;
  return element;
};
// Control characters show as what they are, and turn no text around.
const visible = (text) =>
  String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (one) => "\\u" + one.charCodeAt(0).toString(16).padStart(4, "0"));

// A good status says nothing of a body that broke off.
const status = (verdict) => verdict.cut ? verdict.status + " cut" : verdict.status;

const verdicts = new Map();
let selected = null;

function row(verdict) {
  const line = made("li");
  line.id = "v-" + verdict.id;
  line.setAttribute("role", "option");
  line.append(
    made("time", verdict.time.slice(11, 23)),
    made("span", status(verdict) || "—"),
    made("span", [verdict.request.method, verdict.request.path].filter(Boolean).join(" ") || "?", "path"),
    made("span", verdict.cause),
    made("span", verdict.confidence, verdict.confidence),
    made("span", verdict.sentence, "sentence"));
  line.addEventListener("click", () => { select(line); open(verdict.id); });
  return line;
}

function add(verdict) {
  if (verdicts.has(verdict.id)) return;
  verdicts.set(verdict.id, verdict);
  const feed = byId("feed");
  feed.querySelector(".none")?.remove();
  feed.prepend(row(verdict));
  while (feed.children.length > MOST) {
    const last = feed.lastElementChild;
    verdicts.delete(last.id.slice(2));
    if (selected === last) selected = null;
    last.remove();
  }
}

function select(line) {
  selected?.removeAttribute("aria-selected");
  selected = line;
  line.setAttribute("aria-selected", "true");
  byId("feed").setAttribute("aria-activedescendant", line.id);
  line.scrollIntoView({ block: "nearest" });
}

function who(process) {
  if (!process || !process.comm) return null;
  const name = process.script || process.comm;
  const named = process.kubernetes;
  const inside = (named && named.container) || (process.container && process.container.slice(0, 12));
  const place = [
    process.unit,
    inside && "container " + inside,
    named && "pod " + named.namespace + "/" + named.pod,
  ].filter(Boolean).join(" of ");
  return name + "[" + process.pid + "]" + (place ? " in " + place : "");
}

async function open(id) {
  const verdict = verdicts.get(id);
  if (!verdict) return;
  byId("story-title").textContent = visible(
    [status(verdict) || "no answer", verdict.request.method, verdict.request.path].filter(Boolean).join(" "));
  byId("story-cause").textContent = verdict.cause + " — " + verdict.confidence;
  byId("story-sentence").textContent = visible(verdict.sentence);
  byId("story-remedy").textContent = visible(verdict.remedy);
  const facts = [
    ["when", verdict.time],
    ["client", verdict.client],
    ["gateway", who(verdict.gateway) + " on " + verdict.gateway.listen],
    ["upstream", verdict.upstream && [verdict.upstream.addr, who(verdict.upstream)].filter(Boolean).join(" ")],
    ["its command", verdict.upstream && verdict.upstream.command],
    ["gateway says", (verdict.gateway_says || []).join(" · ")],
    ["event", verdict.id],
  ];
  byId("story-who").replaceChildren(...facts.filter((fact) => fact[1]).flatMap(
    ([name, value]) => [made("dt", name), made("dd", value)]));
  byId("story-evidence").replaceChildren(...verdict.evidence.map((fact) => {
    const line = made("tr");
    line.append(made("td", fact.at_ms.toFixed(1) + " ms"), made("td", fact.fact));
    return line;
  }));
  byId("story-page").textContent = "";
  byId("story").showModal();
  const page = await fetch("/api/causes/" + encodeURIComponent(verdict.cause));
  if (page.ok) byId("story-page").textContent = await page.text();
}

byId("feed").addEventListener("keydown", (event) => {
  const lines = [...byId("feed").querySelectorAll("[role=option]")];
  const at = lines.indexOf(selected);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[event.key];
  if (to !== undefined && lines[Math.max(to, 0)]) {
    select(lines[Math.min(Math.max(to, 0), lines.length - 1)]);
    event.preventDefault();
  } else if (event.key === "Enter" && selected) {
    open(selected.id.slice(2));
    event.preventDefault();
  }
});

async function refresh() {
  const summary = await (await fetch("/api/summary")).json();
  const most = Math.max(1, ...summary.causes.map((cause) => cause[1]));
  byId("causes").replaceChildren(...(summary.causes.length ? summary.causes.map(([id, count]) => {
    const line = made("li");
    const bar = made("progress");
    bar.max = most;
    bar.value = count;
    line.append(bar, made("span", id), made("span", count));
    return line;
  }) : [made("li", "no failed answer", "none")]));
  const peak = Math.max(1, ...summary.minutes);
  byId("minutes").replaceChildren(...summary.minutes.map((count) => {
    const bar = made("i");
    bar.style.height = (100 * count / peak) + "%";
    bar.title = String(count);
    return bar;
  }));
  const total = summary.causes.reduce((sum, cause) => sum + cause[1], 0);
  const missing = summary.missing.length ? "; degraded: " + summary.missing.join(", ") : "";
  const lost = summary.lost ? "; " + summary.lost + " records lost" : "";
  byId("state").textContent = total + " failed answers in the last hour" + missing + lost;
}

async function start() {
  const feed = new EventSource("/api/feed");
  let later = null;
  feed.onmessage = (event) => {
    add(JSON.parse(event.data));
    later ??= setTimeout(() => { later = null; refresh(); }, 300);
  };
  feed.addEventListener("missed", (event) => {
    byId("state").textContent = event.data + " failed answers came too fast to show; the history has them";
  });
  feed.onerror = () => { byId("state").textContent = "the agent does not answer; trying again"; };
  // After the feed is open nothing is missed; what comes twice is shown once.
  feed.onopen = async () => {
    for (const verdict of await (await fetch("/api/newest")).json()) add(verdict);
    await refresh();
  };
  setInterval(refresh, 15000);
}

start();
