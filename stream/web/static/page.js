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
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
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

const LEAST_MS = 1000; // between two looks
const MOST_MS = 15000; // ages grow, also when nothing happens
let asked = 0;
let waiting = null;

function soon(delay) {
  if (waiting !== null || document.hidden) {
    return;
  }
  waiting = setTimeout(async () => {
    asked = performance.now();
    try {
      await refresh();
    } catch {
      // The server is away for a moment: the next event, or the next look, comes when it is back.
    }
    waiting = null;
  }, Math.max(delay, LEAST_MS - (performance.now() - asked)));
}

function live(address) {
  const events = new EventSource(address);
  for (const kind of ["state", "entry", "letter"]) {
    events.addEventListener(kind, () => soon(0));
  }
  setInterval(() => soon(0), MOST_MS);
  document.addEventListener("visibilitychange", () => soon(0));
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
  live(document.body.dataset.events);
}
