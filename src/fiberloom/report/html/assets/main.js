// What is shown, and drawing it again when that changes.
const C = JSON.parse(at("content").textContent);
const state = { design: C.best, baseline: C.baseline, sort: { key: "order", direction: 1 }, filter: { text: "", op: "", bound: "" }, open: new Set() };

const answerOf = (layer, design) => (layer.answers[design] === null ? null : C.answers[layer.answers[design]]);

function drawCharts() {
  energyStrip();
  cyclesStrip();
  rooflineChart();
  occupancyStrip();
}

function draw() {
  const several = C.designs.length > 1;
  for (const place of document.querySelectorAll("h2 .on")) place.textContent = several ? "on " + C.designs[state.design].name : "";
  at("design").value = String(state.design);
  at("baseline").value = String(state.baseline);
  designTable();
  filterForm();
  layerTable();
  levelTable();
  savingsView();
  provenance();
  drawCharts();
}

function choose(design) {
  state.design = design;
  draw();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("fiberloom-theme", name); } catch { /* files may not store anything */ }
}

function start() {
  for (const layer of C.layers) layer.search = `${layer.name} ${layer.op} ${layer.shape} ${layer.einsum}`.toLowerCase();
  for (const id of ["design", "baseline"]) {
    fill(id, C.designs.map((design, i) => h("option", { value: String(i) }, design.name)));
    at(id).onchange = (event) => { state[id] = Number(event.target.value); draw(); };
  }
  for (const label of document.querySelectorAll(".choices label")) label.hidden = C.designs.length < 2;
  try { const kept = localStorage.getItem("fiberloom-theme"); if (kept === "light" || kept === "dark") theme(kept); } catch { /* as above */ }
  at("theme").onclick = () => theme((document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark" ? "light" : "dark");
  at("print").onclick = () => print();
  summaryFacts();
  designBars();
  coverage();
  draw();
  const wanted = /^#layer-(\d+)$/.exec(location.hash);
  if (wanted && C.layers[wanted[1] - 1]) openLayer(wanted[1] - 1);
  let waiting = 0, width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; clearTimeout(waiting); waiting = setTimeout(drawCharts, 120); } });
  addEventListener("beforeprint", drawCharts);
  addEventListener("afterprint", drawCharts);
  const links = new Map([...document.querySelectorAll(".bar nav a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) for (const [id, a] of links) id === entry.target.id ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current");
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const id of links.keys()) watch.observe(at(id));
}

if (C.designs.length) start();
else { summaryFacts(); coverage(); }
