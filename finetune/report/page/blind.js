// The blind test: hidden names in random order, and what the score means. Nothing of it is kept or sent.

/** The chance of `hits` or more of `trials` for one who only guesses. */
function chanceOf(hits, trials) {
  let term = 0.5 ** trials;
  let sum = 0;
  for (let count = 0; count <= trials; count += 1) {
    if (count >= hits) sum += term;
    term *= (trials - count) / (count + 1);
  }
  return Math.min(1, sum);
}

function inPercent(share) {
  if (share < 0.001) return "less than 0.1 %";
  return `${share < 0.1 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;
}

function shuffled(items) {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
  }
  return mixed;
}

function random() {
  return crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
}

class BlindTest {
  constructor(element) {
    this.element = element;
    const one = (name) => element.querySelector(`#blind-${name}`);
    for (const name of ["setup", "trial", "result", "count", "prompt", "play", "a", "b", "own", "one", "two", "hint"]) this[name] = one(name);
    this.setup.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.play.addEventListener("click", () => this.toggle());
    [this.a, this.b, this.own].forEach((button, index) => button.addEventListener("click", () => this.hear(index)));
    this.one.addEventListener("click", () => this.answer(0));
    this.two.addEventListener("click", () => this.answer(1));
    one("end").addEventListener("click", () => this.finish());
    one("again").addEventListener("click", () => this.restart());
  }

  begin() {
    const asked = new FormData(this.setup);
    this.closer = asked.get("question") === "closer";
    this.trials = Number(asked.get("trials"));
    const pairs = PAGE.blind.filter((pair) => !this.closer || pair.own);
    this.order = [];
    while (this.order.length < this.trials) this.order.push(...shuffled(pairs));
    this.answers = [];
    this.next();
  }

  /** Set up the next pair: which of A and B is the adapter is drawn, and stands nowhere on the page. */
  next() {
    this.halt();
    this.pair = this.order[this.answers.length];
    this.adapterAt = random() < 0.5 ? 0 : 1;
    this.heard = new Set();
    this.chosen = 0;
    this.at = 0;
    this.turn(this.trial);
    this.count.textContent = `Trial ${this.answers.length + 1} of ${this.trials}`;
    this.prompt.textContent = this.pair.prompt;
    this.own.hidden = !this.closer;
    this.one.textContent = this.closer ? "1: A is closer" : "1: A is the adapter";
    this.two.textContent = this.closer ? "2: B is closer" : "2: B is the adapter";
    this.show();
    this.count.focus();
    this.start();
  }

  turn(part) {
    for (const each of [this.setup, this.trial, this.result]) each.hidden = each !== part;
  }

  takes() {
    const { base, adapted, own } = this.pair;
    const two = this.adapterAt === 0 ? [adapted, base] : [base, adapted];
    return [...two, ...(this.closer ? [own] : [])].map((sound) => ({ sound, begins: 0 }));
  }

  async start() {
    if (active !== this) active?.halt();
    active = this;
    this.running = true;
    this.show();
    const takes = this.takes();
    const seconds = Math.max(...takes.map((take) => PAGE.sounds[take.sound].seconds));
    document.getElementById("matched").checked = true; // who is louder would tell
    player.match(true);
    try {
      const began = await player.play({ takes, seconds, chosen: this.chosen, at: this.at, loop: true, ended: () => this.halt() });
      if (began) this.listened();
    } catch (error) {
      this.halt();
      this.hint.textContent = `This sound cannot be played here: ${error.message}`;
    }
  }

  listened() {
    if (this.running) this.heard.add(this.chosen);
    this.show();
  }

  halt() {
    if (!this.running) return;
    if (player.playing()) this.at = player.position();
    this.running = false;
    player.stop();
    this.show();
  }

  toggle() {
    return this.running ? this.halt() : this.start();
  }

  hear(index) {
    if (index === 2 && !this.closer) return;
    this.chosen = index;
    if (!this.running) {
      this.start();
      return;
    }
    player.choose(index);
    this.listened();
  }

  get ready() {
    return this.heard.has(0) && this.heard.has(1);
  }

  answer(index) {
    if (this.trial.hidden || !this.ready) return;
    this.answers.push({ prompt: this.pair.prompt, adapterAt: this.adapterAt, answer: index });
    if (this.answers.length < this.trials) this.next();
    else this.finish();
  }

  finish() {
    this.halt();
    this.turn(this.result);
    const hits = this.answers.filter((each) => each.answer === each.adapterAt).length;
    const of = this.answers.length;
    this.element.querySelector("#blind-score").textContent = of ? `${hits} of ${of}` : "No trial was answered";
    this.element.querySelector("#blind-meaning").textContent = of ? this.meaning(hits, of) : "";
    this.list();
    this.element.querySelector("#blind-score").focus();
  }

  meaning(hits, of) {
    const chance = chanceOf(hits, of);
    const what = this.closer ? "times the adapter was closer to your take" : "times you named the adapter";
    const by = `${hits} of ${of} ${what}. By chance, that or more would happen in ${inPercent(chance)} of cases.`;
    if (chance <= 0.05) return `${by} ${this.closer ? "You hear it nearer to your take." : "You hear the difference."}`;
    const below = chanceOf(of - hits, of);
    if (below <= 0.05) {
      const fewer = `${hits} or fewer would happen by chance in ${inPercent(below)} of cases.`;
      return `${by} ${fewer} ${this.closer ? "You hear the base nearer to your take." : "You hear the difference, and take the base for the adapter."}`;
    }
    return `${by} That shows nothing yet; more trials say more.`;
  }

  list() {
    const body = this.element.querySelector("#blind-answers");
    body.replaceChildren(
      ...this.answers.map((each, number) => {
        const line = document.createElement("tr");
        const words = [`${number + 1}`, each.prompt, "AB"[each.adapterAt], "AB"[each.answer]];
        line.append(...words.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
        return line;
      }),
    );
    body.closest("table").hidden = this.answers.length === 0;
  }

  restart() {
    this.turn(this.setup);
    this.setup.querySelector("button").focus();
  }

  show() {
    this.play.textContent = this.running ? "Stop" : "Play";
    [this.a, this.b, this.own].forEach((button, index) => button.setAttribute("aria-pressed", String(index === this.chosen)));
    this.one.disabled = this.two.disabled = !this.ready;
    this.hint.textContent = this.ready ? "" : "Hear both before you answer.";
  }

  key(key) {
    if (this.trial.hidden) return false;
    if (key === " ") this.toggle();
    else if (key === "a" || key === "b") this.hear(key === "a" ? 0 : 1);
    else if (key === "r") this.hear(2);
    else if (key === "1" || key === "2") this.answer(Number(key) - 1);
    else return false;
    return true;
  }
}

const blind = document.getElementById("blind-test") && new BlindTest(document.getElementById("blind-test"));
