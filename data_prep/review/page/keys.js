// Every key of the page, and the overlay that lists them.

const SHOWN = [
  ["Space", "play, stop"], ["C", "play with context"], ["L", "loop"], ["P", "play each slice that is selected"],
  ["J ↓", "next slice"], ["K ↑", "slice before"], ["N", "next to do"], ["Home End", "first, last"],
  ["A", "accept, and on"], ["R", "reject, and on"], ["U", "no verdict"],
  ["E", "edit the caption"], ["Ctrl Enter", "in the caption: accept, and on"], ["Esc", "leave the caption, go back"],
  ["I O", "take the start, the end ([ ] too)"], ["← →", "move it to the next hit"], ["Alt ← →", "by 1 ms, without snapping"], ["Shift ← →", "by 10 ms, without snapping"],
  ["S", "snapping on and off"], ["+ −", "larger, smaller"],
  ["H", "halve the tempo of the recording"], ["D", "double it"],
  ["/", "search"], ["F", "filters"], ["B", "find and replace"],
  ["Ctrl Z", "undo"], ["Ctrl Shift Z", "do again"], ["?", "these keys"],
];

export function startKeys(commands) {
  const list = document.getElementById("keys");
  for (const [keys, words] of SHOWN) {
    const line = document.createElement("div");
    const key = document.createElement("kbd");
    key.textContent = keys;
    line.append(words, key);
    list.append(line);
  }
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const command = commands[name(event)];
    if (!command || (isTyping(event) && !["Escape", "Ctrl+Enter"].includes(name(event)))) return;
    if (command(event) !== false) event.preventDefault();
  });
}

function name(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  if (event.altKey && !control) return "";
  return `${control}${control && event.shiftKey ? "Shift+" : ""}${key}`;
}

function isTyping(event) {
  return event.target.matches("input, textarea, select") && !event.target.matches("[type=checkbox]");
}
