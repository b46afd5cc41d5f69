// Four lanes of traces: HD as a broad light line, LD of the same electrode dashed on top.

const LANES = 4;
const INK = "#1b2733", SOFT = "#55626f", HD = "#8db8e6", LD = "#b4560a";

export class Traces {
  constructor(canvas, choosers, onChoice) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.layout = null;
    this.heights = new Array(LANES).fill(20);
    this.selects = [];
    for (let i = 0; i < LANES; i++) {
      const label = document.createElement("label");
      const select = document.createElement("select");
      const kind = document.createElement("span");
      select.setAttribute("aria-label", `Channel of trace ${i + 1}`);
      select.addEventListener("change", () => { this.chosen[i] = select.value; this.explain(i); onChoice(); });
      label.append(select, kind);
      choosers.append(label);
      this.selects.push([select, kind]);
    }
    this.chosen = [];
  }

  setLayout(layout) {
    const before = this.layout && this.layout.hd.labels.join("\n");
    this.layout = layout;
    if (before !== layout.hd.labels.join("\n")) this.fill();
    this.selects.forEach((_, i) => this.explain(i));
  }

  // Two channels that are worn, and two that nobody wears, spread over the head.
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
    const k = this.layout.hd.labels.indexOf(this.chosen[i]);
    const nmse = this.layout.hd.nmse[k];
    const error = nmse === null || nmse === undefined ? "" : `, error ${Math.round(100 * nmse)} %`;
    const kind = this.layout.hd.kinds[k] ?? "";
    const bad = this.layout.ld.bad[this.layout.ld.same.indexOf(k)];
    this.selects[i][1].textContent = bad ? "worn, bad" : kind === "measured" ? "worn" : kind ? `rendered${error}` : "";
  }

  focus(i) { this.selects[i]?.[0].focus(); }

  draw(hd, ld, seconds, gain) {
    const { canvas, context } = this;
    const scale = canvas.width / Math.max(canvas.clientWidth, 1);
    const width = canvas.clientWidth, height = canvas.clientHeight, foot = 20;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12px system-ui, sans-serif";
    const end = hd.newest;
    const lane = (height - foot) / LANES;
    this.axis(end, seconds, width, height, foot);
    for (let i = 0; i < LANES; i++) {
      const middle = (i + 0.5) * lane;
      context.strokeStyle = "#dfe4e9"; context.lineWidth = 1;
      context.beginPath(); context.moveTo(0, middle); context.lineTo(width, middle); context.stroke();
      if (!this.layout || !Number.isFinite(end)) continue;
      const k = this.layout.hd.labels.indexOf(this.chosen[i]);
      if (k < 0) continue;
      const half = gain === "auto" ? this.height(i, hd, k, end - seconds) : Number(gain);
      const y = (v) => middle - Math.max(-0.49, Math.min(0.49, v / (2 * half))) * lane;
      const x = (t) => width - ((end - t) / seconds) * width;
      context.setLineDash([]);
      this.line(hd, k, end - seconds, x, y, HD, 3);
      const worn = this.layout.ld.same.indexOf(k);
      if (worn >= 0) {
        context.setLineDash([5, 3]);
        this.line(ld, worn, end - seconds, x, y, LD, 1.1);
        context.setLineDash([]);
      }
      context.fillStyle = SOFT;
      context.fillText(`±${half} µV`, 2, middle - lane / 2 + 12);
    }
  }

  line(ring, channel, from, x, y, colour, width) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.beginPath();
    let pen = false, last = -Infinity;
    const gap = 4.5 / Math.max(this.layout.shown_hz, 1);
    for (let row = ring.since(from); row < ring.count; row++) {
      const at = row % ring.size, t = ring.times[at], v = ring.values[at * ring.n + channel];
      if (!Number.isFinite(v)) { pen = false; continue; }
      if (pen && t - last < gap) context.lineTo(x(t), y(v)); else context.moveTo(x(t), y(v));
      pen = true;
      last = t;
    }
    context.stroke();
  }

  // A height that fits, and changes only when it must.
  height(i, ring, channel, from) {
    let top = 0;
    for (let row = ring.since(from); row < ring.count; row++) {
      const v = Math.abs(ring.values[(row % ring.size) * ring.n + channel]);
      if (v > top && v < 1e5) top = v;
    }
    const now = this.heights[i];
    if (top > now || top < now * 0.35) {
      this.heights[i] = [10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 5000, 1e5].find((h) => h >= top * 1.05);
    }
    return this.heights[i];
  }

  axis(end, seconds, width, height, foot) {
    const { context } = this;
    context.fillStyle = SOFT;
    context.strokeStyle = "#eef1f4";
    context.lineWidth = 1;
    for (let s = 0; s <= seconds; s++) {
      const x = width - (s / seconds) * width;
      context.beginPath(); context.moveTo(x, 0); context.lineTo(x, height - foot); context.stroke();
      context.textAlign = s === 0 ? "right" : s === seconds ? "left" : "center";
      if (seconds <= 5 || s % 2 === 0) context.fillText(s === 0 ? "now" : `−${s} s`, x, height - 5);
    }
    context.textAlign = "left";
    context.fillStyle = INK;
  }
}
