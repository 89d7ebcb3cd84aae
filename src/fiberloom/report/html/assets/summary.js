// The answer: designs side by side.
const KINDS = { memory: "Off-chip memory", buffer: "On-chip buffers", register: "Register files", compute: "Arithmetic", network: "Wires and networks" };
const look = (component) => "k-" + component.kind + (component.variant > 1 ? " v-" + Math.min(3, component.variant) : "");

function summaryFacts() {
  fill("facts", C.network.facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
  fill("remarks", C.remarks.map((text) => h("li", {}, text)));
}

// Several cases (batches, densities): one row each, one column per design, of a quantity that can be chosen.
const METRICS = {
  edp: ["EDP", (entry, d) => edp(entry.designs[d].edp)], energy: ["Energy", (entry, d) => energy(entry.designs[d].energy_pj)], seconds: ["Time", (entry, d) => (known(entry.designs[d].seconds) ? seconds(entry.designs[d].seconds) : count(entry.designs[d].cycles))],
  ratio: ["EDP better than the compared design, geomean of layers", (entry, d) => (d === baseOf(entry) ? "1" : versus((entry.geomean[baseOf(entry)] || [])[d]))],
  speedup: ["Cycles without the design's sparse features over cycles with them", (entry, d) => (entry.designs[d].saved ? ratio(entry.designs[d].saved.speedup) : MISSING)],
};
const baseOf = (entry) => entry.designs.findIndex((design) => design.name === C.designs[state.baseline].name);

function caseTable() {
  if (DATA.cases.length < 2) return;
  const names = [...new Set(DATA.cases.flatMap((entry) => entry.designs.map((design) => design.name)))];
  const chooser = h("select", { id: "metric", onchange: (event) => { state.metric = event.target.value; caseTable(); at("metric").focus(); } }, Object.entries(METRICS).map(([key, [title]]) => h("option", { value: key }, title)));
  chooser.value = state.metric;
  const cell = (entry, name) => { const d = entry.designs.findIndex((design) => design.name === name); return h("td", { class: "num" }, d < 0 ? MISSING : METRICS[state.metric][1](entry, d)); };
  fill("cases", h("figcaption", {}, h("strong", {}, "Cases "), chooser), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cases" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Case"), names.map((name) => h("th", { scope: "col", class: "num" }, name)))),
    h("tbody", {}, DATA.cases.map((entry, i) => h("tr", { class: i === state.case ? "chosen" : null }, h("th", { scope: "row" }, h("button", { type: "button", class: "link", "aria-pressed": String(i === state.case), onclick: () => chooseCase(i) }, entry.name)), names.map((name) => cell(entry, name))))))));
}

function versus(value) {
  if (!known(value)) return odd(value);
  return h("span", { class: value > 1.005 ? "better" : value < 0.995 ? "worse" : "quiet" }, ratio(value));
}

function designTable() {
  const several = C.designs.length > 1;
  const best = (key) => Math.min(...C.designs.map((d) => d[key]).filter(known));
  const cell = (design, key, format) => h("td", { class: "num" }, known(design[key]) && design[key] === best(key) && several ? h("strong", {}, format(design[key])) : format(design[key]));
  const base = C.designs[state.baseline];
  const rows = C.designs.map((design, i) => h("tr", { class: several && i === state.design ? "chosen" : null },
    h("th", { scope: "row" }, several ? h("button", { type: "button", class: "link", "aria-pressed": String(i === state.design), onclick: () => choose(i) }, design.name) : design.name),
    cell(design, "cycles", (v) => count(v)),
    cell(design, "seconds", seconds),
    cell(design, "energy_pj", energy),
    cell(design, "edp", edp),
    several && h("td", { class: "num" }, i === state.baseline ? h("span", { class: "quiet" }, "1 (reference)") : versus(C.geomean[state.baseline][i])),
    h("td", { class: "num" }, percent(design.utilization)),
    h("td", { class: "num" }, known(design.area_um2) && design.area_um2 > 0 ? significant(design.area_um2 * 1e-6) + "\u00a0mm²" : h("span", { class: "quiet" }, MISSING)),
    h("td", {}, bottleneck(design)),
    h("td", { class: "words" }, proof(design))));
  const heads = [["Design"], ["Cycles", 1], ["Time", 1], ["Energy", 1], ["EDP", 1], several && ["EDP better than " + base.name + ", geomean of layers", 1], ["Utilisation", 1], ["Area", 1], ["Most cycles are set by"], ["Mappings"]];
  fill("designs", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Designs" }, h("table", {},
    h("caption", {}, several ? "Totals of the network" + (DATA.cases.length > 1 ? ", " + C.name : "") + ", by design. Bold: the least. Choose a design to see its layers below." : "Totals of the network" + (DATA.cases.length > 1 ? ", " + C.name : "") + "."),
    h("thead", {}, h("tr", {}, heads.filter(Boolean).map(([text, number]) => h("th", { scope: "col", class: number ? "num" : null }, text)))),
    h("tbody", {}, rows))));
}

