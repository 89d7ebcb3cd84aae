// The report of a comparison: best so far of every agent, its settings beside random, and how much its hyper-parameters matter.
const DATA = JSON.parse(at("content").textContent);
const state = { axis: Object.keys(DATA.axes)[0], sort: { key: "final", direction: 1 }, agentSort: { key: "median", direction: 1 }, rows: 60, paper: false };
const shown = () => DATA.axes[state.axis];
const hueOf = new Map(DATA.lottery.filter((entry) => entry.agent !== DATA.baseline).map((entry, k) => [entry.agent, hue(k)]));
const look = (agent) => (agent === DATA.baseline ? "ink" : hueOf.get(agent));
const told = (v) => (known(v) ? (Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : significant(v, 4)) : "none");

function curveChart() {
  const { places, settings } = shown(), drawn = settings.filter((entry) => entry.curve);
  const width = widthOf("curves"), height = Math.min(500, Math.max(320, width * 0.42)), room = { left: 76, right: width - 24, top: 14, bottom: height - 44 };
  const all = drawn.flatMap((entry) => entry.curve.flat()).filter(known);
  if (!all.length) return fill("curves", caption("Best so far", "No run found a feasible design."));
  // first designs may be any factor away: the frame is for what runs have after a quarter of the axis
  const settled = drawn.flatMap((entry) => [entry.curve[0], entry.curve[1], entry.curve[2]].flatMap((row) => row.slice(Math.floor(row.length / 4)))).filter(known);
  const x = logScale(places[0], Math.max(places[places.length - 1], places[0] * 1.01), room.left, room.right), y = axisScale(settled.length ? settled : all, room.bottom, room.top);
  // best so far stays until it is better: steps
  const along = (row, back) => { const corners = row.flatMap((v, i) => (known(v) ? [...(i && known(row[i - 1]) ? [[x(places[i]), row[i - 1]]] : []), [x(places[i]), v]] : [])).map(([px, v]) => `${px.toFixed(1)} ${y(v).toFixed(1)}`); return back ? corners.reverse() : corners; };
  const band = (entry) => { const both = [...along(entry.curve[0].map((v, i) => (known(entry.curve[2][i]) ? v : null))), ...along(entry.curve[2], true)]; return both.length > 3 && s("path", { class: "band " + look(entry.agent), d: "M" + both.join("L") + "Z" }); };
  const line = (entry) => { const points = along(entry.curve[1]); return points.length > 0 && s("path", { class: "steps " + (entry.agent === DATA.baseline ? "main dashed" : "thick " + look(entry.agent)), d: "M" + points.join("L") }); };
  const cursor = s("line", { class: "axis", y1: room.top, y2: room.bottom, visibility: "hidden" });
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${DATA.measure} over ${state.axis}: medians and quartiles of ${drawn.length} agents. Arrow keys step along.` },
    spaced(logTicks(x), x, 44).map((v) => [s("line", { class: "grid", x1: x(v), x2: x(v), y1: room.top, y2: room.bottom }), s("text", { x: x(v), y: room.bottom + 17, "text-anchor": "middle" }, tick(v))]),
    ticksOf(y).map((v) => [s("line", { class: "grid", x1: room.left, x2: room.right, y1: y(v), y2: y(v) }), s("text", { x: room.left - 7, y: y(v) + 4, "text-anchor": "end" }, tick(v))]),
    s("line", { class: "axis", x1: room.left, x2: room.right, y1: room.bottom, y2: room.bottom }), s("line", { class: "axis", x1: room.left, x2: room.left, y1: room.top, y2: room.bottom }),
    s("text", { x: (room.left + room.right) / 2, y: height - 4, "text-anchor": "middle" }, state.axis),
    s("text", { x: 14, y: (room.top + room.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(room.top + room.bottom) / 2})` }, DATA.measure),
    s("clipPath", { id: "frame" }, s("rect", { x: room.left, y: room.top, width: room.right - room.left, height: room.bottom - room.top })), s("g", { "clip-path": "url(#frame)" }, drawn.map(band), drawn.map(line)), cursor);
  explore(svg, {
    length: places.length, place: (i) => [x(places[i]), room.top + 20],
    nearest: (px) => places.reduce((best, place, i) => (Math.abs(x(place) - px) < Math.abs(x(places[best]) - px) ? i : best), 0),
    mark: (i) => { cursor.setAttribute("visibility", i < 0 ? "hidden" : "visible"); if (i >= 0) { cursor.setAttribute("x1", x(places[i])); cursor.setAttribute("x2", x(places[i])); } },
    describe: (i) => [`after ${tick(Number(places[i].toPrecision(3)))} ${state.axis}`, drawn.map((entry) => [entry.name, entry.curve[1][i]]).sort((a, b) => (a[1] ?? Infinity) - (b[1] ?? Infinity)).map(([name, v]) => [name, told(v)])],
    open: () => {},
  });
  const several = settings.length > drawn.length ? " Of each agent the setting of the least median is drawn, which flatters those with many." : "";
  fill("curves", caption("Best so far", `Medians as lines, quartiles as bands; less is better.${several} Dashed: random.`), h("ul", { class: "legend" }, drawn.map((entry) => h("li", { class: "tag" }, swatch(look(entry.agent)), entry.name))), svg);
}

