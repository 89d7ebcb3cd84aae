// Places on a chart: how wide it is, logarithmic and linear axes; hues of series.
const widthOf = (id) => Math.max(300, Math.min(at(id).clientWidth || 1100, 1600));

function logScale(low, high, start, end) {
  const a = Math.log10(low), b = Math.log10(high);
  const scale = (v) => start + ((Math.log10(v) - a) / (b - a || 1)) * (end - start);
  scale.back = (p) => 10 ** (a + ((p - start) / (end - start)) * (b - a));
  scale.low = low; scale.high = high;
  return scale;
}

function logTicks(scale) {
  const ticks = [], decades = Math.log10(scale.high / scale.low);
  for (let e = Math.floor(Math.log10(scale.low)); e <= Math.ceil(Math.log10(scale.high)); e += 1) for (const m of decades > 2.2 ? [1] : [1, 2, 5]) ticks.push(m * 10 ** e);
  return ticks.filter((v) => v >= scale.low * 0.999 && v <= scale.high * 1.001);
}

function linearScale(low, high, start, end) {
  const scale = (v) => start + ((v - low) / (high - low || 1)) * (end - start);
  scale.low = low; scale.high = high;
  return scale;
}

function linearTicks(scale) {
  const span = scale.high - scale.low, step = [1, 2, 2.5, 5, 10].map((m) => m * 10 ** Math.floor(Math.log10(span / 5))).find((v) => span / v <= 6) || span;
  const ticks = [];
  for (let v = Math.ceil(scale.low / step) * step; v <= scale.high + step * 1e-9; v += step) ticks.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return ticks;
}

// Logarithmic where all values are positive, with room at both ends.
const axisScale = (values, start, end) => {
  const low = Math.min(...values), high = Math.max(...values), span = high - low || Math.abs(high) || 1;
  if (low > 0 && high / low > 1.05) { const room = Math.max(1.05, (high / low) ** 0.05); return Object.assign(logScale(low / room, high * room, start, end), { log: true }); }
  return Object.assign(linearScale(low >= 0 ? Math.max(0, low - span * 0.06) : low - span * 0.06, high + span * 0.08, start, end), { log: false });
};
const ticksOf = (scale) => { const fine = scale.log ? logTicks(scale) : []; return fine.length > 1 ? fine : linearTicks(scale); };
// Ticks whose names would run into each other are left out.
const spaced = (ticks, scale, room) => ticks.filter((v, i) => { const every = Math.max(1, Math.ceil((room * (ticks.length - 1)) / Math.abs(scale(ticks[ticks.length - 1]) - scale(ticks[0]) || 1))); return i % every === 0; });

// Series are told apart by colour: five hues, then lighter and darker ones.
const HUES = ["k-memory", "k-buffer", "k-register", "k-compute", "k-network"];
const hue = (d) => HUES[d % HUES.length] + (d >= HUES.length ? " v-" + Math.min(3, 1 + Math.floor(d / HUES.length)) : "");
