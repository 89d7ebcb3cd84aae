// How the exploration went: what the parameters did, best so far, and the volume of the front.
function importanceChart() {
  const all = DATA.importance;
  if (!all.length) return fill("importance", h("p", { class: "muted" }, "Too few designs were evaluated to say what the parameters do."));
  const shown = all[Math.min(state.importance, all.length - 1)], largest = Math.max(...shown.entries.map((e) => Math.max(e.share, e.chance)), 0.05);
  const choose = h("select", { id: "importance-of", "aria-label": "Importance for", onchange: (event) => { state.importance = Number(event.target.value); importanceChart(); } }, all.map((entry, k) => h("option", { value: String(k), selected: entry === shown }, entry.title)));
  const chip = ([label, designs, ratio_]) => {
    const good = shown.direction === 0 || !shown.positive ? 0 : shown.direction * Math.log(ratio_), tilt = Math.max(-1, Math.min(1, good / Math.log(3)));
    return h("span", { class: "chip " + (tilt > 0 ? "good" : tilt < 0 ? "bad" : ""), style: { "--tilt": Math.round(Math.abs(tilt) * 60) + "%" }, title: plural(designs, "design") }, h("b", {}, label), " ", shown.positive ? ratio(ratio_) : (ratio_ > 0 ? "+" : "") + significant(ratio_));
  };
  const rows = shown.entries.map((e) => [
    h("div", { class: "label" }, e.name, e.designs < shown.designs && h("span", { class: "shape" }, `in ${plural(e.designs, "design")}`)),
    h("div", { class: "track share", role: "img", "aria-label": `${e.name}: ${percent(e.share)} of the variance, chance reaches ${percent(e.chance)}` }, h("i", { class: e.shows ? "k-memory" : "quiet", style: { width: (100 * e.share) / largest + "%" } }), h("em", { style: { left: (100 * e.chance) / largest + "%" } })),
    h("div", { class: "num" }, e.shows ? percent(e.share) : h("span", { class: "quiet" }, "no more than chance")),
    h("div", { class: "chips" }, e.values.map(chip)),
  ]);
  fill("importance", h("figcaption", {}, h("strong", {}, "Importance for"), choose,
    h("p", {}, `Share of the variance of ${shown.positive ? "the logarithm of " : ""}the measure over ${plural(shown.designs, "evaluated design")} that a parameter explains by itself (ε², one-way analysis of variance). The tick is what a parameter without any effect reaches by chance in one of twenty cases. Effects that show only together with another parameter count for neither; where the agent preferred some regions, what was chosen along with a value counts as its effect. Beside each value: the geometric mean of the designs that have it, over that of all.${DATA.losses.some((loss) => loss.status === "pruned") ? " Designs that their bounds ruled out are not among them." : ""}`)),
    h("div", { class: "bars matter" }, rows));
}

// Steps of several runs; the reported one is drawn strong.
function stepsChart(id, title, note, runs, format, log) {
  const along = state.along === "seconds" ? 1 : 0, width = Math.max(300, Math.min(at(id).clientWidth || 540, 900)), height = 300, room = { left: 72, right: width - 14, top: 12, bottom: height - 42 };
  const all = runs.flatMap((run) => run.steps);
  if (!all.length) return fill(id, caption(title, "No feasible design was found."));
  const ends = Math.max(...runs.map((run) => run.end[along]), along ? 1e-3 : 1), values = all.map((step) => step[2]);
  const x = linearScale(0, ends, room.left, room.right), y = log ? axisScale(values, room.bottom, room.top) : linearScale(0, 1.04, room.bottom, room.top);
  const path = (run) => { let d = ""; for (const step of run.steps) d += d ? `H${x(step[along])}V${y(step[2])}` : `M${x(step[along])} ${y(step[2])}`; return d && d + `H${x(run.end[along])}`; };
  const main = runs.find((run) => run.main) || runs[0];
  const ring = s("circle", { class: "ring", r: 8, visibility: "hidden" }), place = (k) => [x(main.steps[k][along]), y(main.steps[k][2])];
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title },
    linearTicks(x).map((v) => [s("line", { class: "grid", x1: x(v), x2: x(v), y1: room.top, y2: room.bottom }), s("text", { x: x(v), y: room.bottom + 17, "text-anchor": "middle" }, tick(v))]),
    ticksOf(y).map((v) => [s("line", { class: "grid", x1: room.left, x2: room.right, y1: y(v), y2: y(v) }), s("text", { x: room.left - 7, y: y(v) + 4, "text-anchor": "end" }, format(v))]),
    s("line", { class: "axis", x1: room.left, x2: room.right, y1: room.bottom, y2: room.bottom }), s("line", { class: "axis", x1: room.left, x2: room.left, y1: room.top, y2: room.bottom }),
    s("text", { x: (room.left + room.right) / 2, y: height - 4, "text-anchor": "middle" }, along ? "seconds" : "designs tried"),
    runs.filter((run) => run !== main).map((run, k) => s("path", { class: "steps " + hue(k + 1), d: path(run) })), s("path", { class: "steps main", d: path(main) }), ring);
  if (main.steps.length) explore(svg, {
    length: main.steps.length, place,
    nearest: (px) => main.steps.reduce((best, step, k) => (Math.abs(x(step[along]) - px) < Math.abs(x(main.steps[best][along]) - px) ? k : best), 0),
    mark: (k) => { ring.setAttribute("visibility", k < 0 ? "hidden" : "visible"); if (k >= 0) { ring.setAttribute("cx", place(k)[0]); ring.setAttribute("cy", place(k)[1]); } },
    describe: (k) => [format(main.steps[k][2]), [["after", plural(main.steps[k][0], "design")], ["at", significant(main.steps[k][1]) + "\u00a0s"]]],
    open: () => {},
  });
  const keys = runs.length > 1 && h("ul", { class: "legend" }, h("li", { class: "tag" }, h("span", { class: "swatch ink", "aria-hidden": "true" }), main.name), runs.filter((run) => run !== main).map((run, k) => h("li", { class: "tag" }, swatch(hue(k + 1)), run.name)));
  fill(id, caption(title, note), keys, svg);
}

function progressCharts() {
  const measure = DATA.measures.findIndex((m) => m.name === DATA.curves.title), format = (v) => (measure >= 0 ? said(measure, v) : significant(v));
  const choose = h("select", { id: "along", "aria-label": "Progress over", onchange: (event) => { state.along = event.target.value; progressCharts(); } }, ["designs", "seconds"].map((name) => h("option", { value: name, selected: name === state.along }, name === "designs" ? "designs tried" : "seconds")));
  stepsChart("curve", "Best so far: " + DATA.curves.title, DATA.curves.runs.length > 1 ? "Feasible designs; other runs of the same goal in the store are drawn thin." : "Feasible designs.", DATA.curves.runs, measure >= 0 ? format : (v) => (v < 1e-3 || v >= 1e5 ? v.toExponential(1) : significant(v)), true);
  at("curve").querySelector("figcaption").append(h("p", {}, "Over ", choose));
  at("volume").hidden = !DATA.volume;
  if (DATA.volume) stepsChart("volume", "Volume of the front", "What the designs so far dominate, on logarithmic axes, as a share of the last front's volume.", [{ main: true, name: "", steps: DATA.volume, end: DATA.curves.runs[0].end }], percent, false);
}
