// The front: two measures of every design against each other. Objectives first; any measure may be an axis.
const axisText = (k, v) => (PREFIXED.includes(DATA.measures[k].unit) ? said(k, v) : tick(v));
const better = (k) => (DATA.measures[k].aim ? (DATA.measures[k].maximise ? " (more is better)" : " (less is better)") : "");

function frontChart() {
  const { x: ax, y: ay } = state, marks = DATA.marks.filter((m) => known(m.values[ax]) && known(m.values[ay]));
  if (!marks.length) return fill("front", h("p", { class: "muted" }, "No design was evaluated, so there is nothing to draw."));
  const width = widthOf("front"), height = Math.min(520, Math.max(330, width * 0.48)), room = { left: 76, right: width - 24, top: 16, bottom: height - 46 };
  const x = axisScale(marks.map((m) => m.values[ax]), room.left, room.right), y = axisScale(marks.map((m) => m.values[ay]), room.bottom, room.top);
  const place = (k) => [x(marks[k].values[ax]), y(marks[k].values[ay])];
  const dot = (r) => (m) => { const [cx, cy] = [x(m.values[ax]), y(m.values[ay])]; return `M${(cx - r).toFixed(1)} ${cy.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`; };
  const plain = marks.filter((m) => !m.source && m.kind !== "front");
  const faint = s("path", { class: "dots k-memory", d: plain.filter((m) => m.kind === "within").map(dot(3)).join("") });
  const hollow = s("path", { class: "dots over", d: plain.filter((m) => m.kind === "over").map(dot(2.6)).join("") });
  const strong = marks.filter((m) => m.kind === "front" || m.source).map((m) => {
    const [cx, cy] = [x(m.values[ax]), y(m.values[ay])], attributes = { "data-mark": String(DATA.marks.indexOf(m)) };
    const d = `M${cx} ${cy - 8}L${cx + 8} ${cy}L${cx} ${cy + 8}L${cx - 8} ${cy}Z`;
    return m.source ? s("path", { class: "point " + (m.kind === "front" ? "k-memory" : "k-buffer") + (m.kind === "over" ? " hollow" : ""), d, ...attributes }) : s("circle", { class: "point k-memory", cx, cy, r: 6, ...attributes });
  });
  const ring = s("circle", { class: "ring", r: 12, visibility: "hidden" }), chosen = marks.indexOf(DATA.marks[state.chosen]);
  const few = marks.filter((m) => m.kind === "front").length <= 14;
  const named = marks.filter((m) => m.kind === "front" || m.source).map((m) => ({ x: x(m.values[ax]), y: y(m.values[ay]), text: m.source || few ? m.name : "", strong: m.kind === "front" }));
  const title = (k) => (DATA.measures[k].maximise ? "max " : "") + DATA.measures[k].title + better(k);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title(ay)} against ${title(ax)}, ${marks.length} designs. Arrow keys step through them, Enter shows one.` },
    spaced(ticksOf(x), x, 62).map((v) => [s("line", { class: "grid", x1: x(v), x2: x(v), y1: room.top, y2: room.bottom }), s("text", { x: x(v), y: room.bottom + 17, "text-anchor": "middle" }, axisText(ax, v))]),
    ticksOf(y).map((v) => [s("line", { class: "grid", x1: room.left, x2: room.right, y1: y(v), y2: y(v) }), s("text", { x: room.left - 7, y: y(v) + 4, "text-anchor": "end" }, axisText(ay, v))]),
    s("line", { class: "axis", x1: room.left, x2: room.right, y1: room.bottom, y2: room.bottom }), s("line", { class: "axis", x1: room.left, x2: room.left, y1: room.top, y2: room.bottom }),
    s("text", { x: (room.left + room.right) / 2, y: height - 6, "text-anchor": "middle" }, title(ax)),
    s("text", { x: 14, y: (room.top + room.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(room.top + room.bottom) / 2})` }, title(ay)),
    hollow, faint, frontLine(x, y), limitLines(x, y, room), strong,
    chosen >= 0 && s("circle", { class: "ring kept", cx: place(chosen)[0], cy: place(chosen)[1], r: 11 }), labels(named, room), ring);
  // a design of the front is reached from farther off than the crowd behind it
  const reach = (m) => (m.kind === "front" || m.source ? 26 : 12);
  explore(svg, {
    length: marks.length, place,
    nearest: (px, py) => { let best = -1, least = 1; marks.forEach((m, k) => { const [cx, cy] = place(k), d = Math.hypot(cx - px, cy - py) / reach(m); if (d < least) { least = d; best = k; } }); return best; },
    mark: (k) => { ring.setAttribute("visibility", k < 0 ? "hidden" : "visible"); if (k >= 0) { const [cx, cy] = place(k); ring.setAttribute("cx", cx); ring.setAttribute("cy", cy); } },
    describe: (k) => describeMark(marks[k]),
    open: (k) => { showDesign(DATA.marks.indexOf(marks[k])); at("beside").scrollIntoView(); },
  });
  const axes = ["x", "y"].map((axis) => h("label", {}, axis + " ", h("select", { id: "axis-" + axis, onchange: (event) => { state[axis] = Number(event.target.value); frontChart(); } },
    DATA.measures.map((m, k) => h("option", { value: String(k), selected: k === state[axis] }, m.title)))));
  const key = (shape, text) => h("li", { class: "tag" }, s("svg", { class: "key", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape), text);
  const keys = [key(s("circle", { class: "point k-memory", cx: 8, cy: 8, r: 6 }), "on the front"), key(s("circle", { class: "dots k-memory", cx: 8, cy: 8, r: 3.5 }), "beaten"),
    plain.some((m) => m.kind === "over") && key(s("circle", { class: "dots over", cx: 8, cy: 8, r: 3.5 }), "over a limit"),
    marks.some((m) => m.source) && key(s("path", { class: "point k-buffer", d: "M8 1L15 8L8 15L1 8Z" }), "known design")];
  fill("front", caption("The front", "A design is on it when no other within the limits is better in every objective. Choose a design to see it drawn below."), h("div", { class: "filters axes" }, axes), h("ul", { class: "legend" }, keys), svg);
}

