// Waveform above, spectrogram below, in the colours of the page.

const dark = matchMedia("(prefers-color-scheme: dark)");
const RAMPS = {
  light: [[255, 255, 255], [246, 226, 196], [224, 160, 92], [150, 78, 24], [44, 20, 8]],
  dark: [[31, 28, 25], [66, 42, 24], [150, 84, 32], [232, 166, 98], [255, 240, 214]],
};

let known = null;
dark.addEventListener("change", () => { known = null; });

/** The colours of the style sheet; asked for once, for asking makes the browser lay out the page. */
export function colours() {
  if (known) return known;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  known = { ink: colour("ink"), soft: colour("soft"), line: colour("line"), accent: colour("accent") };
  return known;
}

/** `peaks`: lowest and highest of each column, int8; drawn into the box x, y, width, height. */
export function wave(pen, peaks, columns, x, y, width, height, colour) {
  let top = 1;
  for (const value of peaks) top = Math.max(top, Math.abs(value));
  const scale = height / 2 / Math.max(top, 24);
  const step = width / columns;
  pen.fillStyle = colour;
  for (let column = 0; column < columns; column += 1) {
    const high = peaks[2 * column + 1] * scale;
    const low = peaks[2 * column] * scale;
    pen.fillRect(x + column * step, y + height / 2 - high, step > 1.6 ? step - 0.5 : step + 0.2, Math.max(high - low, 1));
  }
}

/** The answer of /api/picture: a line of JSON, then peaks, then levels. */
export function parse(buffer) {
  const all = new Uint8Array(buffer);
  const end = all.indexOf(10);
  const header = JSON.parse(new TextDecoder().decode(all.subarray(0, end)));
  const size = 2 * header.columns;
  return { ...header, cuts: [], peaks: new Int8Array(buffer, end + 1, size), levels: all.subarray(end + 1 + size) };
}

/** Draws a picture; `marks` are cuts of other slices, in samples. */
export function draw(canvas, picture, marks) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (!width || !height) return;
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  const half = Math.round(height * 0.5);
  const colour = colours();
  wave(pen, picture.peaks, picture.columns, 0, 0, width, half, colour.accent);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(image(picture), 0, half, width, height - half);
  const place = (sample) => ((sample - picture.start) / (picture.end - picture.start)) * width;
  pen.fillStyle = colour.line;
  pen.fillRect(0, half, width, ratio);
  pen.fillStyle = colour.ink;
  for (const cut of picture.cuts) triangle(pen, place(cut), half, 4 * ratio);
  pen.setLineDash([4 * ratio, 4 * ratio]);
  pen.strokeStyle = colour.soft;
  pen.lineWidth = ratio;
  for (const mark of marks) {
    if (mark <= picture.start || mark >= picture.end) continue;
    pen.beginPath();
    pen.moveTo(place(mark), 0);
    pen.lineTo(place(mark), height);
    pen.stroke();
  }
}

function triangle(pen, x, y, size) {
  pen.beginPath();
  pen.moveTo(x, y + size);
  pen.lineTo(x - size, y - size * 0.8);
  pen.lineTo(x + size, y - size * 0.8);
  pen.fill();
}

function image(picture) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: picture.frames, height: picture.bands });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(picture.frames, picture.bands);
  const ramp = palette();
  for (let frame = 0; frame < picture.frames; frame += 1) {
    for (let band = 0; band < picture.bands; band += 1) {
      const level = 3 * picture.levels[frame * picture.bands + band];
      const at = 4 * ((picture.bands - 1 - band) * picture.frames + frame);
      pixels.data.set(ramp.subarray(level, level + 3), at);
      pixels.data[at + 3] = 255;
    }
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

function palette() {
  const stops = RAMPS[dark.matches ? "dark" : "light"];
  const ramp = new Uint8Array(256 * 3);
  for (let level = 0; level < 256; level += 1) {
    const place = (level / 255) * (stops.length - 1);
    const from = Math.min(Math.floor(place), stops.length - 2);
    for (let part = 0; part < 3; part += 1) {
      ramp[3 * level + part] = stops[from][part] + (place - from) * (stops[from + 1][part] - stops[from][part]);
    }
  }
  return ramp;
}
