// What is in the totals, what is not, and who says so.
function coverage() {
  const parts = [];
  if (C.omitted.length) {
    parts.push(h("p", { class: "remark" }, C.omitted_sentence));
    parts.push(simpleTable([["Operator"], ["What it is"], ["Times", 1], ["Share of bytes moved", 1], ["Why it is left out"]], C.omitted.map((o) => [o.name, o.op, exact(o.count), percent(o.share), o.why || MISSING]), "Operators left out"));
  } else parts.push(h("p", {}, "Every operator of the network is understood; none is left out of the totals."));
  if (C.kinds.length) {
    parts.push(h("h3", {}, "Operators by kind"));
    const design = C.designs[state.design], d = state.design;
    const heads = [["Kind"], ["Operators", 1], ["Operations", 1], ["Cycles on " + design.name, 1], ["of all", 1], ["Energy", 1], ["of all", 1], ["How it is counted"]];
    parts.push(simpleTable(heads, C.kinds.map((k) => [NAMES[k.kind] || sentence(k.kind), exact(k.operators), count(k.work), count(k.cycles[d]), percent(share(k.cycles[d], design.cycles)), energy(k.energy[d]), percent(share(k.energy[d], design.energy_pj)), COUNTED[k.kind] || COUNTED.other]), "Operators by kind"));
  }
  if (C.failures.length) {
    parts.push(h("h3", {}, "Layers without a mapping"));
    parts.push(simpleTable([["Layer"], ["Design"], ["Why"]], C.failures.map((f) => [h("button", { type: "button", class: "link", onclick: () => openLayer(f.layer) }, C.layers[f.layer].name), C.designs[f.design].name, f.why]), "Layers without a mapping"));
  }
  if (C.network.notes.length) parts.push(h("h3", {}, "Notes on the network"), h("ul", {}, C.network.notes.map((text) => h("li", {}, sentence(text)))));
  fill("operators", parts);
}

function provenance() {
  const design = C.designs[state.design];
  const rows = design.components.map((component) => [tag(look(component), component.name), KINDS[component.kind], energy(component.energy_pj), component.source || h("span", { class: "worse" }, "not stated")]);
  const parts = [simpleTable([["Component"], ["Kind"], ["Energy", 1], ["Where its energy and area come from"]], rows, "Sources of energies")];
  if (design.notes.length) parts.push(h("h3", {}, "What to know about " + design.name), h("ul", {}, design.notes.map((w) => h("li", {}, sentence(w.text), w.layers > 1 ? h("span", { class: "quiet" }, ` (${w.layers} layers)`) : null))));
  const origin = [design.title, design.paper, design.technology && "technology: " + design.technology, ...design.sources].filter(Boolean);
  if (origin.length) parts.push(h("h3", {}, "The design " + design.name), h("ul", {}, origin.map((text) => h("li", {}, text))));
  parts.push(h("h3", {}, "How the numbers are made"), h("dl", { class: "facts wide" }, C.run.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))));
  parts.push(h("ul", { class: "note" }, TERMS.map(([term, text]) => h("li", {}, h("b", {}, term), ": ", text))));
  fill("provenance", parts);
}

const NAMES = { einsum: "Einsum", elementwise: "Element-wise", lookup: "Look-up" };

const COUNTED = {
  einsum: "mapped to the design; operations are multiply-accumulates",
  layout: "moves elements or renames them; renaming is free",
  lookup: "reads the rows that it returns",
  other: "reads and writes the outermost memory, one operation per lane and cycle, fused with nothing",
};

const TERMS = [
  ["EDP", "energy–delay product, energy times time; of the network: total energy times total time. The ratio in the table of designs is the geometric mean over the layers that both designs run, each as often as it occurs."],
  ["Utilisation", "computations that matter, per lane and cycle."],
  ["Traffic", "words read towards compute, filled from the memory above and updated by results from below; expectations where tensors are sparse."],
  ["Proved", "the mapper searched the whole map space: no mapping in it is better. A gap is how much better one could still be."],
];
