// Find and replace in the captions of all slices that the list shows, seen before it is done.

import { Away, Refused, ask } from "./server.js";
import { view } from "./rows.js";
import { change } from "./slice.js";

const element = (id) => document.getElementById(id);
const dialog = element("replace");
const form = element("replace-form");
let seen = null; // { request, number, count } of the preview that is shown
let timer = 0;

export function startReplace() {
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(preview, 200); });
  form.addEventListener("submit", (event) => { event.preventDefault(); preview(); });
  element("replace-close").addEventListener("click", () => dialog.close());
  element("replace-all").addEventListener("click", replaceAll);
}

export function openReplace() {
  element("replace-scope").textContent = view.shown.length === 1 ? "one slice" : `${view.shown.length} slices`;
  dialog.showModal();
  form.elements.find.select();
  preview();
}

function request() {
  const { find, replacement, whole_words, match_case } = form.elements;
  return { do: "replace", find: find.value, replacement: replacement.value, whole_words: whole_words.checked, match_case: match_case.checked, ids: view.shown };
}

async function preview() {
  const asked = request();
  seen = null;
  element("replace-all").disabled = true;
  if (!asked.find) {
    element("replace-count").textContent = "";
    element("replace-preview").replaceChildren();
    return;
  }
  try {
    const answer = await ask("/api/act", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ tab: "", ...asked, preview: true }) });
    if (JSON.stringify(request()) !== JSON.stringify(asked)) return;
    seen = { asked, number: answer.number };
    element("replace-count").textContent = answer.count ? `${answer.count} ${answer.count === 1 ? "slice changes" : "slices change"}.` : "It is in none of them.";
    element("replace-all").disabled = !answer.count;
    element("replace-preview").replaceChildren(...answer.shown.map(item));
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Away)) throw error;
    element("replace-count").textContent = error.message;
    element("replace-preview").replaceChildren();
  }
}

async function replaceAll() {
  if (!seen) return;
  const { asked, number } = seen;
  element("replace-all").disabled = true;
  const done = await change(() => ({ ...asked, preview: false, number }), "Captions replaced");
  if (done) dialog.close();
  else preview();
}

/** The caption before and after, with what differs marked. */
function item({ before, after }) {
  const [old, now] = [before.split(/(\s+)/), after.split(/(\s+)/)];
  let from = 0;
  while (from < Math.min(old.length, now.length) && old[from] === now[from]) from += 1;
  let to = 0;
  while (to < Math.min(old.length, now.length) - from && old[old.length - 1 - to] === now[now.length - 1 - to]) to += 1;
  const line = document.createElement("li");
  const gone = document.createElement("del");
  const come = document.createElement("ins");
  gone.textContent = old.slice(from, old.length - to).join("");
  come.textContent = now.slice(from, now.length - to).join("");
  line.append(old.slice(0, from).join(""), gone, " ", come, old.slice(old.length - to).join(""));
  return line;
}
