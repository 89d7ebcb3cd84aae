// The table of layers: sorted, filtered, each row opens.
function columnsOfTable() {
  const several = C.designs.length > 1;
  const largest = (key) => Math.max(0, ...C.layers.map((layer) => { const a = answerOf(layer, state.design); return a && known(a[key]) ? a[key] * layer.count : 0; }));
  const most = { cycles: largest("cycles"), energy_pj: largest("energy_pj") };
  const meter = (part) => known(part) && h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { width: Math.min(100, part * 100) + "%" } }));
  const times = (item, key) => (item.answer ? (known(item.answer[key]) ? item.answer[key] * item.layer.count : item.answer[key]) : null);
  return [
    { key: "order", title: "#", value: (item) => item.i, show: (item) => item.i + 1, number: true, first: 1 },
    { key: "name", title: "Layer", value: (item) => item.layer.name.toLowerCase(), first: 1, name: true },
    { key: "op", title: "Operator", value: (item) => item.layer.op.toLowerCase(), show: (item) => item.layer.op, first: 1 },
    C.layers.some((layer) => layer.count !== 1) && { key: "count", title: "Times", value: (item) => item.layer.count, show: (item) => (item.layer.count === 1 ? h("span", { class: "quiet" }, "1") : item.layer.count + "×"), number: true },
    { key: "macs", title: "MACs", value: (item) => work(item.layer), show: (item) => (item.layer.kind === "einsum" ? count(work(item.layer)) : h("span", { class: "quiet", title: "operations other than multiply-accumulates" }, count(work(item.layer)) + " ops")), number: true },
    { key: "cycles", title: "Cycles", value: (item) => times(item, "cycles"), show: (item) => [count(times(item, "cycles")), meter(share(times(item, "cycles"), most.cycles))], number: true },
    { key: "energy", title: "Energy", value: (item) => times(item, "energy_pj"), show: (item) => [energy(times(item, "energy_pj")), meter(share(times(item, "energy_pj"), most.energy_pj))], number: true },
    { key: "utilization", title: "Utilisation", value: (item) => item.answer && item.answer.utilization, show: (item) => percent(item.answer && item.answer.utilization), number: true },
    { key: "bound", title: "Cycles set by", value: (item) => (item.answer ? boundName(item.answer).toLowerCase() : null), show: (item) => (item.answer ? boundTag(item.answer) : h("span", { class: "worse" }, item.layer.failures[state.design] ? "not mapped" : "not evaluated")), first: 1 },
    several && { key: "versus", title: "EDP better than " + C.designs[state.baseline].name, value: (item) => item.versus, show: (item) => (state.design === state.baseline ? h("span", { class: "quiet" }, "1") : versus(item.versus)), number: true },
    { key: "proof", title: "Mapping", value: (item) => proofRank(item.answer), show: (item) => proofOf(item.answer), first: 1 },
  ].filter(Boolean);
}

const work = (layer) => { const one = layer.kind === "einsum" ? layer.macs : layer.operations; return known(one) ? one * layer.count : one; };
const boundName = (answer) => (answer.bound >= 0 ? C.designs[state.design].components[answer.bound].name : answer.bottleneck || MISSING);
const boundTag = (answer) => (answer.bound >= 0 ? tag(look(C.designs[state.design].components[answer.bound]), boundName(answer)) : boundName(answer));

function proofRank(answer) {
  if (!answer || !answer.certificate) return null;
  return { optimal: 0, bound: 1 }[answer.certificate.status] === undefined ? 3 : answer.certificate.status === "optimal" ? 0 : 1 + (answer.certificate.gap || 0);
}

function proofOf(answer) {
  if (!answer || !answer.certificate) return h("span", { class: "quiet" }, MISSING);
  const { status, gap } = answer.certificate;
  if (status === "optimal") return h("span", { class: "better" }, "✓\u00a0proved");
  if (status === "bound") return h("span", { class: "worse" }, "gap\u00a0" + percent(gap));
  return h("span", { class: "quiet" }, "no proof");
}

function itemsOfTable() {
  const edpOf = (answer) => (answer && known(answer.edp) ? answer.edp : null);
  return C.layers.map((layer, i) => {
    const answer = answerOf(layer, state.design), other = edpOf(answerOf(layer, state.baseline)), own = edpOf(answer);
    return { layer, i, answer, versus: known(own) && known(other) && own > 0 && other > 0 ? other / own : null };
  });
}

function compare(a, b, direction) {
  const missing = (v) => v === null || v === undefined || (typeof v !== "string" && !known(v));
  if (missing(a) || missing(b)) return missing(a) - missing(b); // missing values come last either way
  return (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b) * direction;
}

function passes(item) {
  const { text, op, bound } = state.filter;
  if (op && item.layer.op !== op) return false;
  if (bound && !(item.answer && boundName(item.answer) === bound)) return false;
  return text.toLowerCase().split(/\s+/).every((word) => item.layer.search.includes(word));
}

