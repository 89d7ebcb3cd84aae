// The report of an exploration: the front, its designs and known ones, what the parameters do, and how it went.
const DATA = JSON.parse(at("content").textContent);
const ROWS = 100; // of the table of the front at first
const aims = DATA.measures.map((m, k) => [m, k]).filter(([m]) => m.aim).map(([, k]) => k);
const state = { x: aims.length > 1 ? aims[0] : Math.min(1, DATA.measures.length - 1), y: aims.length > 1 ? aims[1] : 0, chosen: 0, beside: Math.max(0, DATA.marks.findIndex((m, i) => i > 0 && m.source)) || Math.min(1, DATA.marks.length - 1),
  importance: 0, along: "designs", sort: { key: "m0", direction: DATA.measures[0].maximise ? -1 : 1 }, knownSort: { key: "m0", direction: 1 }, rows: ROWS, paper: false };

const PREFIXED = ["J", "s", "W", "J s"]; // units that take prefixes
function said(k, value) {
  const unit = DATA.measures[k].unit;
  if (PREFIXED.includes(unit)) return engineering(value, unit.replace(" ", "·"));
  return known(value) && (Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)) ? value.toExponential(2) : known(value) && Number.isInteger(value) ? exact(value) : significant(value);
}

function chooser(id, chosen, change) {
  const offered = DATA.marks.map((m, i) => [m, i]).filter(([m, i]) => m.kind === "front" || m.source || i === chosen);
  fill(id, offered.map(([m, i]) => h("option", { value: String(i), selected: i === chosen }, m.name)));
  at(id).onchange = (event) => change(Number(event.target.value));
}

function showDesign(i) {
  state.chosen = i;
  choosers();
  frontTable();
  knownTable();
  besideSection();
  frontChart();
}

function showBeside(i) {
  state.beside = i;
  choosers();
  besideSection();
}

function choosers() {
  chooser("design", state.chosen, showDesign);
  chooser("other", state.beside, showBeside);
}

function drawCharts() {
  frontChart();
  importanceChart();
  progressCharts();
}

function onPaper(paper) {
  state.paper = paper;
  frontTable();
  knownTable();
  drawCharts();
}

fill("facts", DATA.facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
fill("remarks", DATA.remarks.map((text) => h("li", {}, text)));
losses();
if (DATA.marks.length) showDesign(0);
else for (const id of ["front-table", "known-table", "known-title", "beside"]) at(id).hidden = true;
drawCharts();
frame(drawCharts, onPaper);
