// Captions that are typed and not saved yet, kept in the browser so that neither a crash nor a closed window loses one.

const PREFIX = "woodshed-draft ";

export function keep(dataset, id, text, version) {
  try {
    localStorage.setItem(`${PREFIX}${dataset} ${id}`, JSON.stringify({ text, version }));
  } catch {
    // a full or forbidden store: the caption is saved by the server in a moment
  }
}

export function drop(dataset, id) {
  localStorage.removeItem(`${PREFIX}${dataset} ${id}`);
}

/** [id, { text, version }] of every draft of a dataset. */
export function all(dataset) {
  const start = `${PREFIX}${dataset} `;
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(start))
    .map((key) => [key.slice(start.length), JSON.parse(localStorage.getItem(key))]);
}
