// The report of representations on designs: points, what they store and spend, and the layers of one.
const DATA = JSON.parse(at("content").textContent);
const ROWS = 200; // of the table of layers at first
const state = { point: Math.max(0, DATA.best), sort: { key: "order", direction: 1 }, layerSort: { key: "order", direction: 1 }, rows: ROWS, paper: false };
const error = (v) => (v === 0 ? "0" : known(v) && v < 1e-4 ? v.toExponential(1) : significant(v));
const share1 = (v) => (known(v) ? (v * 100).toFixed(1) + "\u202f%" : odd(v));
const hasQuality = DATA.quality.name !== "output error";

function pointColumns() {
  const several = DATA.designs.length > 1, cost = DATA.designs.length > 0, stays = DATA.points.some((p) => p.original_density < 1), apart = DATA.points.some((p) => Math.abs(p.relative_error - p.output_error) > 0.005 * p.output_error);
  return [
    { key: "order", title: "#", value: (p, i) => i, show: (p, i) => i + 1, number: true, first: 1 },
    { key: "scheme", title: "Representation", value: (p) => p.scheme.toLowerCase(), show: (p, i) => h("button", { type: "button", class: "link", "aria-pressed": String(i === state.point), onclick: () => showPoint(i) }, p.scheme), head: true, first: 1 },
    several && { key: "design", title: "Design", value: (p) => p.design, show: (p) => tag(hue(designOf(p)), p.design), first: 1 },
    hasQuality && { key: "quality", title: DATA.quality.name, value: (p) => p.quality, show: (p) => significant(p.quality, 4), number: true },
    { key: "output_error", title: "Output error", value: (p) => p.output_error, show: (p) => error(p.output_error), number: true, first: 1 },
    apart && { key: "relative_error", title: "Weight error", value: (p) => p.relative_error, show: (p) => error(p.relative_error), number: true, first: 1 },
    { key: "dropped", title: "Dropped", value: (p) => p.dropped_nonzeros, show: (p) => share1(p.dropped_nonzeros), number: true, first: 1 },
    stays && { key: "density", title: "Density", value: (p) => p.density, show: (p) => share1(p.density), number: true, first: 1 },
    { key: "bits", title: "Bits per weight", value: (p) => p.bits_per_weight, show: (p) => significant(p.bits_per_weight), number: true, first: 1 },
    { key: "ideal", title: "Ideal", value: (p) => p.throughput.ideal, show: (p) => ratio(p.throughput.ideal), number: true },
    cost && { key: "menu", title: "Menu", value: (p) => p.throughput.menu, show: (p) => ratio(p.throughput.menu), number: true },
    cost && { key: "cycles", title: "Cycles", value: (p) => p.cycles, show: (p) => count(p.cycles), number: true, first: 1 },
    cost && { key: "energy", title: "Energy", value: (p) => p.energy_pj, show: (p) => energy(p.energy_pj), number: true, first: 1 },
    cost && { key: "edp", title: "EDP", value: (p) => p.edp_j_s, show: (p) => edp(p.edp_j_s), number: true, first: 1 },
    cost && { key: "versus", title: "Against dense", value: (p) => p.versus_dense && p.versus_dense.edp, show: (p) => versusDense(p), number: true },
    cost && { key: "front", title: "Front", value: (p) => (p.refused ? 2 : p.on_front ? 0 : 1), show: standing, first: 1 },
  ].filter(Boolean);
}

function versusDense(point) {
  const v = point.versus_dense && point.versus_dense.edp;
  return known(v) ? h("span", { class: v > 1.005 ? "better" : v < 0.995 ? "worse" : "quiet" }, ratio(v)) : MISSING;
}

function standing(point) {
  if (point.refused) return h("span", { class: "worse" }, "can't\u00a0run");
  if (point.on_front) return h("span", { class: "better" }, "✓");
  return known(point.dominated_by) ? h("span", { class: "quiet", title: "beaten by " + nameOf(DATA.points[point.dominated_by]) }, "by\u00a0" + (point.dominated_by + 1)) : MISSING;
}

