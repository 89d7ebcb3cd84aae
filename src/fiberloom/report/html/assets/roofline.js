// Every layer under the roofs of the chosen design: lanes above, bandwidth of the outermost memory to the left.
function rooflineChart() {
  const design = C.designs[state.design], roof = design.roof;
  const items = layersShown().filter((item) => item.answer.intensity > 0 && item.answer.rate > 0);
  if (!items.length) return fill("roofline-chart", h("p", { class: "muted" }, "No layer of this design has both traffic and computations counted."));
  const width = widthOf("roofline-chart"), height = Math.min(430, Math.max(300, width * 0.42));
  const frame = { left: 62, right: width - 20, top: 14, bottom: height - 42 };
  const xs = items.map((item) => item.answer.intensity), ys = items.map((item) => item.answer.rate);
  const ridge = roof.lanes > 0 && roof.bandwidth > 0 ? roof.lanes / roof.bandwidth : null;
  const x = logScale(Math.min(...xs, ridge || Infinity) / 2, Math.max(...xs, ridge || 0) * 2.5, frame.left, frame.right);
  const y = logScale(Math.min(...ys) / 2, Math.max(...ys, roof.lanes || 0) * 1.8, frame.bottom, frame.top);
  const largest = Math.max(...items.map((item) => item.answer.cycles * item.layer.count).filter(known), 1);
  const radius = (item) => 4 + 11 * Math.sqrt((item.answer.cycles * item.layer.count || 0) / largest);
  const place = (k) => [x(items[k].answer.intensity), y(items[k].answer.rate)];
  const order = items.map((_, k) => k).sort((a, b) => radius(items[b]) - radius(items[a]));
  const points = order.map((k) => pointMark(place(k), radius(items[k]), design.components[items[k].answer.bound]));
  const sharing = (k) => { const [cx, cy] = place(k); return items.filter((_, other) => other !== k && Math.hypot(place(other)[0] - cx, place(other)[1] - cy) < 1).length; };
  const ring = s("circle", { class: "ring", r: 8, visibility: "hidden" });
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Roofline of ${design.name} with ${items.length} layers. Arrow keys step through the layers, Enter opens one.` },
    axes(x, y, frame, roof), roofLines(roof, ridge, x, y, frame), points, labelsOf(items, order, place, radius, frame, roofHits(roof, x, y), roof.lanes > 0 ? [[frame.right - 90, y(roof.lanes) - 22, frame.right, y(roof.lanes)]] : []), ring);
  explore(svg, {
    length: items.length, place,
    nearest: (px, py) => {
      let best = -1, least = 30 ** 2;
      items.forEach((item, k) => { const [cx, cy] = place(k); const d = (cx - px) ** 2 + (cy - py) ** 2; if (d < least || (d === least && radius(item) < radius(items[best]))) { least = d; best = k; } });
      return best;
    },
    mark: (k) => {
      ring.setAttribute("visibility", k < 0 ? "hidden" : "visible");
      if (k >= 0) { const [cx, cy] = place(k); ring.setAttribute("cx", cx); ring.setAttribute("cy", cy); ring.setAttribute("r", radius(items[k]) + 2.5); }
    },
    describe: (k) => {
      const { layer, answer, i } = items[k];
      return [`${i + 1}. ${layer.name}`, [["computations per cycle", significant(answer.rate)], ["per word of " + roof.level, significant(answer.intensity)], ["cycles", count(answer.cycles * layer.count)], ["set by", boundName(answer)], ["utilisation", percent(answer.utilization)], ...(sharing(k) ? [["at the same place", plural(sharing(k), "other layer")]] : [])]];
    },
    open: (k) => openLayer(items[k].i),
  });
  const bounds = design.components.filter((_, c) => items.some((item) => item.answer.bound === c));
  fill("roofline-chart", caption("Computations per cycle against computations per word of " + roof.level, "Only computations that take a cycle count, and everything that takes bandwidth: gated words and metadata too. Area of a mark: the layer's cycles. Choose a mark to open its layer." + (roof.note ? " " + roof.note : "")),
    legend(bounds.map((component) => [look(component), "set by " + component.name])), svg);
}

function axes(x, y, frame, roof) {
  return [
    logTicks(x).map((v) => [s("line", { class: "grid", x1: x(v), x2: x(v), y1: frame.top, y2: frame.bottom }), s("text", { x: x(v), y: frame.bottom + 17, "text-anchor": "middle" }, tick(v))]),
    logTicks(y).map((v) => [s("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(v), y2: y(v) }), s("text", { x: frame.left - 7, y: y(v) + 4, "text-anchor": "end" }, tick(v))]),
    s("line", { class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }), s("line", { class: "axis", x1: frame.left, x2: frame.left, y1: frame.top, y2: frame.bottom }),
    s("text", { x: (frame.left + frame.right) / 2, y: frame.bottom + 36, "text-anchor": "middle" }, "computations per word of " + roof.level),
    s("text", { x: 13, y: (frame.top + frame.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 13 ${(frame.top + frame.bottom) / 2})` }, "computations per cycle"),
  ];
}

