// Rows of takes: which one is heard, where in time, and the keys.

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
let active = null; // what the keys act on: a row, or the blind test

function clock(seconds) {
  return `${seconds.toFixed(1)} s`;
}

class Row {
  constructor(element) {
    this.element = element;
    const data = PAGE.rows[element.dataset.row];
    this.takes = data.takes;
    this.seconds = data.seconds ?? Math.max(...this.takes.map((take) => PAGE.sounds[take.sound].seconds - take.begins));
    this.chosen = 0;
    this.at = 0;
    this.loop = true;
    this.running = false;
    this.bind();
    this.show();
  }

  bind() {
    const one = (selector) => this.element.querySelector(selector);
    this.playButton = one(".play");
    this.loopButton = one(".loop");
    this.slider = one(".at");
    this.time = one(".time");
    this.buttons = [...this.element.querySelectorAll(".choose")];
    this.pictures = [...this.element.querySelectorAll(".picture")];
    this.playButton.addEventListener("click", () => this.toggle());
    this.loopButton.addEventListener("click", () => this.setLoop());
    this.slider.max = this.seconds.toFixed(2);
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.buttons.forEach((button, index) => button.addEventListener("click", () => this.take(index)));
    this.pictures.forEach((picture, index) => picture.addEventListener("click", (event) => this.point(index, event)));
    for (const button of this.element.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.step(Number(button.dataset.step)));
    }
    this.pictures.forEach((picture, index) => this.frame(picture, this.takes[index]));
  }

  /** Marks the stretch of a picture that plays, where it is not all of it. */
  frame(picture, take) {
    const whole = PAGE.sounds[take.sound].seconds;
    const mark = picture.querySelector(".stretch");
    mark.style.left = `${(100 * take.begins) / whole}%`;
    mark.style.width = `${Math.min(100, (100 * this.seconds) / whole)}%`;
    mark.hidden = take.begins === 0 && this.seconds >= whole - 0.01;
  }

  async play() {
    if (active !== this) active?.halt();
    active = this;
    this.running = true;
    this.show();
    const { takes, seconds, chosen, at, loop } = this;
    try {
      const began = await player.play({ takes, seconds, chosen, at: at < seconds - 0.02 ? at : 0, loop, ended: () => this.ended() });
      if (began) this.follow();
    } catch (error) {
      this.halt();
      this.time.textContent = `This sound cannot be played here: ${error.message}`;
    }
  }

  halt() {
    if (!this.running) return;
    if (player.playing()) this.at = player.position();
    this.running = false;
    player.stop();
    this.show();
  }

  ended() {
    this.running = false;
    this.at = 0;
    this.show();
  }

  toggle() {
    return this.running ? this.halt() : this.play();
  }

  /** Hear a take; the one that is heard already stops. */
  take(index) {
    const same = index === this.chosen;
    this.chosen = index;
    this.show();
    if (!this.running) return this.play();
    return same ? this.halt() : player.choose(index);
  }

  step(by) {
    const next = this.chosen + by;
    if (next >= 0 && next < this.takes.length) this.take(next);
  }

  setLoop() {
    const running = this.running;
    this.halt();
    this.loop = !this.loop;
    this.show();
    if (running) this.play();
  }

  seek(seconds) {
    const running = this.running;
    this.halt();
    this.at = Math.min(Math.max(0, seconds), this.seconds);
    this.show();
    if (running) this.play();
  }

  point(index, event) {
    const box = this.pictures[index].getBoundingClientRect();
    const seconds = ((event.clientX - box.left) / box.width) * PAGE.sounds[this.takes[index].sound].seconds;
    this.halt();
    this.chosen = index;
    this.at = Math.min(Math.max(0, seconds - this.takes[index].begins), this.seconds);
    this.play();
  }

  follow() {
    if (!this.running) return;
    this.at = player.position();
    this.move();
    requestAnimationFrame(() => this.follow());
  }

  move() {
    this.slider.value = this.at;
    this.slider.setAttribute("aria-valuetext", clock(this.at));
    this.time.textContent = `${this.at.toFixed(1)} / ${clock(this.seconds)}`;
    this.pictures.forEach((picture, index) => {
      const { sound, begins } = this.takes[index];
      const share = (begins + this.at) / PAGE.sounds[sound].seconds;
      const head = picture.querySelector(".playhead");
      head.hidden = share > 1;
      head.style.left = `${100 * share}%`;
    });
  }

  show() {
    this.playButton.textContent = this.running ? "Stop" : "Play";
    this.loopButton.setAttribute("aria-pressed", String(this.loop));
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === this.chosen)));
    for (const button of this.element.querySelectorAll("[data-step]")) {
      const next = this.chosen + Number(button.dataset.step);
      button.disabled = next < 0 || next >= this.takes.length;
    }
    this.move();
  }

  key(key) {
    const index = LETTERS.indexOf(key);
    if (key === " ") this.toggle();
    else if (key === "l") this.setLoop();
    else if (key === "arrowleft") this.step(-1);
    else if (key === "arrowright") this.step(1);
    else if (index >= 0 && index < this.takes.length) this.take(index);
    else return false;
    return true;
  }

  focus() {
    active?.halt();
    active = this;
    this.playButton.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "center" });
  }
}

const rows = [...document.querySelectorAll("[data-row]")].map((element) => new Row(element));

function rowOf(element) {
  return rows.find((row) => row.element.contains(element));
}

/** What the keys act on: where the focus is, or what was used last. */
function target() {
  return rowOf(document.activeElement) ?? active ?? rows[0];
}

function go(by) {
  const seen = rows.filter((row) => !row.element.closest("details:not([open])"));
  const at = seen.indexOf(target());
  seen[Math.min(Math.max(0, at + by), seen.length - 1)]?.focus();
}

document.addEventListener("keydown", (event) => {
  const place = event.target;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey || event.altKey || !document.getElementById("keys").checked) return;
  const slider = place.matches("input[type=range]");
  if (place.matches("select, textarea") || (place.matches("input") && !slider)) return;
  if (slider && key.startsWith("arrow")) return;
  if (key === " " && place.matches("button, summary, a")) return; // the browser presses it
  if (key === "j" || key === "k") go(key === "j" ? 1 : -1);
  else if (!target()?.key(key)) return;
  event.preventDefault();
});

document.getElementById("matched").addEventListener("change", (event) => player.match(event.target.checked));
