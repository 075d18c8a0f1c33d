// The picture of the selected slice with its two cuts: drag them, or move them by keys. They snap to hits.

import { Away, ask, bytes } from "./server.js";
import { draw, parse } from "./picture.js";
import { siblings, view } from "./rows.js";
import * as player from "./player.js";

const RATE = 44100;
const SHORTEST = 2205;
const LONGEST_HEARD = 110 * RATE;
const SNAP_PIXELS = 14;
const SAVE_AFTER = 450;
const element = (id) => document.getElementById(id);
const stage = element("stage");
const canvas = element("picture");
const handles = { start: element("start"), end: element("end") };

let row = null;
let picture = null;
let frame = { start: 0, end: 1 }; // what is in sight
let heard = { start: 0, end: 1 }; // what can be heard
let cut = { start: 0, end: 1 }; // as it is shown, saved or about to be
let chosen = "start";
let snapping = true;
let asked = new AbortController();
let timer = 0;
let save = () => {};
let autoplay = false;

export function startCut(onMove) {
  save = onMove;
  for (const [edge, handle] of Object.entries(handles)) {
    handle.addEventListener("pointerdown", (event) => grab(edge, event));
    handle.addEventListener("focus", () => choose(edge));
    handle.addEventListener("keydown", (event) => key(edge, event));
  }
  canvas.addEventListener("click", (event) => listen(cut.start, cut.end, sampleAt(event)));
  new ResizeObserver(redraw).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  player.onEnd(() => element("play").classList.remove("playing"));
}

/** Shows another slice, or the same after it was changed elsewhere. */
export function show(next, { play = false } = {}) {
  const same = row && row.id === next.id;
  if (same && row.clip === next.clip && !timer) {
    row = next;
    return;
  }
  if (!same) flush();
  else if (timer) return; // it is being moved here
  row = next;
  autoplay = play;
  cut = { start: row.start, end: row.end };
  if (!same) {
    player.stop();
    picture = null;
    delete stage.dataset.hits;
    frame = around();
  }
  stage.classList.toggle("fixed", Boolean(away()));
  place();
  fetchPicture();
  fetchSound();
}

/** Saves a move that is waiting to be saved. */
export function flush() {
  if (!timer) return;
  clearTimeout(timer);
  timer = 0;
  save(row.id, cut.start, cut.end);
}

export function toggle({ context = false, loop = false } = {}) {
  if (player.position() !== null) {
    player.stop();
    return;
  }
  if (context) listen(heard.start, heard.end, heard.start, loop);
  else listen(cut.start, cut.end, cut.start, loop);
}

export function setLoop(loop) {
  player.setLoop(loop);
}

export function choose(edge) {
  chosen = edge;
  for (const [name, handle] of Object.entries(handles)) handle.classList.toggle("chosen", name === edge);
}

export function focusHandle(edge) {
  handles[edge].focus();
}

export function setSnapping(on) {
  snapping = on;
}

export function zoom(factor) {
  const middle = factor < 1 ? cut[chosen] : (frame.start + frame.end) / 2;
  const wide = around();
  const length = Math.min(wide.end - wide.start, Math.max(RATE / 20, (frame.end - frame.start) * factor));
  const start = Math.max(wide.start, Math.min(wide.end - length, middle - length / 2));
  frame = { start: Math.round(start), end: Math.round(start + length) };
  place();
  fetchPicture();
}

export function times() {
  return cut;
}

function away() {
  return view.recordings[row.recording]?.away || null;
}

/** The slice with a quarter of its length, at most three seconds, on either side. */
function around() {
  if (away()) return { start: row.start, end: row.end };
  const side = Math.round(Math.min(3 * RATE, Math.max(RATE / 4, (row.end - row.start) / 4)));
  return { start: Math.max(0, row.start - side), end: Math.min(Math.round(row.total * RATE), row.end + side) };
}

async function fetchPicture() {
  const wanted = { ...frame };
  const columns = columnsOfStage();
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  element("loading").hidden = picture !== null;
  try {
    const stretch = `${encodeURIComponent(row.id)}?start=${wanted.start}&end=${wanted.end}`;
    const hits = ask(`/api/cuts/${stretch}`, { signal });
    hits.catch(() => {});
    picture = parse(await bytes(`/api/picture/${stretch}&columns=${columns}`, signal));
    element("loading").hidden = true;
    redraw();
    const { cuts } = await hits;
    if (signal.aborted) return;
    picture.cuts = cuts;
    stage.dataset.hits = cuts.length;
    redraw();
  } catch (error) {
    if (error.name !== "AbortError") element("loading").hidden = error instanceof Away;
  }
}

function columnsOfStage() {
  return Math.max(200, Math.min(1600, Math.round(stage.clientWidth * Math.min(devicePixelRatio, 2))));
}

let soundAsked = new AbortController();