function verdict(entry) {
  if (entry.name === DATA.baseline) return MISSING;
  const times = known(entry.times) ? ratio(entry.times) + ", " : "";
  return h("span", { class: entry.beats ? "better" : "worse" }, times + (entry.beats ? "beats it" : "does not beat it"));
}

function settingTable() {
  const { points, settings } = shown(), last = points.length - 1;
  const columns = [
    { key: "name", title: "Agent", value: (e) => e.name, show: (e) => tag(look(e.agent), e.name), head: true, first: 1 },
    ...points.map((point, k) => ({ key: k === last ? "final" : "p" + k, title: `${tick(Number(point.toPrecision(4)))}`, value: (e) => e.medians[k], show: (e) => told(e.medians[k]), number: true, first: 1 })),
    { key: "quartiles", title: "Quartiles", value: (e) => e.quartiles[1], show: (e) => `${told(e.quartiles[0])} – ${told(e.quartiles[1])}`, number: true, first: 1 },
    { key: "verdict", title: "Beside random", value: (e) => e.chance, show: verdict, first: 1 },
    { key: "chance", title: "Chance", value: (e) => e.chance, show: (e) => (e.name === DATA.baseline ? MISSING : significant(e.chance, 2)), number: true, first: 1 },
    { key: "rate", title: "Designs/s", value: (e) => e.rate, show: (e) => significant(e.rate), number: true },
  ];
  const text = `Medians over seeds after so many ${state.axis} (${DATA.measure}; less is better). An agent beats random when a rank sum as low as its own has a chance below ${percent(DATA.chance)} if it were no better (exact, one-sided, not corrected for the number of agents). Times: random's median over its own.`;
  sortableTable("setting-table", settings, columns, state.sort, settingTable, text, (e) => "row" + (e.name === DATA.baseline ? " chosen" : ""));
}

