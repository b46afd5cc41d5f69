// The two panels of traces: every channel at one scale, and the chosen few.

import { COLOURS, GRID, HEIGHTS, LD, SOFT, Sweep, nice } from "./sweep.js";

// Every channel at one scale.
export class AllTraces extends Sweep {
  constructor(canvas) {
    super(canvas);
    this.thick = 1;
    this.first = 0;
    this.spacing = 0; // px of a lane; 0 fits all
    this.gain = 0; // µV of a lane; 0 finds one
    this.fitted = 100;
    this.wornFirst = false;
  }

  setLayout(layout) { this.layout = layout; this.dirty = true; }

  get order() {
    const kinds = this.layout.hd.kinds, all = kinds.map((_, i) => i);
    return this.wornFirst ? all.sort((a, b) => (kinds[a] !== "measured") - (kinds[b] !== "measured") || a - b) : all;
  }

  get laneUv() { return this.gain || this.fitted; }

  get room() { return Math.max(20, this.canvas.clientHeight - this.top - this.foot); }

  // Pixels of a lane, and how many there is room for.
  get measure() {
    const n = this.layout ? this.layout.hd.labels.length : 1;
    const lane = this.spacing || Math.max(6, Math.min(60, this.room / Math.max(n, 1)));
    return [lane, Math.max(1, Math.min(n, Math.floor(this.room / lane + 0.01))), n];
  }

  lanes() {
    const [lane, visible, n] = this.measure;
    this.first = Math.max(0, Math.min(n - visible, this.first));
    const spread = this.spacing ? 0 : (this.room - lane * visible) / 2;
    return this.order.slice(this.first, this.first + visible).map((k, i) => ({
      k, colour: COLOURS[this.kind(k)], middle: this.top + spread + (i + 0.5) * lane,
      perUv: lane / this.laneUv, reach: 3 * lane,
    }));
  }

  // Neighbours touch now and then; where there is little room, more often.
  fit() {
    const ring = this.view?.hd, all = [];
    if (this.gain || !ring || !ring.count) return;
    const from = ring.since(ring.newest - 4), step = Math.max(1, Math.ceil((ring.count - from) / 60));
    for (let row = from; row < ring.count; row += step) for (const v of ring.row(row)) if (Math.abs(v) < 1e5) all.push(Math.abs(v));
    if (!all.length) return;
    const top = (this.measure[0] < 14 && this.plot > 400 ? 1.3 : 2.2) * Float32Array.from(all).sort()[Math.floor(all.length * 0.9)];
    if (top > this.fitted * 1.25 || (top < this.fitted * 0.4 && this.fitted > 20)) { this.fitted = nice(Math.max(top, 20)); this.dirty = true; }
  }

  frame(still) {
    const { context, shown, width, layout } = this;
    const [lane, visible, n] = this.measure, narrow = width < 560;
    const every = Math.ceil(9 / lane);
    context.textBaseline = "middle";
    const bad = shown.map(({ k }) => this.kind(k) === "bad");
    shown.forEach(({ k, colour, middle }, i) => {
      // Where there is no room for all names, those of bad channels come first.
      if (!bad[i] && (i % every || (every > 1 && (bad[i - 1] || bad[i + 1])))) return;
      const kind = this.kind(k), sign = { measured: "●", virtual: "◌", bad: "✕" }[kind] ?? "○";
      context.font = `${kind === "measured" || kind === "bad" ? "600 " : ""}${Math.min(12, Math.max(8.5, lane))}px system-ui, sans-serif`;
      context.fillStyle = colour;
      context.textAlign = "left";
      context.fillText(`${sign} ${layout.hd.labels[k]}`, 2, middle, narrow ? 54 : 60);
      const error = layout.hd.nmse[k];
      if (narrow || kind === "measured" || error === null || error === undefined) return;
      context.font = `${Math.min(11, Math.max(8.5, lane))}px system-ui, sans-serif`;
      context.fillStyle = SOFT;
      context.textAlign = "right";
      context.fillText(`${Math.round(100 * error)} %`, this.left - 6, middle);
    });
    context.textBaseline = "alphabetic";
    // One lane's height in µV, and where we are among the channels.
    const x = width - this.right + 10, size = Math.min(lane, this.room), y = this.top + 12;
    context.fillStyle = SOFT;
    context.fillRect(x, y, 2, size);
    context.fillRect(x - 3, y, 8, 1.5);
    context.fillRect(x - 3, y + size - 1.5, 8, 1.5);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText(`${this.laneUv}`, x + 8, y + size / 2 - 2);
    context.fillText("µV", x + 8, y + size / 2 + 10);
    if (visible < n) {
      const from = y + size + 24, long = this.room - size - 40;
      context.fillStyle = GRID;
      context.fillRect(x - 2, from, 6, long);
      context.fillStyle = "#9aa7b3";
      context.fillRect(x - 2, from + (long * this.first) / n, 6, Math.max(8, (long * visible) / n));
    }
    this.axis(still);
  }

