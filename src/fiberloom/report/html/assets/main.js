// What is shown, and drawing it again when that changes.
const DATA = JSON.parse(at("content").textContent);
const ROWS = 200; // of the table of layers at first
const EMPTY = { name: "", settings: [], headline: DATA.headline, remarks: [], best: 0, geomean: [], designs: [], layers: [], omitted: [], kinds: [], failures: [] };
let C = { ...DATA, ...(DATA.cases[0] || EMPTY) }; // the case that is shown, with what all cases share
const state = { case: 0, metric: "edp", design: C.best, baseline: 0, sort: { key: "order", direction: 1 }, filter: { text: "", op: "", bound: "" }, open: new Set(), rows: ROWS, paper: false };

const answerOf = (layer, design) => (layer.answers[design] === null ? null : C.answers[layer.answers[design]]);

function drawCharts() {
  energyStrip();
  cyclesStrip();
  rooflineChart();
  occupancyStrip();
}

function draw() {
  const where = [C.designs.length > 1 && "on " + C.designs[state.design].name, DATA.cases.length > 1 && C.name].filter(Boolean).join(", ");
  for (const place of document.querySelectorAll("h2 .on")) place.textContent = where;
  for (const id of ["case", "design", "baseline"]) at(id).value = String(state[id]);
  caseTable();
  designTable();
  filterForm();
  layerTable();
  levelTable();
  keptView();
  savingsView();
  provenance();
  coverage();
  drawCharts();
}

function choose(design) {
  state.design = design;
  draw();
}

function chooseCase(number) {
  const shown = C.designs[state.design], base = C.designs[state.baseline];
  state.case = number;
  C = { ...DATA, ...DATA.cases[number] };
  const place = (design) => Math.max(0, C.designs.findIndex((other) => other.name === design.name));
  state.design = place(shown);
  state.baseline = place(base);
  state.open.clear();
  state.rows = ROWS;
  designChoices();
  drawCase();
}

function designChoices() {
  for (const id of ["design", "baseline"]) fill(id, C.designs.map((design, i) => h("option", { value: String(i) }, design.name)));
  for (const label of document.querySelectorAll(".choices .several")) label.hidden = C.designs.length < 2;
}

function drawCase() {
  for (const layer of C.layers) layer.search ||= `${layer.name} ${layer.op} ${layer.shape} ${layer.einsum} ${layer.others.join(" ")}`.toLowerCase();
  document.querySelector(".headline").textContent = C.headline;
  summaryFacts();
  designBars();
  draw();
}

// Paper gets all rows, and what is open after them.
function onPaper(paper) {
  state.paper = paper;
  if (paper) openedOnPaper();
  else fill("opened");
  if (paper) state.rows = Infinity;
  layerTable();
  drawCharts();
}

function start() {
  fill("case", DATA.cases.map((entry, i) => h("option", { value: String(i) }, entry.name)));
  at("case").onchange = (event) => chooseCase(Number(event.target.value));
  document.querySelector(".choices .cases").hidden = DATA.cases.length < 2;
  designChoices();
  for (const id of ["design", "baseline"]) at(id).onchange = (event) => { state[id] = Number(event.target.value); draw(); };
  drawCase();
  const wanted = /^#layer-(\d+)$/.exec(location.hash);
  if (wanted && C.layers[wanted[1] - 1]) openLayer(wanted[1] - 1);
  frame(drawCharts, onPaper);
}

if (C.designs.length) start();
else { summaryFacts(); coverage(); }
