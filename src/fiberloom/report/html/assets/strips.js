// Charts with one column per layer, in the order of the network. One path per component, so that a thousand layers stay light.
const STRIP = { left: 62, right: 12, top: 8, bottom: 20 };

function niceTicks(top, most = 4) {
  if (!(top > 0)) return [0];
  const raw = top / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((v) => v >= raw * 0.999);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => i * step);
}

const layersShown = () => C.layers.map((layer, i) => ({ layer, i, answer: answerOf(layer, state.design) })).filter(({ answer }) => answer && (answer.cycles !== 0 || answer.energy_pj !== 0));

function columns(items, width, height) {
  const inner = width - STRIP.left - STRIP.right, step = Math.min(96, inner / Math.max(1, items.length));
  const gap = step > 5 ? Math.min(3, step * 0.18) : 0;
  return { step, gap, x: (k) => STRIP.left + k * step, base: height - STRIP.bottom, inner };
}

function layerStrip(id, { title, text, parts, total, format, describe, height = 176 }) {
  const items = layersShown(), width = widthOf(id);
  const design = C.designs[state.design];
  const grid = columns(items, width, height);
  const largest = Math.max(0, ...items.map((item) => total(item)).filter(known));
  const y = (v) => grid.base - (largest > 0 ? (v / largest) * (grid.base - STRIP.top) : 0);
  const paths = design.components.map(() => "");
  items.forEach((item, k) => {
    let sum = 0;
    parts(item).forEach((value, c) => {
      if (!(value > 0)) return;
      const x = grid.x(k) + grid.gap / 2, w = Math.max(0.6, grid.step - grid.gap);
      paths[c] += `M${x.toFixed(2)} ${y(sum).toFixed(2)}h${w.toFixed(2)}V${y(sum + value).toFixed(2)}h${(-w).toFixed(2)}z`;
      sum += value;
    });
  });
  const cursor = s("rect", { class: "cursor", y: STRIP.top, height: grid.base - STRIP.top, width: Math.max(2, grid.step), visibility: "hidden" });
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}, ${design.name}, ${items.length} layers. Arrow keys step through the layers, Enter opens one.` },
    niceTicks(largest).map((v) => [s("line", { class: "grid", x1: STRIP.left, x2: width - STRIP.right, y1: y(v), y2: y(v) }), s("text", { x: STRIP.left - 7, y: y(v) + 4, "text-anchor": "end" }, v === 0 ? "0" : format(v))]),
    paths.map((d, c) => d && s("path", { class: "part " + look(design.components[c]), d })),
    s("line", { class: "axis", x1: STRIP.left, x2: width - STRIP.right, y1: grid.base, y2: grid.base }),
    layerMarks(items, grid, height), cursor);
  followLayers(svg, items, grid, height, cursor, describe);
  const used = design.components.filter((_, c) => paths[c]);
  fill(id, caption(title, text), legend(used.map((component) => [look(component), component.name])), items.length ? svg : h("p", { class: "muted" }, "Nothing to draw for this design."));
}

// Numbers of layers below the columns, as many as there is room for.
function layerMarks(items, grid, height) {
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((n) => n * grid.step >= 26) || 2000;
  return items.map((item, k) => ((item.i + 1) % every === 0 || k === 0) && s("text", { x: grid.x(k) + grid.step / 2, y: height - 5, "text-anchor": "middle" }, String(item.i + 1)));
}

function followLayers(svg, items, grid, height, cursor, describe) {
  explore(svg, {
    length: items.length,
    nearest: (x) => (x < STRIP.left - 4 || x > STRIP.left + grid.inner + 4 ? -1 : Math.max(0, Math.min(items.length - 1, Math.floor((x - STRIP.left) / grid.step)))),
    place: (k) => [grid.x(k) + grid.step, height / 3],
    describe: (k) => [`${items[k].i + 1}. ${items[k].layer.name}`, describe(items[k])],
    mark: (k) => { cursor.setAttribute("visibility", k < 0 ? "hidden" : "visible"); if (k >= 0) cursor.setAttribute("x", grid.x(k)); },
    open: (k) => openLayer(items[k].i),
  });
}

function energyStrip() {
  const components = C.designs[state.design].components;
  layerStrip("energy-by-layer", {
    title: "Energy of each layer", text: "By component; equal layers together, Einsums first. Choose a column to open the layer.",
    parts: ({ layer, answer }) => answer.energy.map((v) => v * layer.count),
    total: ({ layer, answer }) => answer.energy_pj * layer.count, format: energy,
    describe: ({ layer, answer }) => [["energy", energy(answer.energy_pj * layer.count)], ...answer.energy.map((v, c) => [v, c]).filter(([v]) => v > 0).map(([v, c]) => [components[c].name, energy(v * layer.count) + ", " + percent(share(v, answer.energy_pj))])],
  });
}

function cyclesStrip() {
  const components = C.designs[state.design].components;
  layerStrip("cycles-by-layer", {
    title: "Cycles of each layer", text: "Coloured by the component that sets them.", height: 150,
    parts: ({ layer, answer }) => components.map((_, c) => (c === answer.bound ? answer.cycles * layer.count : 0)),
    total: ({ layer, answer }) => answer.cycles * layer.count, format: (v) => count(v),
    describe: ({ layer, answer }) => [["cycles", exact(Math.round(answer.cycles * layer.count))], ["set by", boundName(answer)], ["utilisation", percent(answer.utilization)]],
  });
}

// Share of each memory in use: rows of levels, columns of layers, in eight steps of one colour.
function occupancyStrip() {
  const design = C.designs[state.design], items = layersShown().filter((item) => item.answer.levels.length);
  const rows = design.levels.map((level, l) => ({ level, l })).filter(({ level }) => level.capacity_words > 0);
  if (!items.length || !rows.length) return fill("occupancy");
  const width = widthOf("occupancy"), cell = 26, height = rows.length * cell + STRIP.bottom + STRIP.top;
  const left = Math.min(150, Math.max(...rows.map(({ level }) => level.name.length)) * 7.5 + 16);
  const step = Math.min(96, (width - left - STRIP.right) / items.length), gap = step > 5 ? 1 : 0;
  const grid = { x: (k) => left + k * step, step, inner: width - left - STRIP.right };
  const steps = Array.from({ length: 9 }, () => ""), over = { d: "" };
  rows.forEach(({ l }, r) => items.forEach((item, k) => {
    const part = item.answer.levels[l] && share(item.answer.levels[l].used, design.levels[l].capacity_words);
    if (!known(part)) return;
    const d = `M${grid.x(k).toFixed(2)} ${STRIP.top + r * cell}h${(step - gap).toFixed(2)}v${cell - 3}h${(gap - step).toFixed(2)}z`;
    if (part > 1) over.d += d; else steps[Math.ceil(part * 8)] += d;
  }));
  const cursor = s("rect", { class: "cursor", y: STRIP.top, height: rows.length * cell, width: Math.max(2, step), visibility: "hidden" });
  const shade = (n) => `color-mix(in oklab, var(--k-memory) ${n * 12.5}%, var(--wash))`;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Occupancy of each level by layer, ${design.name}. Arrow keys step through the layers.` },
    rows.map(({ level }, r) => s("text", { x: left - 8, y: STRIP.top + r * cell + 16, "text-anchor": "end", class: "strong" }, level.name.length > 18 ? level.name.slice(0, 17) + "…" : level.name)),
    steps.map((d, n) => d && s("path", { d, style: { fill: shade(n) } })), over.d && s("path", { d: over.d, style: { fill: "var(--bad)" } }),
    items.map((item, k) => ((item.i + 1) % ([1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n * step >= 26) || 1000) === 0 || k === 0) && s("text", { x: grid.x(k) + step / 2, y: height - 5, "text-anchor": "middle" }, String(item.i + 1))), cursor);
  explore(svg, {
    length: items.length,
    nearest: (x) => (x < left - 4 ? -1 : Math.max(0, Math.min(items.length - 1, Math.floor((x - left) / step)))),
    place: (k) => [grid.x(k) + step, height / 2],
    describe: (k) => [`${items[k].i + 1}. ${items[k].layer.name}`, rows.map(({ level, l }) => [level.name, percent(share((items[k].answer.levels[l] || {}).used, level.capacity_words))])],
    mark: (k) => { cursor.setAttribute("visibility", k < 0 ? "hidden" : "visible"); if (k >= 0) cursor.setAttribute("x", grid.x(k)); },
    open: (k) => openLayer(items[k].i),
  });
  const key = h("ul", { class: "legend" }, [1, 2, 4, 6, 8].map((n) => h("li", { class: "tag" }, h("span", { class: "swatch", style: { background: shade(n) } }), n * 12.5 + "\u202f%")), over.d && h("li", { class: "tag" }, h("span", { class: "swatch", style: { background: "var(--bad)" } }), "more than there is"));
  fill("occupancy", caption("Occupancy by layer", "Room in use per instance of the level, as a share of its capacity. Blank: nothing is kept there."), key, svg);
}
