// Places in a tensor's row of numbers.
const T = { name: 0, tile: 1, occupied: 2, moved: 3, gated: 4, skipped: 5, dense: 6, metadata: 7, pj: 8, metadata_pj: 9 };

// What a layer's row opens: the computation, all designs on it, the loop nest, its memories.
function detailRow(item, width) {
  return h("tr", { class: "detail", id: "detail-" + (item.i + 1) }, h("td", { colspan: String(width) }, detailOf(item)));
}

function detailOf(item) {
  const { layer, answer } = item, design = C.designs[state.design];
  const left = [h("h3", {}, "Computation"), computation(layer), C.designs.length > 1 && [h("h3", {}, "On every design"), designsOnLayer(layer)], answer && answer.levels.length > 0 && [h("h3", {}, "Memories of " + design.name), levelsOfLayer(answer, design)]];
  const right = [h("h3", {}, "Mapping", h("span", { class: "on" }, " on " + design.name)), mappingOf(layer, answer)];
  return h("div", { class: "inner" },
    h("div", { class: "columns" }, h("div", {}, left), h("div", {}, right)), answer && answer.levels.length > 0 && [h("h3", {}, "Tensors in each memory"), tensorsOfLayer(answer, design)]);
}

// On paper the open layers follow the table, which then runs on without gaps.
function openedOnPaper() {
  const items = itemsOfTable().filter((item) => state.open.has(item.i));
  fill("opened", items.map((item) => [h("h3", {}, `${item.i + 1}. ${item.layer.name}`), h("div", { class: "detail" }, detailOf(item))]));
}

const simpleTable = (heads, rows, label) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", {},
  h("thead", {}, h("tr", {}, heads.map(([text, number]) => h("th", { scope: "col", class: number ? "num" : null }, text)))),
  h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, c) => (c ? h("td", { class: heads[c][1] ? "num" : null }, cell) : h("th", { scope: "row" }, cell))))))));

function computation(layer) {
  const facts = [];
  if (layer.tensors.length) facts.push(h("ul", { class: "note" }, layer.tensors.map((text) => h("li", {}, text))));
  if (layer.others.length) facts.push(h("p", { class: "note" }, "The same computation: " + layer.others.slice(0, 8).join(", ") + (layer.others.length > 8 ? ` and ${layer.others.length - 8} more` : "") + "."));
  if (layer.count !== 1) facts.push(h("p", { class: "note" }, `Computed ${layer.count} times; the numbers here are of one, those in the table above of all.`));
  if (layer.note) facts.push(h("p", { class: "note" }, layer.note));
  return [h("p", { class: "einsum" }, layer.einsum || layer.op), layer.einsum && layer.shape && h("p", { class: "note" }, layer.shape), facts];
}

function designsOnLayer(layer) {
  const base = answerOf(layer, state.baseline);
  return simpleTable([["Design"], ["Cycles", 1], ["Energy", 1], ["EDP better", 1], ["Set by"], ["Mapping"]], C.designs.map((design, d) => {
    const answer = answerOf(layer, d);
    if (!answer) return [design.name, MISSING, MISSING, MISSING, layer.failures[d] || "not evaluated", ""];
    const better = base && answer.edp > 0 && base.edp > 0 ? base.edp / answer.edp : null;
    return [design.name, count(answer.cycles), energy(answer.energy_pj), d === state.baseline ? "1" : versus(better), answer.bound >= 0 ? tag(look(design.components[answer.bound]), design.components[answer.bound].name) : answer.bottleneck || MISSING, proofOf(answer)];
  }), "Designs on this layer");
}

function mappingOf(layer, answer) {
  if (!answer) return h("p", { class: "muted" }, layer.failures[state.design] || "This layer was not evaluated on this design.");
  const notes = answer.notes.map((n) => C.texts[n]);
  const { certificate } = answer;
  const proved = certificate && (certificate.status === "optimal" ? "Proved: no mapping of the map space has a lower " + objective(certificate.objective) + "."
    : certificate.status === "bound" ? `Not proved: the best mapping may be up to ${percent(certificate.gap)} lower in ${objective(certificate.objective)}.` : "This mapper proves nothing about how good its mapping is.");
  const saved = answer.saved && `Without the design's sparse features the same mapping takes ${ratio(answer.saved[0])} the cycles and ${ratio(answer.saved[1])} the energy${answer.saved[2] ? "" : " (its tiles would not fit the memories)"}.`;
  return [proved && h("p", { class: "note" }, proved), saved && h("p", { class: "note" }, saved), answer.mapped_as && h("p", { class: "note" }, "Mapped as ", h("code", {}, answer.mapped_as)), answer.nest === null ? h("p", { class: "muted" }, "There is no loop nest for this operator.") : h("pre", { tabindex: "0", "aria-label": "Loop nest" }, C.texts[answer.nest]),
    notes.length > 0 && h("ul", { class: "note" }, notes.map((text) => h("li", {}, sentence(text))))];
}

const objective = (name) => ({ edp: "EDP", energy: "energy", cycles: "number of cycles" }[String(name).toLowerCase()] || name || "objective");

function levelsOfLayer(answer, design) {
  return simpleTable([["Level"], ["In use", 1], ["Traffic, words", 1], ["Energy", 1]], answer.levels.map((level, l) => {
    const own = design.levels[l], part = share(level.used, own.capacity_words);
    return [own.name, [count(level.used), own.capacity_words === null ? "" : [" ", h("span", { class: "quiet" }, percent(part))]], count(level.tensors.reduce((sum, t) => sum + t[T.moved], 0)), energy(answer.energy[own.component])];
  }).concat([[h("span", {}, design.components[design.compute].name), "", h("span", { class: "quiet" }, MISSING), energy(answer.energy[design.compute])]]), "Memories");
}

function tensorsOfLayer(answer, design) {
  const rows = answer.levels.flatMap((level, l) => level.tensors.map((t, n) => [n ? "" : design.levels[l].name, t[T.name], ...["tile", "occupied", "dense", "moved", "gated", "skipped", "metadata"].map((key) => count(t[T[key]])), energy(t[T.pj]), energy(t[T.metadata_pj])]));
  return simpleTable([["Level"], ["Tensor"], ["Tile, words", 1], ["Room given", 1], ["Words if dense", 1], ["Moved", 1], ["Gated", 1], ["Skipped", 1], ["Metadata, bits", 1], ["Energy", 1], ["of it metadata", 1]], rows, "Tensors in each memory");
}
