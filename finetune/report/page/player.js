// Plays several takes in time with each other: all of them run at once, and one is let through.

const PAGE = JSON.parse(document.getElementById("data").textContent);

const player = (() => {
  const RATE = 44100;
  const FADE_SECONDS = 0.006;
  const AHEAD_SECONDS = 0.03; // all sources start at this very moment
  const decoded = new Map(); // sound → promise of its AudioBuffer
  let engine = null;
  let meter = null;
  let session = null;
  let asked = 0;
  let matched = true;

  function start() {
    engine ??= new AudioContext({ sampleRate: RATE });
    if (!meter) {
      meter = engine.createAnalyser();
      meter.connect(engine.destination);
    }
    return engine.resume();
  }

  function decode(name) {
    if (!decoded.has(name)) {
      const bytes = Uint8Array.from(atob(PAGE.sounds[name].audio), (each) => each.charCodeAt(0));
      decoded.set(name, new OfflineAudioContext(2, 1, RATE).decodeAudioData(bytes.buffer));
    }
    return decoded.get(name);
  }

  /** The stretch of a take that plays, `seconds` long, silent after its end. */
  function stretch(whole, begins, seconds) {
    const length = Math.max(1, Math.round(seconds * RATE));
    const part = engine.createBuffer(whole.numberOfChannels, length, RATE);
    const first = Math.round(begins * RATE);
    for (let channel = 0; channel < whole.numberOfChannels; channel += 1) {
      part.copyToChannel(whole.getChannelData(channel).subarray(first, first + length), channel);
    }
    return part;
  }

  const gainOf = (take) => (matched ? 10 ** (PAGE.sounds[take.sound].gain / 20) : 1);

  /** `takes`: [{sound, begins}], `seconds` how long; `ended` is called when it ends by itself. */
  async function play({ takes, seconds, chosen, at, loop, ended }) {
    stop();
    asked += 1;
    const mine = asked;
    for (const name of decoded.keys()) if (!takes.some((take) => take.sound === name)) decoded.delete(name);
    const [, ...wholes] = await Promise.all([start(), ...takes.map((take) => decode(take.sound))]);
    if (mine !== asked) return false;
    const when = engine.currentTime + AHEAD_SECONDS;
    const voices = takes.map((take, index) => {
      const source = engine.createBufferSource();
      const gain = engine.createGain();
      source.buffer = stretch(wholes[index], take.begins, seconds);
      source.loop = loop;
      gain.gain.value = index === chosen ? gainOf(take) : 0;
      source.connect(gain).connect(meter);
      source.start(when, at);
      return { take, source, gain };
    });
    session = { voices, seconds, chosen, loop, began: when - at };
    const current = session;
    voices[0].source.onended = () => {
      if (session !== current) return;
      session = null;
      ended();
    };
    return true;
  }

  function level(voice, value) {
    voice.gain.gain.cancelScheduledValues(engine.currentTime);
    voice.gain.gain.setTargetAtTime(value, engine.currentTime, FADE_SECONDS / 3);
  }

  /** Let another take through; the place in time stays. */
  function choose(index) {
    if (!session) return;
    session.chosen = index;
    session.voices.forEach((voice, at) => level(voice, at === index ? gainOf(voice.take) : 0));
  }

  function position() {
    if (!session) return 0;
    const passed = Math.max(0, engine.currentTime - session.began);
    return session.loop ? passed % session.seconds : Math.min(passed, session.seconds);
  }

  function stop() {
    asked += 1;
    const ending = session;
    session = null;
    for (const voice of ending?.voices ?? []) {
      level(voice, 0);
      voice.source.stop(engine.currentTime + FADE_SECONDS * 2);
    }
  }

  function match(wanted) {
    matched = wanted;
    if (session) choose(session.chosen);
  }

  /** Root mean square of what comes out at this moment. */
  function loudness() {
    if (!meter) return 0;
    const samples = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length);
  }

  return { play, choose, position, stop, match, loudness, decode, playing: () => session !== null };
})();
