// The page: loads the rows, wires buttons and keys, follows what other windows do.

import { openReplace, startReplace } from "./replace.js";
import { Away, Refused, ask } from "./server.js";
import { bringIntoSight, rowsPerPage, startList } from "./list.js";
import { counts, events, filter, load, neighbour, nextToDo, refilter, rows, select, take, values, view } from "./rows.js";
import * as cut from "./cut.js";
import * as slice from "./slice.js";
import { startKeys } from "./keys.js";

const POLL = 1000;
const element = (id) => document.getElementById(id);
const filters = element("filters");
let autoplay = false;
let toastTimer = 0;

function toast(words) {
  element("toast").textContent = words;
  element("toast").classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => element("toast").classList.remove("shown"), 2200);
}

function trouble(words) {
  element("trouble").hidden = !words;
  element("trouble").textContent = words || "";
}

async function start() {
  history.replaceState(history.state, "", `/${location.hash}`); // the key in the link is now a cookie
  let everything;
  try {
    everything = await ask("/api/rows");
  } catch (error) {
    trouble(explain(error));
    return;
  }
  element("dataset").textContent = everything.dataset;
  document.title = `${everything.dataset} · Woodshed review`;
  startList(open);
  events.addEventListener("rows", () => { progress(); slice.show(false); });
  events.addEventListener("selected", () => { keepPlace(); slice.show(autoplay); });
  load(everything);
  fillFilters();
  slice.startSlice(everything.dataset, toast);
  startReplace();
  buttons();
  startKeys(commands);
  addEventListener("hashchange", fromHash);
  addEventListener("popstate", () => { document.body.classList.toggle("open", Boolean(history.state?.open)); keepPlace(); bringIntoSight(); });
  addEventListener("pagehide", () => slice.flush());
  fromHash();
  document.body.classList.toggle("open", Boolean(history.state?.open));
  if (!view.selected && view.shown.length) select(nextToDo() || view.shown[0]);
  bringIntoSight();
  setTimeout(follow, POLL);
}

/** Asks again and again what other windows have done. */
async function follow() {
  try {
    const answer = await ask(`/api/changes?since=${view.number}`);
    if (answer.boot !== view.boot) load(await ask("/api/rows"));
    else if (answer.number !== view.number) {
      view.number = answer.number;
      take(answer);
    }
    trouble(answer.trouble);
    slice.retry();
  } catch (error) {
    trouble(explain(error));
  }
  setTimeout(follow, document.hidden ? 5 * POLL : POLL);
}

function explain(error) {
  if (error instanceof Away) return "The server is away. What you type is kept in this browser; start `woodshed review` again.";
  if (error instanceof Refused && error.status === 403) return "`woodshed review` was started anew: open the link that it printed. What you typed is kept in this browser.";
  if (error instanceof Refused) return error.message;
  throw error;
}

function progress() {
  const count = counts();
  const done = count.accepted + count.rejected;
  const bar = document.querySelector(".bar");
  bar.setAttribute("aria-valuemax", count.all);
  bar.setAttribute("aria-valuenow", done);
  element("bar-accepted").style.width = `${(100 * count.accepted) / count.all}%`;
  element("bar-rejected").style.width = `${(100 * count.rejected) / count.all}%`;
  element("progress-text").textContent = `${done} of ${count.all}`;
  for (const button of element("states").children) button.querySelector("b").textContent = count[button.dataset.state];
}

function open(id) {
  if (!document.body.classList.contains("open")) {
    history.pushState({ open: true }, "");
    document.body.classList.add("open");
  }
  select(id);
}

function close() {
  if (history.state?.open) history.back();
}

/** The address names the slice, so that a window that is loaded again comes back to it. */
function keepPlace() {
  if (view.selected) history.replaceState(history.state, "", `#${encodeURIComponent(view.selected)}`);
}

function fromHash() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (rows.has(id)) select(id);
}

function fillFilters() {
  const options = (list) => [new Option("Any", ""), ...list.map((each) => new Option(each.replaceAll("_", " "), each))];
  filters.elements.recording.replaceChildren(new Option("Any", ""), ...values((row) => [row.recording]).map((each) => new Option(each, each)));
  filters.elements.finding.replaceChildren(...options(values((row) => row.quality)));
}

function applyFilters() {
  for (const name of ["recording", "split", "finding", "edited", "slowest", "fastest"]) filter[name] = filters.elements[name].value;
  filter.search = element("search").value;
  refilter();
}