function layerTable() {
  const heads = columnsOfTable();
  if (!heads.some((column) => column.key === state.sort.key)) state.sort = { key: "order", direction: 1 };
  const { key, direction } = state.sort;
  const sorted = heads.find((column) => column.key === key);
  const items = itemsOfTable().filter(passes).sort((a, b) => compare(sorted.value(a), sorted.value(b), direction) || a.i - b.i);
  const head = (column) => h("th", { scope: "col", class: column.number ? "num" : null, "aria-sort": column.key === key ? (direction > 0 ? "ascending" : "descending") : "none" },
    state.paper ? column.title : h("button", { type: "button", class: "sort", "data-key": column.key, onclick: () => sortBy(column) }, column.title)); // browsers repeat heads on every page only without buttons
  const shown = items.slice(0, state.rows);
  const body = h("tbody", {}, shown.map((item) => layerRows(item, heads)));
  const table = h("table", { "aria-rowcount": items.length + 1 }, h("thead", {}, h("tr", {}, heads.map(head))), body);
  const box = at("layer-table"), top = box.scrollTop;
  box.classList.toggle("tall", C.layers.length > 40);
  const more = items.length > shown.length && h("p", { class: "more" }, h("button", { type: "button", id: "more", onclick: () => showRows(Infinity) }, `Show all ${plural(items.length, "layer")}`), h("span", { class: "quiet" }, ` The first ${shown.length} are shown.`));
  box.replaceChildren(items.length ? table : h("p", { class: "muted" }, "No layer matches the filter."), more || "");
  box.scrollTop = top;
  const told = at("shown");
  if (told) told.textContent = items.length === C.layers.length ? plural(items.length, "layer") : `${items.length} of ${plural(C.layers.length, "layer")}`;
}

function layerRows(item, heads) {
  const open = state.open.has(item.i) && !state.paper;
  const row = h("tr", { class: "row" + (open ? " chosen" : ""), id: "layer-" + (item.i + 1) }, heads.map((column) => column.name
    ? h("td", { class: "name" }, h("button", { type: "button", class: "link", "aria-expanded": String(open), "aria-controls": "detail-" + (item.i + 1), onclick: () => toggleLayer(item.i) }, item.layer.name), h("span", { class: "shape" }, item.layer.shape))
    : h("td", { class: column.number ? "num" : null }, column.show(item))));
  return open ? [row, detailRow(item, heads.length)] : [row];
}

function sortBy(column) {
  const same = state.sort.key === column.key;
  state.sort = { key: column.key, direction: same ? -state.sort.direction : column.first ? 1 : -1 };
  layerTable();
  document.querySelector(`button.sort[data-key="${column.key}"]`).focus();
}

// Only the row and what it opens: the others stay as they are.
function toggleLayer(i) {
  const open = !state.open.delete(i);
  if (open) state.open.add(i);
  const row = at("layer-" + (i + 1)), detail = at("detail-" + (i + 1));
  row.classList.toggle("chosen", open);
  row.querySelector("button.link").setAttribute("aria-expanded", String(open));
  if (detail) detail.remove();
  if (open) row.after(detailRow(itemsOfTable()[i], row.cells.length));
}

// Large tables begin with their first rows; paper gets all of them.
function showRows(most) {
  state.rows = most;
  layerTable();
}

function openLayer(i) {
  tip.hide();
  state.open.add(i);
  state.rows = Infinity;
  if (!passes(itemsOfTable()[i])) { state.filter = { text: "", op: "", bound: "" }; filterForm(); }
  layerTable();
  const row = at("layer-" + (i + 1));
  row.scrollIntoView({ block: "center" });
  row.querySelector("button.link").focus({ preventScroll: true });
}

function filterForm() {
  const options = (values, all) => [h("option", { value: "" }, all), values.map((v) => h("option", { value: v }, v))];
  const ops = [...new Set(C.layers.map((layer) => layer.op))].sort();
  const bounds = [...new Set(C.layers.map((layer) => answerOf(layer, state.design)).filter(Boolean).map(boundName))].sort();
  if (!bounds.includes(state.filter.bound)) state.filter.bound = "";
  const change = (key) => (event) => { state.filter[key] = event.target.value; layerTable(); };
  const choice = (key, values, all, label) => { const made = h("select", { id: "filter-" + key, "aria-label": label, onchange: change(key) }, options(values, all)); made.value = state.filter[key]; return made; };
  const text = h("input", { type: "search", id: "filter-text", placeholder: "Name, operator or shape", "aria-label": "Filter layers by name, operator or shape", oninput: change("text") });
  text.value = state.filter.text;
  fill("filters", text, ops.length > 1 && choice("op", ops, "all operators", "Operator"), bounds.length > 1 && choice("bound", bounds, "any bottleneck", "Cycles set by"), h("output", { id: "shown", "aria-live": "polite" }));
  at("filters").onsubmit = (event) => event.preventDefault();
}
