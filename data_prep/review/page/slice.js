// The selected slice: caption, tempo, facts, verdict. The picture is in cut.js.

import * as cut from "./cut.js";
import * as drafts from "./drafts.js";
import { Away, Refused, act } from "./server.js";
import { clock, shortName } from "./list.js";
import { neighbour, rows, select, take, view } from "./rows.js";

const SAVE_AFTER = 500;
const element = (id) => document.getElementById(id);
const text = element("text");
const STATES = { new: "", accepted: "Accepted", rejected: "Rejected", edited: "Edited" };
const SIDES = { train: "", validation: "Held out", left_out: "" };

let dataset = "";
let typed = null; // { id, version } of the caption that is being written; version is the one it began from
let timer = 0;
let failed = false; // a caption could not be saved
const conflicts = new Map();
let say = () => {};

export function startSlice(name, toast) {
  dataset = name;
  say = toast;
  text.addEventListener("input", write);
  text.addEventListener("blur", saveCaption);
  element("keep-mine").addEventListener("click", () => settle(true));
  element("keep-theirs").addEventListener("click", () => settle(false));
  cut.startCut((id, start, end) => change(() => ({ do: "cut", id, version: rows.get(id).version, start, end }), "Cut moved"));
  for (const [id, draft] of drafts.all(dataset)) recover(id, draft);
}

export function show(play) {
  const row = rows.get(view.selected);
  element("slice").hidden = !row;
  if (!row) return;
  if (typed && typed.id !== row.id) saveCaption();
  element("name").textContent = `${shortName(row)} · ${clock(row.start / 44100)}`;
  element("name").title = row.id;
  element("badges").replaceChildren(badge(STATES[row.state], row.state), badge(SIDES[row.split], "side"));
  if (!typed) text.value = row.text;
  text.lang = "";
  showConflict(row);
  showTempo(row);
  showFacts(row);
  for (const [id, state] of [["accept", "accepted"], ["reject", "rejected"]]) {
    element(id).setAttribute("aria-pressed", row.state === state);
  }
  element("undecide").disabled = row.state !== "accepted" && row.state !== "rejected";
  cut.show(row, { play });
}

/** Gives the selected slice a verdict and goes on to the next. */
export async function judge(verdict) {
  const row = rows.get(view.selected);
  if (!row) return;
  flush();
  const next = neighbour(1);
  const done = change(() => ({ do: "verdict", versions: { [row.id]: rows.get(row.id).version }, verdict }), { accepted: "Accepted", rejected: "Rejected" }[verdict] || "Undecided");
  if (verdict && next) select(next);
  await done;
}

export function judgeAll(ids, verdict) {
  return change(() => ({ do: "verdict", versions: Object.fromEntries(ids.map((id) => [id, rows.get(id).version])), verdict }), `${ids.length} ${verdict}`);
}

export function scaleTempo(factor) {
  const row = rows.get(view.selected);
  if (!row || !view.recordings[row.recording]?.bpm) return;
  flush();
  change(() => ({ do: "tempo", id: row.id, version: rows.get(row.id).version, factor }), factor === 2 ? "Tempo doubled for this recording" : "Tempo halved for this recording");
}

export async function undo(what) {
  flush();
  await change(() => ({ do: what }), null, (answer) => {
    if (answer.rows.length && !answer.rows.some((row) => row.id === view.selected)) select(answer.rows[0].id);
    const names = { caption: "caption", verdict: "verdict", cut: "cut", tempo: "tempo", replace: "replacing", undo: "undo", redo: "redo" };
    say(`${what === "undo" ? "Undone" : "Done again"}: ${names[answer.did] || answer.did}`);
  });
}

/** Sends what is waiting to be sent. */
export function flush() {
  saveCaption();
  cut.flush();
}

/** One action; its rows are taken over, what is wrong is said. True where it was done. */
export async function change(body, done, then) {
  try {
    const answer = await act(body);
    if (!answer) return true;
    take(answer);
    if (then) then(answer);
    else if (done && answer.count) say(done);
    return true;
  } catch (error) {
    if (error instanceof Away) say("Not saved: the server is away.");
    else if (error instanceof Refused) {
      take({ rows: error.rows });
      say(error.message);
    } else throw error;
    return false;
  }
}