  draw(...rest) {
    const narrow = this.canvas.clientWidth < 560;
    [this.left, this.right] = narrow ? [60, 38] : [100, 42];
    super.draw(...rest);
  }

  scroll(by) {
    const [, visible, n] = this.measure, to = Math.max(0, Math.min(n - visible, this.first + by));
    if (to === this.first) return false;
    this.first = to;
    return this.dirty = true;
  }

  // By a finger that moved up by so many pixels: those used, or false where there is no more.
  drag(px) {
    const [lane, visible, n] = this.measure, whole = Math.round(px / lane);
    if (px > 0 ? this.first >= n - visible : this.first <= 0) return false;
    if (whole) this.scroll(whole);
    return whole * lane;
  }

  page(by) { this.scroll(by * Math.max(1, this.measure[1] - 2)); }

  space(by) {
    const [lane] = this.measure;
    this.spacing = Math.max(8, Math.min(240, Math.round(by > 0 ? lane * 1.25 + 1 : lane / 1.25 - 1)));
    this.dirty = true;
  }

  amplify(by) {
    const at = HEIGHTS.indexOf(this.laneUv);
    this.gain = HEIGHTS[Math.max(0, Math.min(HEIGHTS.length - 1, at - by))];
    this.dirty = true;
  }

  at(y) {
    const [lane] = this.measure;
    return this.shown.find(({ middle }) => Math.abs(y - middle) <= lane / 2)?.k ?? -1;
  }
}

const LANES = 4;

// The chosen few, large; LD of the same electrode lies dashed on top.
export class ChosenTraces extends Sweep {
  constructor(canvas, choosers, onChoice) {
    super(canvas);
    this.thick = 1.6;
    this.top = 2;
    this.right = 6;
    this.heights = new Array(LANES).fill(20);
    this.chosen = [];
    this.next = 0;
    this.onChoice = onChoice;
    this.badWords = "bad, filled";
    this.selects = [];
    for (let i = 0; i < LANES; i++) {
      const label = document.createElement("label");
      const select = document.createElement("select");
      const kind = document.createElement("span");
      select.setAttribute("aria-label", `Channel of trace ${i + 1}`);
      select.addEventListener("change", () => this.choose(i, select.value));
      label.append(select, kind);
      choosers.append(label);
      this.selects.push([select, kind]);
    }
  }

  choose(i, label) {
    this.chosen[i] = label;
    this.selects[i][0].value = label;
    this.explain(i);
    this.dirty = true;
    this.onChoice();
  }

  // One lane after the other takes what is clicked on.
  take(k) {
    this.choose(this.next, this.layout.hd.labels[k]);
    this.next = (this.next + 1) % LANES;
  }

  setLayout(layout) {
    const before = this.layout && this.layout.hd.labels.join("\n");
    this.layout = layout;
    if (before !== layout.hd.labels.join("\n")) this.fill();
    this.selects.forEach((_, i) => this.explain(i));
    this.dirty = true;
  }

  // Nothing is filled while too many are bad.
  setFilled(filled) {
    this.badWords = filled ? "bad, filled" : "bad, not filled";
    if (this.layout) this.selects.forEach((_, i) => this.explain(i));
  }

