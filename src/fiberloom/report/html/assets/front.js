// Quality against energy–delay product: a mark per point, a line through those that no other beats.
const designOf = (point) => DATA.designs.findIndex((design) => design.name === point.design);
const costed = (point) => known(point.edp_j_s) && point.edp_j_s > 0 && known(point.quality);

// Marks of designs differ in shape as well as colour.
function shape(d, cx, cy, r, attributes) {
  const path = (points) => "M" + points.map(([x, y]) => `${cx + x * r} ${cy + y * r}`).join("L") + "Z";
  const made = [
    () => s("circle", { cx, cy, r, ...attributes }),
    () => s("rect", { x: cx - r * 0.88, y: cy - r * 0.88, width: r * 1.76, height: r * 1.76, rx: 1, ...attributes }),
    () => s("path", { d: path([[0, -1.2], [1.1, 0.8], [-1.1, 0.8]]), ...attributes }),
    () => s("path", { d: path([[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]]), ...attributes }),
    () => s("path", { d: path([[0, 1.2], [1.1, -0.8], [-1.1, -0.8]]), ...attributes }),
  ];
  return made[d % made.length]();
}

// The dense model on every design is a mark of its own, for comparison.
function marksOfFront() {
  const marks = DATA.points.map((point, i) => ({ point, i, x: point.edp_j_s, y: point.quality, dense: false })).filter(({ point }) => costed(point));
  for (const design of DATA.designs) {
    const shown = DATA.points.some((point) => point.design === design.name && point.scheme === "dense");
    if (design.dense && !shown && known(DATA.quality.original)) marks.push({ point: { ...design.dense, scheme: "dense", design: design.name, quality: DATA.quality.original }, i: -1, x: design.dense.edp_j_s, y: DATA.quality.original, dense: true });
  }
  return marks;
}

function frontChart() {
  const marks = marksOfFront();
  if (!marks.length) return fill("front", h("p", { class: "muted" }, "Without a design there is no cost to compare with: name one with --on or --designs."));
  const width = widthOf("front"), height = Math.min(470, Math.max(320, width * 0.46)), room = { left: 66, right: width - 24, top: 16, bottom: height - 44 };
  const xs = marks.map((m) => m.x), ys = marks.map((m) => m.y), span = Math.max(...ys) - Math.min(...ys) || Math.abs(ys[0]) || 1;
  const x = logScale(Math.min(...xs) / 1.5, Math.max(...xs) * 1.6, room.left, room.right);
  const atLeast = Math.min(...ys) >= 0 ? Math.max(0, Math.min(...ys) - span * 0.08) : Math.min(...ys) - span * 0.08;
  const y = linearScale(atLeast, Math.max(...ys) + span * 0.1, room.bottom, room.top);
  const place = (k) => [x(marks[k].x), y(marks[k].y)];
  const ring = s("circle", { class: "ring", r: 11, visibility: "hidden" });
  const drawn = marks.map((m, k) => shape(designOf(m.point), ...place(k), m.point.on_front ? 7 : 5, { class: "point " + hue(designOf(m.point)) + (m.dense ? " hollow" : m.point.on_front ? "" : " beaten"), "data-point": String(m.i) }));
  const title = DATA.quality.name + (DATA.quality.lower_is_better ? " (lower is better)" : " (higher is better)");
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} against energy–delay product, ${marks.length} points. Arrow keys step through them, Enter shows the layers of one.` },
    logTicks(x).map((v) => [s("line", { class: "grid", x1: x(v), x2: x(v), y1: room.top, y2: room.bottom }), s("text", { x: x(v), y: room.bottom + 17, "text-anchor": "middle" }, engineering(v, "J·s"))]),
    linearTicks(y).map((v) => [s("line", { class: "grid", x1: room.left, x2: room.right, y1: y(v), y2: y(v) }), s("text", { x: room.left - 7, y: y(v) + 4, "text-anchor": "end" }, String(Number(v.toPrecision(4))))]),
    s("line", { class: "axis", x1: room.left, x2: room.right, y1: room.bottom, y2: room.bottom }), s("line", { class: "axis", x1: room.left, x2: room.left, y1: room.top, y2: room.bottom }),
    s("text", { x: (room.left + room.right) / 2, y: room.bottom + 37, "text-anchor": "middle" }, "energy–delay product of all products (lower is better)"),
    s("text", { x: 14, y: (room.top + room.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(room.top + room.bottom) / 2})` }, title),
    stairs(x, y, room), drawn, labels(marks.map((m, k) => ({ x: place(k)[0], y: place(k)[1], text: m.point.scheme, strong: m.point.on_front })), room), ring);
  explore(svg, {
    length: marks.length, place,
    nearest: (px, py) => { let best = -1, least = 30 ** 2; marks.forEach((_, k) => { const [cx, cy] = place(k), d = (cx - px) ** 2 + (cy - py) ** 2; if (d < least) { least = d; best = k; } }); return best; },
    mark: (k) => { ring.setAttribute("visibility", k < 0 ? "hidden" : "visible"); if (k >= 0) { const [cx, cy] = place(k); ring.setAttribute("cx", cx); ring.setAttribute("cy", cy); } },
    describe: (k) => describeMark(marks[k]),
    open: (k) => marks[k].i >= 0 && showPoint(marks[k].i),
  });
  const hollow = marks.some((m) => m.dense);
  const keys = DATA.designs.map((design, d) => h("li", { class: "tag" }, s("svg", { class: "key", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape(d, 8, 8, 5.5, { class: "point " + hue(d) })), design.name));
  fill("front", caption("Quality against energy–delay product", "The line joins the points that no other beats in both; beaten points are pale." + (hollow ? " Hollow: the dense model on each design." : "") + " Choose a point to see its layers."), h("ul", { class: "legend" }, keys), svg);
}

function describeMark({ point, dense }) {
  const pairs = [[DATA.quality.name, significant(point.quality, 4)], ["EDP", edp(point.edp_j_s)], ["energy", energy(point.energy_pj)], ["cycles", count(point.cycles)]];
  if (!dense) pairs.push(["bits per weight", significant(point.bits_per_weight)], ["throughput, ideal", ratio(point.throughput.ideal)], ["throughput, menu", ratio(point.throughput.menu)]);
  if (known(point.dominated_by)) pairs.push(["beaten by", nameOf(DATA.points[point.dominated_by])]);
  return [nameOf(point), pairs];
}

const nameOf = (point) => point.scheme + (point.design ? " on " + point.design : "");

// Steps through the front: what is reached at a cost or less.
function stairs(x, y, room) {
  const front = DATA.points.filter((point) => point.on_front && costed(point)).sort((a, b) => a.edp_j_s - b.edp_j_s || a.quality - b.quality);
  if (front.length < 2) return null;
  let d = "";
  front.forEach((point, k) => { const px = x(point.edp_j_s), py = y(point.quality); d += k ? `H${px}V${py}` : `M${px} ${py}`; });
  return s("path", { class: "stairs", d: d + `H${room.right}` });
}
