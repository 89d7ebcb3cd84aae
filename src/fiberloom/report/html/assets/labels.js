// Names beside marks of a chart where there is room: the first in the list choose first.
function labels(items, room) {
  const taken = items.map(({ x, y }, k) => ({ k, box: [x - 7, y - 7, x + 7, y + 7] }));
  const meet = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1], names = [];
  const order = items.map((_, k) => k).filter((k) => items[k].text).sort((a, b) => Boolean(items[b].strong) - Boolean(items[a].strong));
  for (const k of order) {
    const { x: cx, y: cy, text: full, strong } = items[k], text = full.length > 30 ? full.slice(0, 29) + "…" : full, w = text.length * 6.4;
    for (const [x0, y0] of [[cx + 9, cy - 12], [cx + 12, cy], [cx - 9 - w, cy - 12], [cx - 12 - w, cy], [cx - w / 2, cy + 16], [cx + 9, cy + 13], [cx - w / 2, cy - 24]]) {
      const box = [x0, y0 - 7, x0 + w, y0 + 7];
      if (x0 < room.left || x0 + w > room.right + 16 || y0 < room.top - 6 || y0 > room.bottom - 6 || taken.some((other) => other.k !== k && meet(box, other.box))) continue;
      taken.push({ k: -1, box });
      names.push(s("text", { class: strong ? "strong halo" : "halo", x: x0, y: y0 + 4 }, text));
      break;
    }
  }
  return names;
}
