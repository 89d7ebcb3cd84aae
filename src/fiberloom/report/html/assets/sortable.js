// Tables whose columns sort. A page says in `state` how many rows are shown, and whether it is on paper.
function sorted(items, columns, choice) {
  const column = columns.find((entry) => entry.key === choice.key) || columns[0], missing = (v) => v === null || v === undefined || (typeof v !== "string" && !known(v));
  return items.map((item, i) => ({ item, i, v: column.value(item, i) })).sort((a, b) => {
    if (missing(a.v) || missing(b.v)) return missing(a.v) - missing(b.v) || a.i - b.i; // missing values come last either way
    return (typeof a.v === "string" ? a.v.localeCompare(b.v, "en", { numeric: true }) : a.v - b.v) * choice.direction || a.i - b.i;
  });
}

function sortableTable(id, items, columns, choice, draw, text, row) {
  const head = (column) => h("th", { scope: "col", class: column.number ? "num" : null, "aria-sort": column.key === choice.key ? (choice.direction > 0 ? "ascending" : "descending") : "none" },
    state.paper ? column.title : h("button", { type: "button", class: "sort", "data-key": column.key, onclick: () => { choice.direction = choice.key === column.key ? -choice.direction : column.first || -1; choice.key = column.key; draw(); at(id).querySelector(`[data-key="${column.key}"]`).focus(); } }, column.title));
  const cell = (column, item, i) => h(column.head ? "th" : "td", { class: column.number ? "num" : column.name ? "name" : null, scope: column.head ? "row" : null }, column.show(item, i));
  const rows = sorted(items, columns, choice), shown = rows.slice(0, state.paper ? Infinity : state.rows);
  fill(id, h("table", {}, text && h("caption", {}, text), h("thead", {}, h("tr", {}, columns.map(head))), h("tbody", {}, shown.map(({ item, i }) => h("tr", { class: row(item, i) }, columns.map((column) => cell(column, item, i)))))),
    shown.length < rows.length && h("p", { class: "more" }, h("button", { type: "button", onclick: () => { state.rows = Infinity; draw(); } }, `Show all ${exact(rows.length)}`)));
}