function badge(words, kind) {
  const span = document.createElement("span");
  span.className = `state ${kind}`;
  span.textContent = words ? `${words} ` : "";
  return span;
}

function write() {
  const row = rows.get(view.selected);
  if (!typed) typed = { id: row.id, version: row.version };
  drafts.keep(dataset, typed.id, text.value, typed.version);
  element("saved").textContent = "…";
  clearTimeout(timer);
  timer = setTimeout(saveCaption, SAVE_AFTER);
}

function saveCaption() {
  clearTimeout(timer);
  if (!typed || conflicts.has(typed.id)) return;
  const { id, version } = typed;
  const words = text.value;
  typed = null;
  send(id, words, version);
}

/** Saves a caption; a draft goes once it is on the server's disk. */
async function send(id, words, version) {
  try {
    const answer = await act(() => ({ do: "caption", id, text: words, version }));
    const kept = typed?.id === id; // written on meanwhile
    if (kept) typed.version = answer.rows[0].version;
    else drafts.drop(dataset, id);
    take(answer);
    if (view.selected === id && !kept) element("saved").textContent = answer.count ? "Saved" : "";
  } catch (error) {
    if (error instanceof Refused && error.status === 409) {
      conflicts.set(id, words);
      take({ rows: error.rows });
      if (view.selected === id) showConflict(rows.get(id));
    } else if (error instanceof Refused && error.status === 422) {
      drafts.drop(dataset, id);
      say(error.message);
      if (view.selected === id && !typed) text.value = rows.get(id).text;
    } else {
      if (view.selected === id && !typed) typed = { id, version };
      failed = true;
      element("saved").textContent = "Kept here until the server is back";
    }
  }
}

/** A caption that an earlier window could not save. */
function recover(id, draft) {
  const row = rows.get(id);
  if (!row || row.text === draft.text.trim()) drafts.drop(dataset, id);
  else send(id, draft.text, draft.version);
}

/** Tries again to save what could not be saved. */
export function retry() {
  if (!failed) return;
  failed = false;
  if (typed) saveCaption();
  for (const [id, draft] of drafts.all(dataset)) {
    if (typed?.id !== id && !conflicts.has(id)) recover(id, draft);
  }
}

function showConflict(row) {
  const mine = conflicts.get(row.id);
  element("conflict").hidden = mine === undefined;
  if (mine === undefined) return;
  text.value = mine;
  typed = { id: row.id, version: row.version };
  element("theirs").textContent = row.text;
  element("mine").textContent = mine;
  element("conflict").scrollIntoView({ block: "nearest" });
}

function settle(keepMine) {
  const row = rows.get(view.selected);
  const words = text.value;
  conflicts.delete(row.id);
  typed = null;
  element("conflict").hidden = true;
  if (keepMine) send(row.id, words, row.version);
  else {
    drafts.drop(dataset, row.id);
    text.value = row.text;
    element("saved").textContent = "";
  }
}

function showTempo(row) {
  const { bpm = null, heard = [] } = view.recordings[row.recording] || {};
  const unsure = bpm ? `${Number(bpm.toFixed(1))}?` : "none";
  element("bpm").textContent = row.tempo ? Number(row.tempo.toFixed(1)) : unsure;
  element("heard").textContent = heard.length ? `heard ${heard.map((bpm) => Math.round(bpm)).join(" or ")}` : "";
  for (const id of ["halve", "double"]) element(id).disabled = !bpm;
}

function showFacts(row) {
  const gates = view.recordings[row.recording]?.gates || {};
  element("findings").replaceChildren(...row.quality.map((gate) => {
    const item = document.createElement("li");
    item.textContent = gates[gate] || gate.replaceAll("_", " ");
    return item;
  }));
  const known = row.fields.filter(([name]) => name !== "tempo" && name !== "seconds");
  element("fields").replaceChildren(...known.filter(([, value]) => typeof value !== "number").map(chip));
  element("measurements").replaceChildren(...known.filter(([, value]) => typeof value === "number").map(chip));
}

function chip([name, value, source, confidence]) {
  const pair = document.createElement("div");
  const [term, fact] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name.replaceAll("_", " ");
  fact.textContent = Array.isArray(value) ? value.join(", ") : value;
  pair.title = `${source}, ${Math.round(100 * confidence)} % sure`;
  pair.append(term, fact);
  return pair;
}
