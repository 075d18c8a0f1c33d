// Plays a stretch of sound. A loop has no gap: it is a buffer of the audio engine. Long slices are streamed.

import { bytes } from "./server.js";

const RATE = 44100;
const FADE_SECONDS = 0.004;
const stream = new Audio();
let engine = null;
let sound = null; // { id, start, end, buffer } in samples of the recording
let source = null;
let gain = null;
let began = 0;
let playing = null; // { from, to, loop } in samples
let ended = () => {};

stream.preload = "none";
stream.addEventListener("ended", () => stop());

export function onEnd(call) {
  ended = call;
}

/** Fetches what is to be played; `stretch` (start, end in samples) or null for a slice that is streamed. */
export async function prepare(row, stretch, signal) {
  const key = `${row.id} ${row.clip} ${stretch ? stretch.join(" ") : ""}`;
  if (sound && sound.key === key) return;
  stop();
  sound = null;
  if (!stretch) {
    stream.src = `/sound/${encodeURIComponent(row.id)}.wav?clip=${row.clip}`;
    sound = { key, start: row.start, end: row.end, buffer: null };
    return;
  }
  const whole = stretch[0] === row.start && stretch[1] === row.end && stretch[2];
  const query = whole ? `clip=${row.clip}` : `start=${stretch[0]}&end=${stretch[1]}`;
  const encoded = await bytes(`/sound/${encodeURIComponent(row.id)}.wav?${query}`, signal);
  const decoder = new OfflineAudioContext(2, 1, RATE);
  const buffer = await decoder.decodeAudioData(encoded);
  if (!signal.aborted) sound = { key, start: stretch[0], end: stretch[1], buffer };
}

export function ready() {
  return sound !== null;
}

/** From `from` to `to`, samples of the recording; in a loop until it is stopped. */
export async function play(from, to, loop, at = from) {
  if (!sound) return;
  stop();
  playing = { from, to, loop };
  if (!sound.buffer) {
    stream.loop = loop;
    stream.currentTime = Math.max(0, (at - sound.start) / RATE);
    await stream.play();
    return;
  }
  engine ||= new AudioContext({ sampleRate: RATE });
  if (engine.state === "suspended") await engine.resume();
  source = new AudioBufferSourceNode(engine, { buffer: sound.buffer, loop });
  source.loopStart = (from - sound.start) / RATE;
  source.loopEnd = (to - sound.start) / RATE;
  gain = new GainNode(engine);
  source.connect(gain).connect(engine.destination);
  const offset = (at - sound.start) / RATE;
  began = engine.currentTime - (at - from) / RATE;
  const mine = source;
  source.onended = () => { if (mine === source) stop(); };
  if (loop) source.start(0, offset);
  else source.start(0, offset, (to - at) / RATE);
}

/** The edges of a loop that plays follow the cut. */
export function moveLoop(from, to) {
  if (!source || !playing || !playing.loop) return;
  Object.assign(playing, { from, to });
  source.loopStart = (from - sound.start) / RATE;
  source.loopEnd = (to - sound.start) / RATE;
}

export function setLoop(loop) {
  if (!playing) return;
  if (loop) play(playing.from, playing.to, true, position() ?? playing.from);
  else stop();
}

export function stop() {
  const was = playing;
  playing = null;
  stream.pause();
  if (source) {
    source.onended = null;
    gain.gain.setTargetAtTime(0, engine.currentTime, FADE_SECONDS);
    source.stop(engine.currentTime + 5 * FADE_SECONDS);
    source = null;
  }
  if (was) ended();
}

/** What is heard now, as a sample of the recording; null where nothing is. */
export function position() {
  if (!playing) return null;
  if (!sound.buffer) return sound.start + stream.currentTime * RATE;
  const passed = (engine.currentTime - began) * RATE;
  const length = playing.to - playing.from;
  return playing.from + (playing.loop ? passed % length : Math.min(passed, length));
}
