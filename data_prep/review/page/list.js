// The list of slices: only the rows that are in sight are elements, whatever the number of slices.

import { bytes } from "./server.js";
import { events, rows, select, view } from "./rows.js";
import { wave, colours } from "./picture.js";

const SPARE = 6;
const COLUMNS = 96;
const FAST = 2; // rows a frame
const MARKS = { accepted: "✓", rejected: "✗", edited: "✎", new: "" };
const box = document.getElementById("list");
const inner = document.getElementById("rows");
const pool = new Map();
const spare = [];
const thumbnails = new Map();
const ROW = 4.25; // rem, as in the style sheet
let height = 68;
let waiting = false;
let fetching = false;
let quiet = 0;
let lastTop = 0;

export function startList(open) {
  box.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(() => { height = parseFloat(getComputedStyle(document.documentElement).fontSize) * ROW; resize(); draw(); }).observe(box);
  inner.addEventListener("click", (event) => {
    const element = event.target.closest(".row");
    if (element) open(view.shown[Number(element.dataset.at)]);
  });
  events.addEventListener("shown", () => { resize(); refresh(); });
  events.addEventListener("rows", refresh);
  events.addEventListener("selected", () => { refresh(); bringIntoSight(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
}

export function bringIntoSight() {
  const at = view.at.get(view.selected);
  if (at === undefined || !box.clientHeight) return;
  const top = at * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
}

export function rowsPerPage() {
  return Math.max(1, Math.floor(box.clientHeight / height) - 1);
}

function resize() {
  inner.style.height = `${view.shown.length * height}px`;
  document.getElementById("none").hidden = view.shown.length > 0;
}

function later() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function refresh() {
  for (const element of pool.values()) element.dataset.id = "";
  later();
}

function draw() {
  if (!box.clientHeight) return;
  const first = Math.max(0, Math.floor(box.scrollTop / height) - SPARE);
  const last = Math.min(view.shown.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + SPARE);
  for (const [at, element] of pool) {
    if (at < first || at >= last) {
      pool.delete(at);
      spare.push(element);
    }
  }
  const fast = Math.abs(box.scrollTop - lastTop) > FAST * height;
  lastTop = box.scrollTop;
  for (let at = first; at < last; at += 1) {
    if (!pool.has(at)) pool.set(at, spare.pop() || newRow());
    fill(pool.get(at), at, fast);
  }
  for (const element of spare) element.hidden = true;
  if (spare.length > 3 * SPARE) spare.splice(3 * SPARE).forEach((element) => element.remove());
  clearTimeout(quiet);
  quiet = setTimeout(rest, 90);
}

function newRow() {
  const element = document.createElement("div");
  element.className = "row";
  element.setAttribute("role", "option");
  element.innerHTML = '<canvas width="192" height="80" aria-hidden="true"></canvas><div class="what"><div class="words"></div><div class="where"></div></div><div class="mark" aria-hidden="true"></div>';
  element.parts = [".words", ".where", ".mark"].map((name) => element.querySelector(name));
  element.pen = element.firstElementChild.getContext("2d");
  inner.append(element);
  return element;
}

function fill(element, at, fast) {
  const row = rows.get(view.shown[at]);
  const selected = row.id === view.selected;
  if (element.dataset.id === row.id && element.dataset.at === String(at)) return;
  element.hidden = false;
  element.id = `row-${at}`;
  element.dataset.id = row.id;
  element.dataset.at = at;
  element.className = `row ${row.state}`;
  element.style.transform = `translateY(${at * height}px)`;
  element.setAttribute("aria-selected", selected);
  element.setAttribute("aria-posinset", at + 1);
  element.setAttribute("aria-setsize", view.shown.length);
  if (selected) box.setAttribute("aria-activedescendant", element.id);
  const [words, where, mark] = element.parts;
  words.textContent = gist(row.text);
  where.textContent = `${shortName(row)} · ${clock(row.start / 44100)}${row.tempo ? ` · ${Math.round(row.tempo)} BPM` : ""} · ${row.seconds.toFixed(1)} s${row.quality.length ? " · !" : ""}`;
  mark.textContent = MARKS[row.state];
  drawThumbnail(element, fast ? null : row);
}

/** A caption without the tags that most begin with, and the numbers that the line below says. */
function gist(text) {
  const words = text.replace(/^(?:[\p{L} ]+: [^.]*?(?:, |\. ))+(?=[^:]+(?:\.|$))/u, "");
  return words.replace(/(?:\. (?:BPM|Metre|Length): [^.]*(?:\.\d[^.]*)?)+$/u, "") || text;
}

export function shortName(row) {
  return row.recording.replace(/^.*\//, "").replace(/\.[^.]+$/, "");
}

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

/** The waveform of a row; nothing while the list flies past. */
function drawThumbnail(element, row) {
  const { pen } = element;
  const { width, height } = pen.canvas;
  const peaks = row ? thumbnails.get(row.clip) : undefined;
  if (element.drawn) pen.clearRect(0, 0, width, height);
  element.drawn = peaks !== undefined;
  if (peaks) wave(pen, peaks, COLUMNS, 0, 0, width, height, row.state === "rejected" ? colours().soft : colours().accent);
}

/** Once scrolling rests: what was left out, and what is not there yet. */
function rest() {
  for (const element of pool.values()) if (!element.drawn) drawThumbnail(element, rows.get(element.dataset.id));
  fetchThumbnails();
}


async function fetchThumbnails() {
  if (fetching) return;
  const wanted = [...pool.values()].map((element) => rows.get(element.dataset.id)).filter((row) => row && !thumbnails.has(row.clip)).slice(0, 24);
  if (!wanted.length) return;
  fetching = true;
  try {
    const all = new Int8Array(await bytes(`/api/thumbnails?ids=${wanted.map((row) => encodeURIComponent(row.id)).join(",")}`));
    wanted.forEach((row, index) => thumbnails.set(row.clip, all.subarray(2 * COLUMNS * index, 2 * COLUMNS * (index + 1))));
    for (const element of pool.values()) {
      const row = rows.get(element.dataset.id);
      if (row && wanted.includes(row)) drawThumbnail(element, row);
    }
    fetching = false;
    fetchThumbnails();
  } catch {
    fetching = false; // asked again when the list is next drawn
  }
}
