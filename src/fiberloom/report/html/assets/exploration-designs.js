// Designs: the table of the front, known designs beside it, and two designs side by side with their hierarchies.
const settingsOf = (m) => Object.fromEntries((m.indices || []).map((index, k) => [DATA.parameters[k], index]).filter(([, index]) => index >= 0).map(([p, index]) => [p.name, p.values[index]]));
const spelled = (value) => (value === true ? "yes" : value === false ? "no" : value === null || value === undefined ? MISSING : String(value));
const onFront = () => DATA.marks.filter((m) => m.kind === "front");
const provedOf = (m) => { const all = m.workloads.filter((w) => known(w.layers)); return all.length ? [all.reduce((sum, w) => sum + (w.proved || 0), 0), all.reduce((sum, w) => sum + w.layers, 0)] : null; };

function designButton(m) {
  const i = DATA.marks.indexOf(m);
  return h("button", { type: "button", class: "link", "aria-pressed": String(i === state.chosen), onclick: () => { showDesign(i); at("beside").scrollIntoView(); } }, m.name);
}

function measureColumns() {
  return DATA.measures.map((measure, k) => ({ key: "m" + k, title: (measure.maximise ? "max " : "") + measure.title, value: (m) => m.values[k], show: (m) => said(k, m.values[k]), number: true, first: measure.maximise ? -1 : 1 })).filter((_, k) => DATA.marks.some((m) => known(m.values[k])));
}

function frontTable() {
  const front = onFront(), proved = front.some(provedOf);
  at("front-table").hidden = !front.length;
  if (!front.length) return;
  const differing = DATA.parameters.filter((_, k) => new Set(front.map((m) => (m.indices ? m.indices[k] : -1))).size > 1);
  const common = Object.entries(settingsOf(front[0])).filter(([name]) => front.length > 1 && !differing.some((p) => p.name === name));
  const columns = [
    { key: "name", title: "Design", value: (m) => m.name, show: designButton, head: true, first: 1 },
    ...measureColumns(),
    ...differing.map((p) => ({ key: "p." + p.name, title: p.name, value: (m) => { const v = settingsOf(m)[p.name]; return typeof v === "number" ? v : v === undefined ? null : spelled(v); }, show: (m) => spelled(settingsOf(m)[p.name]), first: 1 })),
    { key: "trial", title: "Tried as", value: (m) => m.trial, show: (m) => count(m.trial), number: true, first: 1 },
    proved && { key: "proved", title: "Proved mappings", value: (m) => { const p = provedOf(m); return p && p[0] / p[1]; }, show: (m) => { const p = provedOf(m); return p ? `${p[0]} of ${p[1]}` : MISSING; }, number: true },
  ].filter(Boolean);
  const text = (common.length ? "All have " + common.map(([name, value]) => `${name} = ${spelled(value)}`).join(", ") + ". " : "") + "Choose a design to see it drawn.";
  sortableTable("front-table", front, columns, state.sort, frontTable, text, (m) => "row" + (m === DATA.marks[state.chosen] ? " chosen" : ""));
}

const STANDINGS = { beaten: ["worse", (m) => "beaten by " + m.by], equal: ["better", () => "on the front"], ahead: ["better", () => "ahead of the front"], "over the limits": ["worse", (m) => m.broken.join("; ")], "not evaluated": ["worse", (m) => m.reason] };

function knownTable() {
  const list = DATA.marks.filter((m) => m.source);
  at("known-title").hidden = at("known-table").hidden = !list.length;
  if (!list.length) return;
  const columns = [
    { key: "name", title: "Design", value: (m) => m.name, show: designButton, head: true, first: 1 },
    { key: "source", title: "Of", value: (m) => m.source, show: (m) => m.source.replace(/^the /, ""), first: 1 },
    ...measureColumns(),
    { key: "standing", title: "Beside the front", value: (m) => m.standing, show: (m) => { const [look, text] = STANDINGS[m.standing]; return h("span", { class: look }, text(m)); }, first: 1 },
  ];
  sortableTable("known-table", list, columns, state.knownSort, knownTable, "Evaluated by the same model on the same workloads.", (m) => "row" + (m === DATA.marks[state.chosen] ? " chosen" : ""));
}