// Every run a faint dot, every setting's median a dot, the quartiles over all runs a bar, one row per agent.
function lotteryChart() {
  const list = [...DATA.lottery].sort((a, b) => (a.quartiles[2] ?? Infinity) - (b.quartiles[2] ?? Infinity));
  const all = list.flatMap((entry) => entry.values.flatMap((setting) => setting.finals)).filter(known);
  if (!all.length) return fill("lottery", h("p", { class: "muted" }, "No run found a feasible design."));
  const width = widthOf("lottery"), row = 38, room = { left: Math.min(150, width * 0.3), right: width - 70, top: 22, bottom: 22 + row * list.length }, height = room.bottom + 44;
  const x = axisScale(known(DATA.target) ? [...all, DATA.target] : all, room.left, room.right), middle = (k) => room.top + row * (k + 0.5);
  const median = (finals) => { const sorted_ = finals.map((v) => v ?? Infinity).sort((a, b) => a - b), n = sorted_.length; return (sorted_[Math.floor((n - 1) / 2)] + sorted_[Math.ceil((n - 1) / 2)]) / 2; };
  const dots = list.flatMap((entry, k) => entry.values.map((setting, i) => ({ agent: entry.agent, name: setting.name, value: median(setting.finals), finals: setting.finals, y: middle(k) + (entry.values.length > 1 ? ((i * 7) % 11 - 5) * 1.6 : 0) }))).filter((dot) => known(dot.value));
  const ring = s("circle", { class: "ring", r: 8, visibility: "hidden" });
  const missed = (entry) => entry.values.reduce((n, setting) => n + setting.finals.filter((v) => !known(v)).length, 0);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${DATA.measure} at the end of the budget, by agent and setting. Arrow keys step through the settings.` },
    spaced(ticksOf(x), x, 62).map((v) => [s("line", { class: "grid", x1: x(v), x2: x(v), y1: room.top, y2: room.bottom }), s("text", { x: x(v), y: room.bottom + 17, "text-anchor": "middle" }, tick(v))]),
    s("text", { x: (room.left + room.right) / 2, y: height - 6, "text-anchor": "middle" }, DATA.measure + " (less is better)"),
    known(DATA.target) && [s("line", { class: "limit", x1: x(DATA.target), x2: x(DATA.target), y1: room.top - 6, y2: room.bottom }), s("text", { x: x(DATA.target), y: room.top - 9, "text-anchor": "middle" }, "target " + told(DATA.target))],
    list.map((entry, k) => [
      s("text", { class: "strong", x: room.left - 8, y: middle(k) + 4, "text-anchor": "end" }, entry.agent),
      known(entry.quartiles[1]) && known(entry.quartiles[3]) && s("rect", { class: "band " + look(entry.agent), x: x(entry.quartiles[1]), width: Math.max(1, x(entry.quartiles[3]) - x(entry.quartiles[1])), y: middle(k) - 13, height: 26, rx: 3 }),
      entry.values.flatMap((setting) => setting.finals.filter(known).map((v) => s("circle", { class: "dots " + look(entry.agent), cx: x(v), cy: middle(k), r: 2.2 }))),
      missed(entry) > 0 && s("text", { x: room.right + 8, y: middle(k) + 4 }, `${missed(entry)} none`),
    ]),
    dots.map((dot) => s("circle", { class: "point " + look(dot.agent), cx: x(dot.value), cy: dot.y, r: 4.5 })), ring);
  explore(svg, {
    length: dots.length, place: (k) => [x(dots[k].value), dots[k].y],
    nearest: (px, py) => { let best = -1, least = 18; dots.forEach((dot, k) => { const d = Math.hypot(x(dot.value) - px, dot.y - py); if (d < least) { least = d; best = k; } }); return best; },
    mark: (k) => { ring.setAttribute("visibility", k < 0 ? "hidden" : "visible"); if (k >= 0) { ring.setAttribute("cx", x(dots[k].value)); ring.setAttribute("cy", dots[k].y); } },
    describe: (k) => [dots[k].name, [["median", told(dots[k].value)], ["seeds", dots[k].finals.map(told).join(", ")]]],
    open: () => {},
  });
  fill("lottery", caption("At the end of the budget", "Large dots: the median over seeds of a setting; small ones: runs; bars: quartiles over all runs of an agent. An agent whose dots lie far apart depends on the luck of its hyper-parameters."), svg);
}

function lotteryTable() {
  const columns = [
    { key: "agent", title: "Agent", value: (e) => e.agent, show: (e) => tag(look(e.agent), e.agent), head: true, first: 1 },
    { key: "settings", title: "Settings", value: (e) => e.settings, show: (e) => exact(e.settings), number: true },
    { key: "reaching", title: "Settings that reach the target", value: (e) => e.reaching, show: (e) => percent(e.reaching), number: true },
    { key: "runs", title: "Runs that do", value: (e) => e.runs, show: (e) => percent(e.runs), number: true },
    { key: "median", title: "Median", value: (e) => e.quartiles[2], show: (e) => told(e.quartiles[2]), number: true, first: 1 },
    { key: "best", title: "Best setting", value: (e) => e.best, show: (e) => e.best, first: 1 },
  ];
  const whose = DATA.target_given ? "as asked" : "what the best run of random reached";
  sortableTable("lottery-table", DATA.lottery, columns, state.agentSort, lotteryTable, known(DATA.target) ? `Target: ${told(DATA.target)}, ${whose}. A setting reaches it when its median over seeds does.` : "No run of random found a feasible design, so there is no target.", () => "row");
}

function drawCharts() {
  curveChart();
  lotteryChart();
}

function onPaper(paper) {
  state.paper = paper;
  settingTable();
  lotteryTable();
  drawCharts();
}

fill("facts", DATA.facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
fill("remarks", DATA.remarks.map((text) => h("li", {}, text)));
fill("axis", Object.keys(DATA.axes).map((axis) => h("option", { value: axis }, axis)));
at("axis").parentElement.hidden = Object.keys(DATA.axes).length < 2;
at("axis").onchange = (event) => { state.axis = event.target.value; settingTable(); curveChart(); };
settingTable();
lotteryTable();
drawCharts();
frame(drawCharts, onPaper);
