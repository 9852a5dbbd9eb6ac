"use strict";
// Three comforts; every page says all it has to say without them: times in the viewer's zone, keys, and being live.

const TIMES = {
  full: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  second: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  clock: { hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
};
const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
const formats = new Map();

function written(iso, kind) {
  if (!formats.has(kind)) {
    formats.set(kind, new Intl.DateTimeFormat(language, { hourCycle: "h23", ...(TIMES[kind] || TIMES.minute) }));
  }
  return formats.get(kind).format(new Date(iso));
}

function localize(root) {
  for (const time of root.querySelectorAll("time[data-time]")) {
    time.textContent = written(time.dateTime, time.dataset.time);
  }
  for (const tick of root.querySelectorAll("text[data-instant]")) {
    tick.textContent = written(tick.dataset.instant, tick.dataset.time);
  }
}

// ---------------------------------------------------------------- keys

function isWriting(element) {
  return element.closest("input, select, textarea, [contenteditable]") !== null;
}

document.addEventListener("keydown", (event) => {
  const find = document.getElementById("find");
  if (event.key === "/" && find && !isWriting(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    find.focus();
    find.select();
  } else if (event.key === "Escape" && event.target === find) {
    find.blur();
  }
});

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView({ block: "nearest" });
  }
}

// ---------------------------------------------------------------- live

// What the server sent last for each live part: a part is touched only when that has changed.
const sent = new Map();

function parts(root) {
  return Array.from(root.querySelectorAll("[data-live][id]"));
}

// Where the focus is, in words that hold for the new part as well.
function focusWithin(part) {
  const active = document.activeElement;
  if (!active || active === part || !part.contains(active)) {
    return null;
  }
  const same = Array.from(part.querySelectorAll("a[href], summary, button, [tabindex]"));
  const details = active.tagName === "SUMMARY" ? active.parentElement.id : "";
  return { details, href: active.getAttribute("href"), place: same.indexOf(active) };
}

function focusAgain(part, focus) {
  const same = Array.from(part.querySelectorAll("a[href], summary, button, [tabindex]"));
  const summary = focus.details && document.getElementById(focus.details)?.querySelector("summary");
  const found = summary || (focus.href && same.find((one) => one.getAttribute("href") === focus.href)) || same[focus.place];
  found?.focus({ preventScroll: true });
}

function swap(old, fresh) {
  const open = new Set(Array.from(old.querySelectorAll("details[open][id]"), (one) => one.id));
  const scrolled = Array.from(old.querySelectorAll(".scroll"), (one) => one.scrollLeft);
  const focus = focusWithin(old);
  const known = new Set(Array.from(old.querySelectorAll(".changes details[id]"), (one) => one.id));
  old.replaceChildren(...fresh.childNodes);
  localize(old);
  for (const details of old.querySelectorAll("details[id]")) {
    details.open = open.has(details.id) || details.open;
    if (known.size && details.closest(".changes") && !known.has(details.id)) {
      details.closest("li").classList.add("fresh");
    }
  }
  old.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = scrolled[place] || 0; });
  if (focus) {
    focusAgain(old, focus);
  }
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok || answer.redirected) {
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts(fresh)) {
    const html = part.innerHTML;
    const old = document.getElementById(part.id);
    if (old && sent.get(part.id) !== html) {
      sent.set(part.id, html);
      swap(old, part);
    }
  }
}

const OWN_MS = 1000; // between two looks, when it is about the service that the page shows
const LEAST_MS = 10000; // and when it may be about anything: many pages are open, and much happens
const MOST_MS = 30000; // ages grow, also when nothing happens
let asked = -LEAST_MS;
let waiting = null;
let due = Infinity;

async function look() {
  waiting = null;
  due = Infinity;
  asked = performance.now();
  try {
    await refresh();
  } catch {
    // The server is away for a moment: the next event, or the next look, comes when it is back.
  }
}

function lookWithin(pause) {
  const at = Math.max(performance.now(), asked + pause);
  if (document.hidden || at >= due) {
    return;
  }
  clearTimeout(waiting);
  due = at;
  waiting = setTimeout(look, at - performance.now());
}

function listen(address, service) {
  const events = new EventSource(address);
  for (const kind of ["state", "entry", "letter"]) {
    events.addEventListener(kind, (event) => {
      const services = JSON.parse(event.data).services;
      lookWithin(services && services.includes(service) ? OWN_MS : LEAST_MS);
    });
  }
  return events;
}

// A page that nobody sees listens to nothing: a browser has few connections to a server.
function live(address, service) {
  let events = document.hidden ? null : listen(address, service);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      events?.close();
      events = null;
    } else if (!events) {
      events = listen(address, service);
      lookWithin(OWN_MS);
    }
  });
  setInterval(() => lookWithin(LEAST_MS), MOST_MS);
}

// ---------------------------------------------------------------- begin

for (const part of parts(document)) {
  sent.set(part.id, part.innerHTML);
}
localize(document);
for (const zone of document.querySelectorAll("[data-zone]")) {
  zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
}
if (location.hash) {
  openTarget();
}
addEventListener("hashchange", openTarget);
if (document.body.dataset.events) {
  live(document.body.dataset.events, document.body.dataset.service);
}