function pointTable() {
  const gone = (point) => (known(point.dominated_by) || point.refused ? " quiet" : "");
  const text = "Choose a representation to see its layers below. Ideal and menu: multiples of dense throughput when everything left out is skipped, and as the design can run it. Against dense: how many times less EDP than the dense model on the same design. Front: ✓ where no other point is better in both quality and EDP, else the number of one that is.";
  sortableTable("point-table", DATA.points, pointColumns(), state.sort, pointTable, text, (point, i) => "row" + (i === state.point ? " chosen" : "") + gone(point));
}

// Why points have no cost, the same reason once.
function refusals() {
  const said = new Map();
  for (const point of DATA.points) if (point.refused) { const key = point.refused + (point.hint ? " – " + point.hint : ""); said.set(key, [...(said.get(key) || []), nameOf(point)]); }
  fill("refused", said.size > 0 && h("h3", {}, "Not on these designs"), said.size > 0 && h("ul", {}, [...said].map(([reason, names]) => h("li", {}, h("strong", {}, names.join(", ")), ": " + reason))));
}

function layerColumns(layers) {
  const cost = layers.some((layer) => known(layer.cycles));
  return [
    { key: "order", title: "#", value: (l, i) => i, show: (l, i) => i + 1, number: true, first: 1 },
    { key: "name", title: "Layer", value: (l) => l.name.toLowerCase(), show: (l) => [l.name, h("span", { class: "shape" }, `${l.shape[0]} × ${l.shape[1]}` + (l.count > 1 ? `, ${exact(l.count)} times` : ""))], name: true, first: 1 },
    { key: "output_error", title: "Output error", value: (l) => l.output_error, show: (l) => error(l.output_error), number: true },
    { key: "relative_error", title: "Weight error", value: (l) => l.relative_error, show: (l) => error(l.relative_error), number: true },
    { key: "dropped", title: "Non-zeros dropped", value: (l) => l.dropped_nonzeros, show: (l) => share1(l.dropped_nonzeros), number: true },
    { key: "density", title: "Density", value: (l) => l.density, show: (l) => share1(l.density), number: true },
    { key: "bits", title: "Bits per weight", value: (l) => l.bits_per_weight, show: (l) => significant(l.bits_per_weight), number: true },
    cost && { key: "cycles", title: "Cycles", value: (l) => l.cycles, show: (l) => count(l.cycles), number: true },
    cost && { key: "energy", title: "Energy", value: (l) => l.energy_pj, show: (l) => energy(l.energy_pj), number: true },
    cost && { key: "edp", title: "EDP", value: (l) => l.edp_j_s, show: (l) => edp(l.edp_j_s), number: true },
    cost && { key: "runs", title: "Runs as", value: (l) => (l.runs_as || []).join(" + "), show: (l) => (l.runs_as || []).join(" + ") || MISSING, first: 1 },
    cost && { key: "bound", title: "Cycles set by", value: (l) => l.bottleneck || "", show: (l) => l.bottleneck || MISSING, first: 1 },
    cost && { key: "proof", title: "Mapping", value: (l) => (l.certificate ? (l.certificate.status === "optimal" ? 0 : 1 + l.certificate.gap) : null), show: proofOf, first: 1 },
  ].filter(Boolean);
}

function proofOf(layer) {
  if (!layer.certificate) return MISSING;
  if (layer.certificate.status === "optimal") return h("span", { class: "better" }, "✓\u00a0proved");
  return known(layer.certificate.gap) && layer.certificate.status === "bound" ? h("span", { class: "worse" }, "gap\u00a0" + percent(layer.certificate.gap)) : h("span", { class: "quiet" }, "no proof");
}

function layerTable() {
  const point = DATA.points[state.point], layers = point.layers;
  for (const place of document.querySelectorAll("h2 .on")) place.textContent = "under " + nameOf(point);
  sortableTable("layer-table", layers, layerColumns(layers), state.layerSort, layerTable, "Costs are those of all products with a layer's weights.", () => "row");
}

