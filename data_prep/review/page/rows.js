// All rows, which of them are shown, and which one is selected. Whoever shows them listens for "rows", "shown" and "selected".

export const rows = new Map();
export const events = new EventTarget();
export const filter = { state: "all", search: "", recording: "", split: "", finding: "", edited: "", slowest: "", fastest: "" };
export const view = { shown: [], at: new Map(), selected: null, number: 0, boot: "", recordings: {} };
let order = [];

export function load(everything) {
  rows.clear();
  order = everything.rows.map((row) => row.id);
  for (const row of everything.rows) rows.set(row.id, row);
  Object.assign(view, { number: everything.number, boot: everything.boot, recordings: everything.recordings });
  refilter();
  say("rows", everything.rows.map((row) => row.id));
}

/** Rows as the server has them now. */
export function take(answer) {
  for (const row of answer.rows) {
    const known = rows.get(row.id);
    if (known && row.version >= known.version) rows.set(row.id, row);
  }
  if (!answer.rows.length) return;
  refilter();
  say("rows", answer.rows.map((row) => row.id));
}

export function refilter() {
  view.shown = order.filter((id) => matches(rows.get(id)));
  view.at = new Map(view.shown.map((id, index) => [id, index]));
  say("shown");
}

export function select(id) {
  if (id === view.selected) return;
  view.selected = id;
  say("selected", id);
}

/** The row `step` after the selected one in the list; where the selected one is not shown, the one that follows it. */
export function neighbour(step) {
  const at = view.at.get(view.selected);
  if (at !== undefined) return view.shown[Math.max(0, Math.min(view.shown.length - 1, at + step))];
  const from = order.indexOf(view.selected);
  const following = view.shown.findIndex((id) => order.indexOf(id) > from);
  return view.shown[following < 0 ? view.shown.length - 1 : Math.max(0, following + (step > 0 ? step - 1 : step))];
}

export function nextToDo() {
  const from = order.indexOf(view.selected);
  return [...order.slice(from + 1), ...order.slice(0, from + 1)].find((id) => isToDo(rows.get(id)));
}

export function counts() {
  const count = { all: rows.size, todo: 0, accepted: 0, rejected: 0 };
  for (const row of rows.values()) count[isToDo(row) ? "todo" : row.state] += 1;
  return count;
}

/** Slices of the same recording, for the cuts beside this one. */
export function siblings(row) {
  return order.map((id) => rows.get(id)).filter((each) => each.recording === row.recording && each.id !== row.id);
}

export function values(of) {
  return [...new Set([...rows.values()].flatMap(of))].sort();
}

function isToDo(row) {
  return row.state === "new" || row.state === "edited";
}

function matches(row) {
  if (filter.state !== "all" && !(filter.state === "todo" ? isToDo(row) : row.state === filter.state)) return false;
  if (filter.edited && row.state !== filter.edited) return false;
  if (filter.recording && row.recording !== filter.recording) return false;
  if (filter.split && row.split !== filter.split) return false;
  if (filter.finding && !row.quality.includes(filter.finding)) return false;
  if (filter.slowest && !(row.tempo >= Number(filter.slowest))) return false;
  if (filter.fastest && !(row.tempo !== null && row.tempo <= Number(filter.fastest))) return false;
  const words = filter.search.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${row.text} ${row.recording} ${row.id}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function say(what, detail) {
  events.dispatchEvent(new CustomEvent(what, { detail }));
}
