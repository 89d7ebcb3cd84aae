// Numbers as people read them. Missing and undefined values say so; zero is a number.
const MISSING = "–";

const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];

const known = (value) => typeof value === "number" && Number.isFinite(value);

// Content writes what JSON can't: "nan", "inf", "-inf".
function odd(value) {
  if (value === null || value === undefined) return MISSING;
  if (value === "nan" || Number.isNaN(value)) return "not a number";
  if (value === "inf" || value === Infinity) return "∞";
  if (value === "-inf" || value === -Infinity) return "−∞";
  return String(value);
}

function significant(value, digits = 3) {
  if (!known(value)) return odd(value);
  if (value === 0) return "0";
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)) + 1e-4));
  return value.toLocaleString("en-US", { minimumFractionDigits: Math.min(20, places), maximumFractionDigits: Math.min(20, places) });
}

function engineering(value, unit) {
  if (!known(value)) return odd(value);
  if (value === 0) return "0";
  const [scale, prefix] = PREFIXES.find(([scale]) => Math.abs(value) >= scale * 0.9995) || PREFIXES[PREFIXES.length - 1];
  const text = significant(value / scale);
  return prefix || unit ? text + "\u00a0" + prefix + unit : text;
}

// Round numbers along an axis: no more digits than they have.
function tick(value) {
  if (value === 0) return "0";
  const [scale, prefix] = PREFIXES.find(([scale]) => Math.abs(value) >= scale * 0.9995 && scale >= 1) || [1, ""];
  return String(Number((value / scale).toPrecision(6))) + (prefix ? "\u00a0" + prefix : "");
}

const energy = (pj) => (known(pj) ? engineering(pj * 1e-12, "J") : odd(pj));
const seconds = (s) => engineering(s, "s");
const edp = (value) => (known(value) ? engineering(value, "J·s") : odd(value));

// Counts below a thousand are exact, or have three digits where they are expectations.
function count(value, unit = "") {
  if (!known(value)) return odd(value);
  if (Math.abs(value) >= 1000) return engineering(value, unit);
  return (Number.isInteger(value) ? String(value) : significant(value)) + (unit ? "\u00a0" + unit : "");
}

function bytes(value) {
  if (!known(value)) return odd(value);
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let power = 0;
  while (power < units.length - 1 && Math.abs(value) >= 1024 * 0.9995) { value /= 1024; power += 1; }
  return (power ? significant(value) : count(Math.round(value))) + "\u00a0" + units[power];
}

const exact = (value) => (known(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 2 }) : odd(value));

function percent(part) {
  if (!known(part)) return odd(part);
  const value = part * 100;
  if (value !== 0 && Math.abs(value) < 0.1) return "<\u202f0.1\u202f%";
  if (value < 100 && value >= 99.5) return ">\u202f99\u202f%";
  return (Math.abs(value) < 10 && value !== 0 ? value.toFixed(1) : value.toFixed(0)) + "\u202f%";
}

function ratio(value) {
  if (!known(value)) return odd(value);
  return (value === 0 ? "0" : value < 0.1 ? significant(value, 2) : value < 100 ? value.toFixed(2) : exact(Math.round(value))) + "×";
}

const share = (part, whole) => (known(part) && known(whole) && whole > 0 ? part / whole : null);
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const plural = (n, word) => exact(n) + "\u00a0" + word + (n === 1 ? "" : "s");
