// Memories over the whole network: room, traffic, what sparsity removed, what its metadata cost.
function levelTable() {
  const design = C.designs[state.design];
  const largest = Math.max(1, ...design.levels.map((level) => level.moved).filter(known));
  const meter = (part, over) => known(part) && h("span", { class: "meter" + (over ? " over" : ""), "aria-hidden": "true" }, h("i", { style: { width: Math.min(100, 100 * part) + "%" } }));
  const rows = design.levels.map((level) => {
    const fullest = share(level.peak_words, level.capacity_words);
    const peak = level.peak_layer === null ? null : C.layers[level.peak_layer];
    return h("tr", {},
      h("th", { scope: "row" }, tag(look(design.components[level.component]), level.name)),
      h("td", { class: "num" }, level.capacity_words === null ? h("span", { class: "quiet" }, "unbounded") : count(level.capacity_words)),
      h("td", { class: "num" }, known(fullest) ? percent(fullest) : count(level.peak_words), meter(fullest, fullest > 1)),
      h("td", { class: "quiet" }, peak ? h("button", { type: "button", class: "link", onclick: () => openLayer(level.peak_layer) }, peak.name) : MISSING),
      h("td", { class: "num" }, known(level.mean_share) ? percent(level.mean_share) : MISSING),
      h("td", { class: "num" }, count(level.reads)), h("td", { class: "num" }, count(level.fills)), h("td", { class: "num" }, count(level.updates)),
      h("td", { class: "num" }, count(level.moved), meter(level.moved / largest)),
      h("td", { class: "num" }, energy(design.components[level.component].energy_pj)));
  });
  const heads = [["Level"], ["Capacity, words", 1], ["Fullest", 1], ["in layer"], ["On average", 1], ["Read, words", 1], ["Filled", 1], ["Updated", 1], ["Traffic", 1], ["Energy", 1]];
  fill("levels", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Memories" }, h("table", {},
    h("caption", {}, "Capacity and occupancy of one instance; traffic and energy of all instances over the whole network. The average weighs layers by their cycles."),
    h("thead", {}, h("tr", {}, heads.map(([text, number]) => h("th", { scope: "col", class: number ? "num" : null }, text)))), h("tbody", {}, rows))));
}

// Intermediates that stay on chip from the operator that makes them to the last that reads them.
function keptView() {
  const { kept, name } = C.designs[state.design];
  if (!kept) return fill("kept");
  const title = h("h3", {}, "Intermediates kept on chip");
  if (!kept.tensors.length) return fill("kept", title, h("p", {}, kept.level ? `None fits in ${kept.level} of ${name} beside what the layers need.` : `${name} has no memory that could keep them.`));
  fill("kept", title, h("p", {}, `${kept.level} holds ${plural(kept.tensors.length, "intermediate")}; at most ${bytes(kept.most_bytes)} of its ${bytes(kept.capacity_bytes)} at a time.`),
    h("details", {}, h("summary", {}, "Which, and from when to when"), simpleTable([["Tensor"], ["Size", 1], ["Made by"], ["Last read by"]], kept.tensors.map((t) => [t.names, bytes(t.bytes), t.from, t.to]), "Intermediates kept on chip")));
}

const PARTS = [["d-actual", "done"], ["d-gated", "gated: takes a cycle, little energy"], ["d-skipped", "skipped: takes none"], ["d-eliminated", "never sent: compressed away, or dropped at a level further out"]];