async function fetchSound() {
  const wide = around();
  const short = wide.end - wide.start <= LONGEST_HEARD;
  heard = short ? wide : { start: row.start, end: row.end };
  element("context").disabled = Boolean(away()) || !short;
  soundAsked.abort();
  soundAsked = new AbortController();
  const { signal } = soundAsked;
  const stretch = short ? [heard.start, heard.end, Boolean(away())] : null;
  element("play").disabled = true;
  try {
    await player.prepare(row, stretch, signal);
    if (signal.aborted) return;
    element("play").disabled = false;
    if (autoplay) listen(cut.start, cut.end);
    autoplay = false;
  } catch (error) {
    if (error.name !== "AbortError" && !(error instanceof Away)) element("times").textContent = "The sound of this slice cannot be played.";
  }
}

function listen(from, to, at = from, loop = element("loop").getAttribute("aria-pressed") === "true") {
  if (!player.ready()) return;
  player.play(from, to, loop, Math.max(heard.start, Math.min(to - 1, at)));
  element("play").classList.add("playing");
  requestAnimationFrame(follow);
}

function follow() {
  const at = player.position();
  const head = element("playhead");
  head.hidden = at === null || at < frame.start || at > frame.end;
  if (at === null) return;
  head.style.transform = `translateX(${share(at) * stage.clientWidth}px)`;
  requestAnimationFrame(follow);
}

function redraw() {
  if (!row) return;
  place();
  if (!picture) return;
  if (columnsOfStage() > 1.5 * picture.columns) fetchPicture(); // it was asked for a smaller window
  draw(canvas, picture, siblings(row).flatMap((each) => [each.start, each.end]));
}

function share(sample) {
  return (sample - frame.start) / (frame.end - frame.start);
}

function sampleAt(event) {
  const box = stage.getBoundingClientRect();
  return Math.round(frame.start + ((event.clientX - box.left) / box.width) * (frame.end - frame.start));
}

/** Puts handles, veils and times where the cut is. */
function place() {
  const percent = (sample) => Math.max(0, Math.min(1, share(sample))) * 100;
  for (const edge of ["start", "end"]) {
    const handle = handles[edge];
    const inSight = share(cut[edge]) >= -0.001 && share(cut[edge]) <= 1.001;
    handle.style.left = `${percent(cut[edge])}%`;
    handle.hidden = !inSight;
    handle.setAttribute("aria-valuemin", 0);
    handle.setAttribute("aria-valuemax", row.total);
    handle.setAttribute("aria-valuenow", (cut[edge] / RATE).toFixed(3));
    handle.setAttribute("aria-valuetext", `${(cut[edge] / RATE).toFixed(3)} seconds`);
    handle.setAttribute("aria-disabled", Boolean(away()));
  }
  element("before").style.width = `${percent(cut.start)}%`;
  element("after").style.width = `${100 - percent(cut.end)}%`;
  element("times").textContent = `${seconds(cut.start)} to ${seconds(cut.end)}, ${seconds(cut.end - cut.start)} s`;
  element("away").textContent = away() || "";
}

function seconds(samples) {
  return (samples / RATE).toFixed(3);
}

function grab(edge, event) {
  event.preventDefault();
  choose(edge);
  handles[edge].focus({ preventScroll: true });
  if (away()) return;
  const handle = handles[edge];
  handle.setPointerCapture(event.pointerId);
  const offset = cut[edge] - sampleAt(event);
  const move = (moved) => {
    const free = sampleAt(moved) + offset;
    moveTo(edge, snapping !== moved.altKey ? snapped(free) : free);
  };
  const done = () => {
    handle.removeEventListener("pointermove", move);
    later();
  };
  handle.addEventListener("pointermove", move);
  handle.addEventListener("pointerup", done, { once: true });
  handle.addEventListener("pointercancel", done, { once: true });
}

function key(edge, event) {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction || event.ctrlKey || event.metaKey || away()) return;
  event.preventDefault();
  event.stopPropagation();
  const snap = snapping && !event.altKey && !event.shiftKey;
  const step = event.shiftKey ? 0.01 * RATE : 0.001 * RATE;
  moveTo(edge, snap ? following(cut[edge], direction) : cut[edge] + direction * Math.round(step));
  later();
}

/** The hit nearest to a sample, where there is one within a finger's breadth. */
function snapped(sample) {
  const reach = (SNAP_PIXELS / stage.clientWidth) * (frame.end - frame.start);
  const near = places().filter((each) => Math.abs(each - sample) <= reach);
  return near.sort((one, other) => Math.abs(one - sample) - Math.abs(other - sample))[0] ?? sample;
}

function following(sample, direction) {
  const beyond = places().filter((each) => (each - sample) * direction > 0);
  return beyond.sort((one, other) => direction * (one - other))[0] ?? sample;
}

/** Where a cut snaps: hits, and the cuts of the slices beside this one. */
function places() {
  return [...(picture?.cuts || []), ...siblings(row).flatMap((each) => [each.start, each.end])].filter((each) => each >= frame.start && each <= frame.end);
}

function moveTo(edge, sample) {
  const length = Math.round(row.total * RATE);
  const value = edge === "start" ? Math.max(0, Math.min(sample, cut.end - SHORTEST)) : Math.min(length, Math.max(sample, cut.start + SHORTEST));
  cut = { ...cut, [edge]: value };
  player.moveLoop(cut.start, cut.end);
  place();
}

function later() {
  if (cut.start === row.start && cut.end === row.end) return;
  clearTimeout(timer);
  timer = setTimeout(flush, SAVE_AFTER);
}
