// Places on a chart: how wide it is, logarithmic and linear axes.
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