function bottleneck(design) {
  const most = design.components.map((c) => c.bound_cycles).reduce((best, v, i, all) => (v > (all[best] || 0) ? i : best), -1);
  if (most < 0) return MISSING;
  const component = design.components[most];
  return [tag(look(component), component.name), " ", h("span", { class: "quiet" }, percent(share(component.bound_cycles, design.bound_cycles)))];
}

function proof(design) {
  const { proved, bounded, unproved, unmapped, worst_gap } = design.certificates;
  const mapped = proved + bounded + unproved;
  const parts = [];
  if (mapped && proved === mapped) parts.push("all " + mapped + " proved optimal");
  else if (proved) parts.push(proved + " of " + mapped + " proved optimal");
  if (bounded) parts.push(bounded + " not proved (gap up to " + percent(worst_gap) + ")");
  if (unproved) parts.push(unproved + " without proof");
  if (unmapped) parts.push(h("span", { class: "worse" }, unmapped + " not mapped"));
  return parts.flatMap((part, i) => (i ? ["; ", part] : [part]));
}

// Horizontal bars: one row per design, parts by kind of component.
function barRows(rows, format) {
  const largest = Math.max(...rows.map((row) => row.total).filter(known), 0);
  return h("div", { class: "bars" }, rows.map((row) => [
    h("div", { class: "label" }, row.label),
    h("div", { class: "track", role: "img", "aria-label": row.label + ": " + row.parts.map((p) => p.label + " " + format(p.value)).join(", ") },
      row.parts.filter((p) => p.value > 0).map((part) => h("i", {
        class: part.look, style: { width: (100 * part.value) / (largest || 1) + "%" },
        onpointermove: (event) => tip.show(event.clientX, event.clientY, row.label, [[part.label, format(part.value)], ["share", percent(share(part.value, row.total))]]),
        onpointerleave: () => tip.hide(),
      }))),
    h("div", { class: "num" }, format(row.total))]));
}

function byKind(design, key) {
  const sums = {};
  for (const component of design.components) {
    const entry = (sums[component.kind] ||= { value: 0, names: [] });
    entry.value += component[key] || 0;
    if (component[key] > 0) entry.names.push(component.name);
  }
  return Object.keys(KINDS).filter((kind) => sums[kind] && sums[kind].value > 0).map((kind) => ({ look: "k-" + kind, label: KINDS[kind] + " (" + sums[kind].names.join(", ") + ")", value: sums[kind].value, kind }));
}

function designBars() {
  const draw = (id, title, text, key, total, format) => {
    const rows = C.designs.map((design) => ({ label: design.name, parts: byKind(design, key), total: design[total] }));
    const used = Object.keys(KINDS).filter((kind) => rows.some((row) => row.parts.some((part) => part.kind === kind)));
    fill(id, caption(title, text), legend(used.map((kind) => ["k-" + kind, KINDS[kind]])), barRows(rows, format));
  };
  draw("energy-by-design", "Energy by component", "All layers together.", "energy_pj", "energy_pj", energy);
  draw("cycles-by-design", "Cycles by what sets them", "The cycles of each layer belong to the component that takes longest in it.", "bound_cycles", "bound_cycles", (v) => count(v));
}