function savingsView() {
  const design = C.designs[state.design], sparse = design.sparse;
  if (!sparse.any) return fill("savings", h("p", {}, design.name + " gates, skips and compresses nothing in this network: every word moves and every multiplication is made."));
  const row = (name, values) => ({ label: name, total: values.reduce((sum, v) => sum + (v || 0), 0), parts: values.map((value, n) => ({ look: PARTS[n][0], label: PARTS[n][1], value })) });
  const normal = (entry) => ({ ...entry, parts: entry.parts.map((part) => ({ ...part, value: share(part.value, entry.total) || 0, true_value: part.value })) });
  const bar = (entry) => h("div", { class: "track", role: "img", "aria-label": entry.label + ": " + entry.parts.map((p) => p.label + " " + percent(share(p.value, entry.total))).join(", ") },
    normal(entry).parts.filter((p) => p.value > 0).map((part) => h("i", { class: part.look, style: { width: 100 * part.value + "%" }, onpointermove: (event) => tip.show(event.clientX, event.clientY, entry.label, [[part.label, percent(part.value)], ["", count(part.true_value)]]), onpointerleave: () => tip.hide() })));
  const c = sparse.compute;
  const entries = [...design.levels.map((level) => row(level.name, [level.moved, level.gated, level.skipped, level.eliminated])).filter((entry) => entry.total > 0), c && row(design.components[design.compute].name, [c.actual, c.gated, c.skipped, c.eliminated])].filter(Boolean);
  const used = PARTS.filter((_, n) => entries.some((entry) => entry.parts[n].value > 0));
  const chart = h("figure", {}, caption("What became of the work", "Words at each memory and multiplications at the arithmetic, as shares of what would be done if nothing were sparse."), legend(used),
    h("div", { class: "bars" }, entries.map((entry) => [h("div", { class: "label" }, entry.label), bar(entry), h("div", { class: "num" }, percent(1 - share(entry.parts[0].value, entry.total)) + " saved")])));
  fill("savings", h("p", {}, savedSentence(design)), chart, savingsTable(design));
}

function savingsTable(design) {
  const { saved } = design;
  const heads = [["Component"], ["Words if dense", 1], ["Moved", 1], ["Gated", 1], ["Skipped", 1], ["Never sent", 1], ["Metadata, bits", 1], saved && ["Energy without sparse features", 1], saved && ["with them", 1], saved && ["saved", 1], ["of it spent on metadata", 1]].filter(Boolean);
  const energies = (c, metadata) => [saved && energy(saved.dense_energy[c]), saved && energy(saved.energy[c]), saved && gain(saved.dense_energy[c], saved.energy[c]), metadata === null ? MISSING : energy(metadata)].filter((cell) => cell !== null);
  const rows = design.levels.map((level) => [tag(look(design.components[level.component]), level.name), ...["dense", "moved", "gated", "skipped", "eliminated", "metadata_bits"].map((key) => count(level[key])), ...energies(level.component, level.metadata_pj)]);
  const compute = design.sparse.compute, c = design.compute;
  if (compute && c >= 0) rows.push([tag(look(design.components[c]), design.components[c].name), ...["algorithmic", "actual", "gated", "skipped", "eliminated"].map((key) => count(compute[key])), MISSING, ...energies(c, null)]);
  return simpleTable(heads, rows, "What sparsity saves and costs at each component");
}

function gain(before, after) {
  if (!(before > 0) || !known(after)) return MISSING;
  const part = 1 - after / before;
  return h("span", { class: part > 0.0005 ? "better" : part < -0.0005 ? "worse" : "quiet" }, part < 0 ? "\u2212" + percent(-part) : percent(part));
}

function savedSentence(design) {
  const { compute, metadata_pj: pj } = design.sparse, { saved } = design, said = [];
  if (saved && known(saved.speedup)) said.push(`The same mappings on the same hardware without its sparse features take ${ratio(saved.speedup)} the cycles and ${ratio(saved.energy_ratio)} the energy${saved.misfits ? ` (in ${plural(saved.misfits, "layer")} their dense tiles would not even fit)` : ""}.`);
  if (compute && compute.algorithmic > 0) said.push(`Of ${count(compute.algorithmic)} multiplications, ${percent(compute.actual / compute.algorithmic)} are made.`);
  said.push(`Metadata costs ${energy(pj)}, ${percent(share(pj, design.energy_pj))} of all energy.`);
  return said.join(" ");
}
