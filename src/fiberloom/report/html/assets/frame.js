// What every page has: its theme, printing, the bar's links, and charts that follow the window.
function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("fiberloom-theme", name); } catch { /* files may not store anything */ }
}

function frame(drawCharts, onPaper) {
  try { const kept = localStorage.getItem("fiberloom-theme"); if (kept === "light" || kept === "dark") theme(kept); } catch { /* as above */ }
  at("theme").onclick = () => theme((document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark" ? "light" : "dark");
  at("print").onclick = () => print();
  let waiting = 0, width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; clearTimeout(waiting); waiting = setTimeout(drawCharts, 120); } });
  addEventListener("beforeprint", () => onPaper(true));
  addEventListener("afterprint", () => onPaper(false));
  const links = new Map([...document.querySelectorAll(".bar nav a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) for (const [id, a] of links) id === entry.target.id ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current");
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const id of links.keys()) watch.observe(at(id));
}