  // Two channels that are worn, and two that are not, spread over the head.
  fill() {
    const { labels, kinds } = this.layout.hd;
    const spread = (wanted) => {
      const rows = labels.map((_, i) => i).filter((i) => (kinds[i] === "measured") === wanted);
      return [rows[Math.floor(rows.length / 4)], rows[Math.floor((3 * rows.length) / 4)]];
    };
    const [a, b] = spread(true), [c, d] = spread(false);
    const first = [a, c, b, d].map((i, k) => labels[i ?? Math.min(k, labels.length - 1)] ?? "");
    this.chosen = first.map((label, k) => (labels.includes(this.chosen[k]) ? this.chosen[k] : label));
    this.selects.forEach(([select], i) => {
      select.replaceChildren(...labels.map((label) => new Option(label, label)));
      select.value = this.chosen[i];
    });
  }

  explain(i) {
    const k = this.layout.hd.labels.indexOf(this.chosen[i]), nmse = this.layout.hd.nmse[k];
    const error = nmse === null || nmse === undefined ? "" : `, ${Math.round(100 * nmse)} %`;
    const words = { bad: this.badWords, measured: "worn", rendered: `rendered${error}`, virtual: `nobody's${error}` };
    const kind = k < 0 ? "" : this.kind(k), [select, told] = this.selects[i];
    told.textContent = words[kind] ?? "";
    told.className = kind;
    const why = kind === "virtual" ? "nobody wore an electrode here" : kind === "rendered" ? "rendered from the worn ones" : "";
    told.title = why && error ? `${why}; expected error${error.slice(1)}` : why;
    select.title = told.title;
  }

  focus(i) { this.selects[i]?.[0].focus(); }

  lanes() {
    const lane = (this.height - this.top - this.foot) / LANES;
    return this.chosen.slice(0, LANES).map((label, i) => {
      const k = this.layout.hd.labels.indexOf(label), worn = this.layout.ld.same.indexOf(k);
      return { k, worn, colour: COLOURS[k < 0 ? "rendered" : this.kind(k)], middle: this.top + (i + 0.5) * lane, perUv: lane / (2 * this.heights[i]), reach: lane * 0.49 };
    }).filter(({ k }) => k >= 0);
  }

  // Heights that fit, and change only when they must.
  fit() {
    const ring = this.view?.hd;
    if (!ring || !this.layout) return;
    this.chosen.forEach((label, i) => {
      const k = this.layout.hd.labels.indexOf(label), now = this.heights[i];
      let top = 0;
      for (let row = ring.since(ring.newest - this.seconds); k >= 0 && row < ring.count; row++) {
        const v = Math.abs(ring.values[(row % ring.size) * ring.n + k]);
        if (v > top && v < 1e5) top = v;
      }
      if (top > now || top < now * 0.35) { this.heights[i] = nice(Math.max(top * 1.05, 10)); this.dirty ||= this.heights[i] !== now; }
    });
  }

  rules(a, b) {
    const { context } = this;
    context.fillStyle = GRID;
    for (const { middle } of this.shown) context.fillRect(a, middle, b - a, 1);
  }

  overlays(end) {
    const ring = this.view.ld, to = ring.until(end);
    const lanes = this.shown.filter(({ worn }) => worn >= 0);
    this.context.setLineDash([5, 4]);
    // Dashes go on where they were.
    this.context.lineDashOffset = this.x(ring.times[Math.max(this.ldDone - 1, 0) % ring.size]) % 9;
    this.stroke(ring, lanes, Math.max(this.ldDone - 1, ring.oldest), to, LD, 1.2, (lane) => lane.worn);
    this.context.setLineDash([]);
    this.ldDone = to;
  }

  frame(still) {
    const { context } = this, lane = (this.height - this.top - this.foot) / LANES;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = SOFT;
    context.textAlign = "right";
    this.shown.forEach(({ middle }, i) => context.fillText(`±${this.heights[i]}`, this.left - 4, middle - lane / 2 + 11));
    this.axis(still);
  }

  draw(...rest) {
    this.left = 44;
    super.draw(...rest);
  }
}