function roofLines(roof, ridge, x, y, frame) {
  const parts = [];
  if (roof.lanes > 0) {
    const from = ridge === null ? frame.left : Math.max(frame.left, x(ridge));
    parts.push(s("line", { class: "roof", x1: from, x2: frame.right, y1: y(roof.lanes), y2: y(roof.lanes) }), s("text", { class: "strong halo", x: frame.right - 4, y: y(roof.lanes) - 7, "text-anchor": "end" }, exact(roof.lanes) + " lanes"));
  }
  if (roof.reads > 0) parts.push(slopedRoof(roof.reads, roof, x, y, "roof dashed"));
  if (roof.bandwidth > 0) {
    const left = Math.max(x.low, y.low / roof.bandwidth), right = ridge === null ? Math.min(x.high, y.high / roof.bandwidth) : ridge;
    if (left < right) {
      const [x1, y1, x2, y2] = [x(left), y(left * roof.bandwidth), x(right), y(right * roof.bandwidth)];
      const angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI, mx = (x1 + x2) / 2, my = (y1 + y2) / 2;
      parts.push(slopedRoof(roof.bandwidth, roof, x, y, "roof"));
      const text = `${roof.level}: ${significant(roof.bandwidth)} words per cycle`;
      if (Math.hypot(x2 - x1, y2 - y1) > text.length * 6.4) parts.push(s("text", { class: "strong halo", x: mx, y: my - 7, "text-anchor": "middle", transform: `rotate(${angle} ${mx} ${my})` }, text));
      else parts.push(s("text", { class: "strong", x: x2 + 8, y: Math.max(frame.top + 10, y2 + 26) }, text));
    }
  }
  return parts;
}

function slopedRoof(bandwidth, roof, x, y, look) {
  const left = Math.max(x.low, y.low / bandwidth), right = Math.min(x.high, (roof.lanes > 0 ? roof.lanes : y.high) / bandwidth);
  return left < right ? s("line", { class: look, x1: x(left), y1: y(left * bandwidth), x2: x(right), y2: y(right * bandwidth) }) : null;
}

// Round where arithmetic sets the cycles, square where a memory does: the difference shows without colour.
function pointMark([cx, cy], r, component) {
  const kind = component ? look(component) : "";
  if (!component || component.kind === "compute") return s("circle", { class: "point " + kind, cx, cy, r });
  const a = r * 0.886;
  return s("rect", { class: "point " + kind, x: cx - a, y: cy - a, width: 2 * a, height: 2 * a, rx: 1.5 });
}

// Names of the largest, where they don't run into each other: enough for paper, where nothing hovers.
// Whether a box of the picture touches a roof.
function roofHits(roof, x, y) {
  const meets = (limit, box) => [0, 0.25, 0.5, 0.75, 1].some((t) => { const py = limit(x.back(box[0] + t * (box[2] - box[0]))); return py > box[1] - 3 && py < box[3] + 3; });
  const ceiling = roof.lanes > 0 ? roof.lanes : Infinity;
  const limits = [roof.bandwidth, roof.reads].filter((v) => v > 0).map((v) => (at) => y(Math.min(ceiling, v * at)));
  if (!limits.length && roof.lanes > 0) limits.push(() => y(roof.lanes));
  return (box) => limits.some((limit) => meets(limit, box));
}

function labelsOf(items, order, place, radius, frame, blocked, taken) {
  const marks = items.map((item, k) => { const [cx, cy] = place(k), r = radius(item); return { k, box: [cx - r, cy - r, cx + r, cy + r] }; });
  const labels = [], meet = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
  for (const k of order.slice(0, 40)) {
    if (labels.length >= 8) break;
    const [cx, cy] = place(k), name = items[k].layer.name;
    const text = String(items[k].i + 1) + ". " + (name.length > 26 ? name.slice(0, 25) + "…" : name), w = text.length * 6.3;
    const r = radius(items[k]) + 5;
    const spots = [[cx + r, cy], [cx - r - w, cy], [cx - w / 2, cy + r + 7], [cx - w / 2, cy - r - 6]];
    for (const [x0, y0] of spots) {
      const box = [x0, y0 - 7, x0 + w, y0 + 7];
      if (x0 < frame.left || x0 + w > frame.right || y0 > frame.bottom - 8 || blocked(box) || taken.some((other) => meet(box, other)) || marks.some((mark) => mark.k !== k && meet(box, mark.box))) continue;
      taken.push(box);
      labels.push(s("text", { class: "strong halo", x: x0, y: y0 + 4 }, text));
      break;
    }
  }
  return labels;
}
