// Elements from data. Text is always text: names from a network never become markup.
function build(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [property, v] of Object.entries(value)) made.style.setProperty(property, v);
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) made.append(child);
  return made;
}
const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const at = (id) => document.getElementById(id);
const fill = (id, ...children) => at(id).replaceChildren(...children.flat(Infinity).filter(Boolean));

const caption = (title, text) => h("figcaption", {}, h("strong", {}, title), text && h("p", {}, text));
const swatch = (kind) => h("span", { class: "swatch " + kind, "aria-hidden": "true" });
const tag = (kind, text) => h("span", { class: "tag" }, swatch(kind), text);
const legend = (entries) => h("ul", { class: "legend" }, entries.map(([kind, text]) => h("li", { class: "tag" }, swatch(kind), text)));

// The note beside the pointer, or beside a chart's own cursor: a title and pairs.
const tip = {
  show(x, y, title, pairs) {
    const box = at("tip");
    box.replaceChildren(h("b", {}, title), h("dl", {}, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = Math.max(6, Math.min(x + 14, innerWidth - width - 8)) + "px";
    box.style.top = (y + 16 + height > innerHeight ? Math.max(6, y - height - 12) : y + 16) + "px";
  },
  hide() { at("tip").hidden = true; },
};

// A chart whose items the pointer and the arrow keys step through; Enter or a click opens one.
function explore(svg, { length, nearest, place, describe, mark, open }) {
  let current = -1;
  const show = (i, x, y) => {
    current = i;
    mark(i);
    if (i < 0) return tip.hide();
    const box = svg.getBoundingClientRect();
    const [px, py] = place(i);
    const scale = box.width / svg.viewBox.baseVal.width;
    tip.show(x ?? box.left + px * scale, y ?? box.top + py * scale, ...describe(i));
  };
  const local = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    return nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
  };
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("pointermove", (event) => show(local(event), event.clientX, event.clientY));
  svg.addEventListener("pointerleave", () => show(-1));
  svg.addEventListener("blur", () => show(-1));
  svg.addEventListener("click", (event) => { const i = local(event); if (i >= 0) open(i); });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) show(Math.max(0, Math.min(length - 1, current < 0 ? (step > 0 ? 0 : length - 1) : current + step)));
    else if (event.key === "Home") show(0);
    else if (event.key === "End") show(length - 1);
    else if (event.key === "Escape") show(-1);
    else if (event.key === "Enter" && current >= 0) open(current);
    else return;
    event.preventDefault();
  });
}