function buttons() {
  const click = (id, call) => element(id).addEventListener("click", call);
  element("search").addEventListener("input", applyFilters);
  filters.addEventListener("input", applyFilters);
  filters.addEventListener("reset", () => setTimeout(applyFilters));
  filters.addEventListener("submit", (event) => event.preventDefault());
  element("states").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    filter.state = button.dataset.state;
    for (const each of element("states").children) each.setAttribute("aria-pressed", each === button);
    refilter();
  });
  click("open-filters", commands.f);
  click("open-replace", commands.b);
  click("open-help", commands["?"]);
  click("undo", commands["Ctrl+z"]);
  click("redo", commands["Ctrl+Shift+z"]);
  click("back", close);
  click("previous", commands.k);
  click("next", commands.j);
  click("play", () => cut.toggle({ loop: isOn("loop") }));
  click("context", commands.c);
  click("loop", commands.l);
  click("autoplay", commands.p);
  click("snap", commands.s);
  click("zoom-in", commands["+"]);
  click("zoom-out", commands["-"]);
  click("halve", commands.h);
  click("double", commands.d);
  click("accept", commands.a);
  click("reject", commands.r);
  click("undecide", commands.u);
  click("accept-shown", () => judgeShown("accepted", "Accept"));
  click("reject-shown", () => judgeShown("rejected", "Reject"));
}

async function judgeShown(verdict, verb) {
  const ids = [...view.shown];
  if (!ids.length) return;
  element("confirm-text").textContent = `${verb} all ${ids.length} slices that the list shows? Undo takes it back.`;
  element("confirm").returnValue = "no";
  element("confirm").showModal();
  await new Promise((closed) => element("confirm").addEventListener("close", closed, { once: true }));
  if (element("confirm").returnValue === "yes") slice.judgeAll(ids, verdict);
}

function isOn(id) {
  return element(id).getAttribute("aria-pressed") === "true";
}

function flip(id) {
  const on = !isOn(id);
  element(id).setAttribute("aria-pressed", on);
  return on;
}

function go(id) {
  if (id) select(id);
}

const commands = {
  " ": (event) => (event.target.closest?.("button") ? false : cut.toggle({ loop: isOn("loop") })),
  c: () => cut.toggle({ context: true, loop: isOn("loop") }),
  l: () => cut.setLoop(flip("loop")),
  p: () => { autoplay = flip("autoplay"); },
  j: () => go(neighbour(1)),
  ArrowDown: () => go(neighbour(1)),
  k: () => go(neighbour(-1)),
  ArrowUp: () => go(neighbour(-1)),
  PageDown: () => go(neighbour(rowsPerPage())),
  PageUp: () => go(neighbour(-rowsPerPage())),
  Home: () => go(view.shown[0]),
  End: () => go(view.shown.at(-1)),
  n: () => { const id = nextToDo(); if (id) go(id); else toast("Every slice has a verdict."); },
  a: () => slice.judge("accepted"),
  r: () => slice.judge("rejected"),
  u: () => slice.judge(null),
  e: () => { open(view.selected); element("text").focus(); },
  Enter: (event) => { if (event.target.closest?.("button, .handle, select")) return false; return commands.e(); },
  "Ctrl+Enter": (event) => { if (event.target.id !== "text") return false; element("text").blur(); return slice.judge("accepted"); },
  Escape: (event) => { if (event.target.matches?.("input, textarea, select, .handle")) { event.target.blur(); element("list").focus(); } else close(); },
  i: () => cut.focusHandle("start"),
  o: () => cut.focusHandle("end"),
  "[": () => cut.focusHandle("start"),
  "]": () => cut.focusHandle("end"),
  s: () => cut.setSnapping(flip("snap")),
  "+": () => cut.zoom(0.5),
  "=": () => cut.zoom(0.5),
  "-": () => cut.zoom(2),
  h: () => slice.scaleTempo(0.5),
  d: () => slice.scaleTempo(2),
  "/": () => element("search").focus(),
  f: () => { const open = filters.hidden; filters.hidden = !open; element("open-filters").setAttribute("aria-expanded", open); if (open) filters.elements.recording.focus(); },
  b: () => openReplace(),
  "?": () => element("help").showModal(),
  "Ctrl+z": () => slice.undo("undo"),
  "Ctrl+Shift+z": () => slice.undo("redo"),
  "Ctrl+y": () => slice.undo("redo"),
};

start();
