// How strong which frequency is: of what is served, and of what comes before any filter.

import { COLOURS, GRID, LD, SOFT } from "./sweep.js";

// Greek letters of the bands, for where there is little room.
const LETTERS = { delta: "δ", theta: "θ", alpha: "α", beta: "β", gamma: "γ" };

function median(values) {
  const known = Float32Array.from(values).filter(Number.isFinite).sort();
  return known.length ? known[known.length >> 1] : NaN;
}

function medians(levels, wanted) {
  const rows = levels.filter((_, i) => wanted(i));
  return rows.length ? rows[0].map((_, f) => median(rows.map((row) => row[f]))) : null;
}

export class Spectrum {
  constructor(canvas, strengths, words) {
    [this.canvas, this.strengths, this.words] = [canvas, strengths, words];
    this.context = canvas.getContext("2d");
    this.found = this.layout = null;
  }

  setLayout(layout) { this.layout = layout; this.found = null; }

  show(found, of) {
    this.found = found;
    this.draw(of);
    this.tell(of);
  }

  // Lines of one channel, or the median ones of what is measured and rendered.
  curves(of) {
    const { found, layout } = this, { kinds, labels } = layout.hd, k = labels.indexOf(of);
    if (k >= 0) {
      const worn = layout.ld.same.indexOf(k);
      return [[found.ld[worn], LD, true], [found.hd[k], COLOURS[kinds[k]], false]];
    }
    return [[medians(found.ld, (i) => !layout.ld.bad[i]), LD, true],
      ...["virtual", "rendered", "measured"].map((kind) => [medians(found.hd, (i) => kinds[i] === kind), COLOURS[kind], false])];
  }

  draw(of) {
    const { canvas, context, found, layout } = this;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    const scale = canvas.width / width, left = 34, foot = 30, top = 6;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = SOFT;
    context.textAlign = "left";
    if (!found) { context.fillText("needs two seconds without a gap", left, 20); return; }
    const curves = this.curves(of).filter(([levels]) => levels?.length);
    const most = Math.min(66, found.everyHz * (Math.max(...curves.map(([l]) => l.length)) - 1));
    const first = Math.ceil(1 / found.everyHz);
    const seen = curves.flatMap(([levels]) => Array.from(levels.subarray(first, most / found.everyHz))).filter(Number.isFinite);
    if (!seen.length) { context.fillText("no numbers", left, 20); return; }
    const high = Math.ceil((Math.max(...seen) + 3) / 10) * 10, low = Math.max(high - 70, Math.floor(Math.min(...seen) / 10) * 10);
    const x = (hz) => left + (hz / most) * (width - left - 8), y = (db) => top + ((high - db) / (high - low)) * (height - top - foot);
    layout.bands.forEach(({ name, hz: [from, to] }, i) => {
      if (from >= most) return;
      const a = x(from), b = x(Math.min(to, most)), short = context.measureText(name).width > b - a - 4;
      context.fillStyle = i % 2 ? "#f4f6f8" : "#eaeff4";
      context.fillRect(a, top, b - a, height - top - foot + 13);
      context.fillStyle = SOFT;
      context.textAlign = "center";
      context.fillText(short ? LETTERS[name] : name, (a + b) / 2, height - foot + 10);
    });
    context.textAlign = "right";
    for (let db = low; db <= high; db += (high - low) > 40 ? 20 : 10) {
      context.fillStyle = GRID;
      context.fillRect(left, y(db), width - left - 8, 1);
      context.fillStyle = SOFT;
      context.fillText(db, left - 5, y(db) + 4);
    }
    context.textAlign = "center";
    for (let hz = 0; hz <= most; hz += 10) context.fillText(hz === 0 ? "Hz" : hz, x(hz), height - 4);
    if (found.mainsHz && found.mainsHz <= most) {
      context.fillStyle = LD;
      context.fillText("mains", x(found.mainsHz), top + 9);
      context.fillRect(x(found.mainsHz), top + 12, 1, height - foot - top - 12);
    }
    context.save();
    context.beginPath(); context.rect(left, top, width - left, height - top - foot); context.clip();
    for (const [levels, colour, dashed] of curves) {
      context.strokeStyle = colour;
      context.lineWidth = dashed ? 1.1 : 1.8;
      context.setLineDash(dashed ? [4, 3] : []);
      context.beginPath();
      for (let f = first; f < levels.length && f * found.everyHz <= most; f++) context.lineTo(x(f * found.everyHz), y(levels[f]));
      context.stroke();
    }
    context.restore();
  }

  // Bands and mains in words.
  tell(of) {
    const { found, layout } = this, { kinds, labels } = layout.hd, k = labels.indexOf(of);
    const columns = k >= 0 ? [[of, (i) => i === k]] :
      [["worn", (i) => kinds[i] === "measured"], ["rendered", (i) => kinds[i] === "rendered"], ["nobody wore", (i) => kinds[i] === "virtual"]]
        .filter(([, wanted]) => kinds.some((_, i) => wanted(i)));
    const cells = columns.map(([, wanted]) => found.hdBands.map((band) => median(band.filter((_, i) => wanted(i)))));
    const rows = [["", ...layout.bands.map(({ name }) => name)], ...columns.map(([name], c) => [name, ...cells[c].map(microvolts)])];
    this.strengths.replaceChildren(...rows.map((texts, r) => {
      const row = document.createElement("tr");
      row.append(...texts.map((text, i) => {
        const cell = document.createElement(r && i ? "td" : "th");
        cell.textContent = text;
        return cell;
      }));
      return row;
    }));
    const words = this.mains();
    if (this.words.textContent !== words) this.words.textContent = words;
    this.canvas.setAttribute("aria-label", `Spectrum of ${k >= 0 ? of : "worn and rendered channels"}. ${words}`);
  }

  mains() {
    const { found, layout } = this;
    const top = found.everyHz * ((found.ld[0]?.length ?? 0) - 1);
    if (!found.mainsHz) return top < 54 ? "Mains: the rate of LD is too low to tell." : "Mains: none stands out.";
    const worst = found.mains.reduce((a, v, i) => (v > (found.mains[a] || 0) ? i : a), 0);
    return `Mains ${found.mainsHz} Hz before the filter: median ${microvolts(median(found.mains))} µV, ` +
      `most at ${layout.ld.labels[worst]}, ${microvolts(found.mains[worst])} µV`;
  }
}

function microvolts(uv) {
  return !Number.isFinite(uv) ? "–" : uv < 10 ? uv.toFixed(1) : uv < 1e4 ? Math.round(uv).toString() : uv.toExponential(0);
}