function describeMark(m) {
  const pairs = DATA.measures.map((measure, k) => [measure.title, said(k, m.values[k])]).filter((_, k) => known(m.values[k]));
  if (m.broken.length) pairs.push(["over", m.broken.join("; ")]);
  const values = Object.entries(settingsOf(m));
  return [m.name + (m.source && m.number ? " (#" + m.number + ")" : ""), [...pairs, ...values.slice(0, 16).map(([name, value]) => [name, spelled(value)])]];
}

// Steps between the designs of a front of two objectives, the axes.
function frontLine(x, y) {
  const aims = DATA.measures.map((m, k) => [m, k]).filter(([m]) => m.aim).map(([, k]) => k);
  if (aims.length !== 2 || state.x === state.y || !aims.includes(state.x) || !aims.includes(state.y)) return null;
  const sign = DATA.measures[state.x].maximise ? -1 : 1;
  const front = DATA.marks.filter((m) => m.kind === "front").sort((a, b) => sign * (a.values[state.x] - b.values[state.x]));
  if (front.length < 2) return null;
  return s("path", { class: "stairs", d: front.map((m, k) => { const px = x(m.values[state.x]), py = y(m.values[state.y]); return k ? `H${px}V${py}` : `M${px} ${py}`; }).join("") });
}

function limitLines(x, y, room) {
  return DATA.limits.flatMap((limit) => [["x", x], ["y", y]].map(([axis, scale]) => {
    if (DATA.measures[state[axis]].name !== limit.text || limit.limit < scale.low || limit.limit > scale.high) return null;
    const p = scale(limit.limit);
    return axis === "x" ? [s("line", { class: "limit", x1: p, x2: p, y1: room.top, y2: room.bottom }), s("text", { class: "halo", x: p - 5, y: room.top + 12, "text-anchor": "end" }, limit.name)]
      : [s("line", { class: "limit", x1: room.left, x2: room.right, y1: p, y2: p }), s("text", { class: "halo", x: room.right - 4, y: p - 5, "text-anchor": "end" }, limit.name)];
  }));
}