function losses() {
  at("losses-title").hidden = at("losses").hidden = !DATA.losses.length;
  if (!DATA.losses.length) return;
  fill("losses", h("table", { class: "pairs" }, h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "num" }, "Designs"), h("th", { scope: "col" }, "Are"), h("th", { scope: "col" }, "Because"))),
    h("tbody", {}, DATA.losses.map((loss) => h("tr", {}, h("td", { class: "num" }, exact(loss.count)), h("td", {}, loss.status), h("td", {}, loss.reason))))));
}

// A value and how many times the other's it is; green where that is good.
function against(k, mine, other) {
  if (!known(mine) || !known(other) || mine <= 0 || other <= 0) return MISSING;
  const measure = DATA.measures[k], factor = mine / other, good = measure.aim ? (measure.maximise ? factor > 1.0005 : factor < 0.9995) : null;
  return h("span", { class: Math.abs(factor - 1) < 5e-4 || good === null ? "quiet" : good ? "better" : "worse" }, ratio(factor));
}

function pairTable() {
  const a = DATA.marks[state.chosen], b = DATA.marks[state.beside], mine = settingsOf(a), other = settingsOf(b);
  const row = (name, first, second, last, look) => h("tr", { class: look }, h("th", { scope: "row" }, name), h("td", { class: "num" }, first), h("td", { class: "num" }, second), h("td", { class: "num" }, last));
  const part = (title) => h("tr", { class: "part" }, h("th", { scope: "colgroup", colspan: "4" }, title));
  const measured = DATA.measures.map((m, k) => row((m.maximise ? "max " : "") + m.title, said(k, a.values[k]), said(k, b.values[k]), against(k, a.values[k], b.values[k])));
  const settings = DATA.parameters.filter((p) => p.name in mine || p.name in other).map((p) => row(p.name, spelled(mine[p.name]), b.indices ? spelled(other[p.name]) : MISSING, "", b.indices && mine[p.name] === other[p.name] ? "quiet" : null));
  const names = [...new Set([...a.workloads, ...b.workloads].map((w) => w.name))], of = (m, name) => m.workloads.find((w) => w.name === name) || {};
  const proof = (w) => (known(w.layers) ? `${w.proved} of ${w.layers} proved` : MISSING);
  const runs = names.flatMap((name) => [[", energy", "energy", energyJ], [", latency", "latency", seconds], [", mappings", null, null]].map(([what, key, format]) => {
    const x = of(a, name), y = of(b, name);
    return key ? row(name + what, format(x[key]), format(y[key]), known(x[key]) && known(y[key]) ? ratio(x[key] / y[key]) : MISSING) : row(name + what, proof(x), proof(y), "", "quiet");
  }));
  fill("pair-table", h("table", { class: "pairs" }, h("thead", {}, h("tr", {}, h("th", {}), h("th", { scope: "col", class: "num" }, a.name), h("th", { scope: "col", class: "num" }, b.name), h("th", { scope: "col", class: "num" }, "times as much"))),
    h("tbody", {}, part("Measures"), measured, settings.length > 0 && [part("Parameters"), settings], runs.length > 0 && [part("Workloads"), runs])));
}
const energyJ = (v) => engineering(v, "J");

// Levels from the outermost on, each with its size, mesh, bandwidth, formats and features.
function hierarchy(m) {
  const head = caption(m.name, [m.source && `of ${m.source}`, m.number && `design ${m.number}`, m.broken.length && "over " + m.broken.join("; ")].filter(Boolean).join(", "));
  if (!m.parts) return h("figure", {}, head, h("p", { class: "muted" }, m.kind === "front" || m.source ? "Designs of this problem have no hierarchy." : "Hierarchies are drawn for designs of the front and known ones."));
  return h("figure", {}, head, h("ol", { class: "hierarchy" }, m.parts.map((part) => h("li", {},
    h("div", { class: "level " + "k-" + part.kind }, h("b", {}, part.name), part.count && h("span", { class: "count" }, part.count), h("span", { class: "size" }, part.size), part.details.length > 0 && h("ul", {}, part.details.map((text) => h("li", {}, text)))),
    part.fan_out[0] * part.fan_out[1] > 1 && h("div", { class: "fan" }, `fan-out ${part.fan_out[0]} × ${part.fan_out[1]}`)))));
}

function besideSection() {
  if (!DATA.marks.length) return;
  pairTable();
  const drawn = [DATA.marks[state.chosen], DATA.marks[state.beside]];
  const any = DATA.marks.some((m) => m.parts);
  at("hierarchies").hidden = !any;
  if (any) fill("hierarchies", (drawn[0] === drawn[1] ? drawn.slice(0, 1) : drawn).map(hierarchy));
}
