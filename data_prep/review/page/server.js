// Talks to the server: one action after another, and what happened in other windows every second.

const tab = sessionStorage.getItem("woodshed-tab") || crypto.getRandomValues(new Uint32Array(2)).join("-");
sessionStorage.setItem("woodshed-tab", tab);

export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error || "The server has refused this.");
    this.status = status;
    this.rows = answer.rows || [];
  }
}

export class Away extends Error {}

let last = Promise.resolve();

/** Does what `body()` says once everything before it is done; Refused or Away where it is not done. */
export function act(body) {
  const done = last.then(async () => {
    const asked = body();
    return asked ? ask("/api/act", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ tab, ...asked }) }) : null;
  });
  last = done.catch(() => {});
  return done;
}

export async function ask(path, options) {
  const response = await reach(path, options);
  const answer = response.headers.get("Content-Type") === "application/json" ? await response.json() : {};
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export async function bytes(path, signal) {
  const response = await reach(path, { signal });
  if (!response.ok) throw new Refused(response.status, {});
  return response.arrayBuffer();
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Away("The server is away.");
  }
}