// Stacked bars: one row per representation.
function barRows(rows, format) {
  const largest = Math.max(...rows.map((row) => row.total).filter(known), 0);
  return h("div", { class: "bars" }, rows.map((row) => [
    h("div", { class: "label" }, row.label),
    h("div", { class: "track", role: "img", "aria-label": row.label + ": " + row.parts.map((p) => p.label + " " + format(p.value)).join(", ") },
      row.parts.filter((p) => p.value > 0).map((part) => h("i", { class: part.look, style: { width: (100 * part.value) / (largest || 1) + "%" },
        onpointermove: (event) => tip.show(event.clientX, event.clientY, row.label, [[part.label, format(part.value)], ["share", percent(share(part.value, row.total))]]), onpointerleave: () => tip.hide() }))),
    h("div", { class: "num" }, format(row.total))]));
}

const BITS = [["values", "values", "k-memory"], ["scales", "scales", "k-buffer"], ["metadata", "where they are", "k-register"]];

function bitBars() {
  const seen = new Map(DATA.points.map((point) => [point.scheme, point]));
  const rows = [...seen.values()].map((point) => {
    const size = point.layers.reduce((sum, layer) => sum + layer.shape[0] * layer.shape[1], 0);
    const mean = (key) => point.layers.reduce((sum, layer) => sum + layer.bits[key] * layer.shape[0] * layer.shape[1], 0) / size;
    return { label: point.scheme, total: point.bits_per_weight, parts: BITS.map(([key, label, look]) => ({ look, label, value: mean(key) })) };
  });
  fill("bits-by-scheme", caption("Bits per weight", "Values without a number format count 16 bits. Where values are is stored in the smallest of the plain formats."), legend(BITS.map(([, label, look]) => [look, label])), barRows(rows, (v) => significant(v)));
}

function energyBars() {
  const points = DATA.points.filter((point) => point.energy_by_component_pj);
  if (!points.length) return fill("energy-by-point", caption("Energy", "Without a design nothing is spent."));
  const design = points.some((p) => p.design === DATA.points[state.point].design) ? DATA.points[state.point].design : points[0].design;
  const mine = points.filter((point) => point.design === design), names = [...new Set(mine.flatMap((point) => Object.keys(point.energy_by_component_pj)))];
  const rows = mine.map((point) => ({ label: point.scheme, total: point.energy_pj, parts: names.map((name, k) => ({ look: hue(k), label: name, value: point.energy_by_component_pj[name] || 0 })) }));
  const dense = DATA.designs[designOf(mine[0])].dense;
  if (dense && mine.every((point) => point.scheme !== "dense")) rows.unshift({ label: "dense", total: dense.energy_pj, parts: names.map((name, k) => ({ look: hue(k), label: name, value: dense.energy_by_component_pj[name] || 0 })) });
  fill("energy-by-point", caption("Energy by component, on " + design, "All products of the network."), legend(names.map((name, k) => [hue(k), name])), barRows(rows, energy));
}

function provenance() {
  const left = DATA.left_out.map(([reason, names]) => h("li", {}, `${names.slice(0, 6).join(", ")}${names.length > 6 ? ` and ${names.length - 6} more` : ""}: ${reason}`));
  fill("provenance", DATA.designs.map((design) => [h("h3", {}, `${design.name}: ${design.title}`), h("dl", { class: "facts wide" },
    [["Area", known(design.area_um2) ? significant(design.area_um2 * 1e-6) + "\u00a0mm²" : MISSING], ["Clock", engineering(1 / design.cycle_seconds, "Hz")], ["Patterns of weights that it runs", design.weights.join(", ")], ["Number formats", Object.keys(design.formats).join(", ")]].map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))),
    h("ul", {}, design.sources.map((source) => h("li", {}, source)))]), left.length > 0 && [h("h3", {}, "Weights that stay as they are"), h("ul", {}, left)]);
}

function showPoint(i) {
  state.point = i;
  state.rows = ROWS;
  at("point").value = String(i);
  pointTable();
  energyBars();
  layerTable();
}

function onPaper(paper) {
  state.paper = paper;
  pointTable();
  layerTable();
  frontChart();
}

fill("facts", DATA.facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
fill("remarks", DATA.notes.map((text) => h("li", {}, text)));
fill("point", DATA.points.map((point, i) => h("option", { value: String(i) }, nameOf(point))));
at("point").onchange = (event) => showPoint(Number(event.target.value));
frontChart();
bitBars();
refusals();
provenance();
showPoint(state.point);
frame(frontChart, onPaper);
