// Traces that are written from left to right over those of the page before, as monitors do it:
// only what is new is drawn. Held still, the newest stands at the right.

export const COLOURS = { measured: "#22303c", rendered: "#1c6dd0", virtual: "#0b8577", bad: "#c01f17" };
export const SOFT = "#5a6773", GRID = "#e6eaee", LD = "#e07b00", MARK = "#7a1fa2";
export const HEIGHTS = [5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000, 1e4, 1e5];
const AHEAD = 14; // pixels that are wiped before the pen
const STRIP = 16, LABEL = 130; // the strip above the traces, and the room of one event's name in it

export const nice = (uv) => HEIGHTS.find((h) => h >= uv) ?? HEIGHTS.at(-1);

export class Sweep {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.layout = null;
    this.dirty = true;
    this.top = STRIP; this.foot = 18; this.left = 0; this.right = 0;
  }

  // New rows, or all of them where anything else has changed.
  draw(view, seconds, still, marks) {
    const { canvas, context } = this;
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    if (!this.width || !this.height) return;
    const scale = canvas.width / this.width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.view = view;
    this.seconds = seconds;
    this.plot = Math.max(10, this.width - this.left - this.right);
    const end = still ?? (view ? view.hd.newest : NaN);
    const all = !view || this.dirty || still !== null || seconds !== this.drawnSeconds || view.hd !== this.ring ||
      !(end - this.end < seconds / 2 && end >= this.end);
    if (all) this.whole(end, still !== null, marks); else if (end > this.end) this.advance(end, marks);
    if (view) [this.ring, this.done] = [view.hd, view.hd.count];
    [this.drawnSeconds, this.nMarks, this.dirty] = [seconds, marks.length ? marks.at(-1).number : 0, still !== null];
    this.end = end;
  }

  whole(end, still, marks) {
    const { context, left, plot, seconds } = this;
    context.clearRect(0, 0, this.width, this.height);
    this.shown = this.layout ? this.lanes() : [];
    this.frame(still);
    this.grid(left, left + plot);
    if (!Number.isFinite(end)) return;
    const from = end - seconds * (still ? 1 : 1 - (AHEAD + 4) / plot);
    this.x = still ? (t) => left + (1 - (end - t) / seconds) * plot : (t) => left + ((t / seconds) % 1) * plot;
    this.ldDone = this.view.ld.since(from);
    this.lines(this.view.hd.since(from), this.view.hd.until(end));
    this.overlays(end);
    this.named = -Infinity;
    const since = still ? from : this.oldest(end);
    for (const mark of marks) if (mark.t > since && mark.t <= end) this.mark(mark);
  }

  advance(end, marks) {
    const { plot, seconds } = this, was = this.end;
    const at = this.x(was), far = ((end - was) / seconds) * plot;
    this.wipe(at, far + AHEAD, this.top, this.height - this.top - this.foot, true);
    this.wipe(at + AHEAD + LABEL, far, 0, this.top, false);
    this.lines(Math.max(this.done - 1, this.view.hd.oldest), this.view.hd.count);
    this.overlays(end);
    for (const mark of marks) {
      const late = mark.number > this.nMarks && mark.t <= was && mark.t > this.oldest(end);
      if (late || (mark.t > was && mark.t <= end)) this.mark(mark);
    }
  }

  // Marks before this are about to be wiped, name first.
  oldest(end) { return end - this.seconds * (1 - (AHEAD + LABEL + 8) / this.plot); }

  wipe(from, length, y, height, grid) {
    const { context, left, plot } = this, end = left + plot;
    const start = left + ((from - left) % plot);
    for (const [a, b] of [[start, Math.min(start + length, end)], [left, Math.min(left + start + length - end, end)]]) {
      if (b <= a) continue;
      context.clearRect(a, y, b - a, height);
      if (grid) this.grid(a, b);
    }
  }

  // Upright lines at the seconds, and what a lane has of its own, between two places.
  grid(a, b) {
    const { context, left, plot, seconds } = this;
    context.fillStyle = GRID;
    const every = seconds > 20 ? 5 : 1;
    for (let s = 0; s <= seconds; s += every) {
      const x = left + (s / seconds) * plot;
      if (x >= a - 1 && x <= b) context.fillRect(x, this.top, 1, this.height - this.top - this.foot);
    }
    this.rules(a, b);
  }

  rules() {}

  lines(from, to) {
    const kinds = new Map();
    for (const lane of this.shown) {
      if (!kinds.has(lane.colour)) kinds.set(lane.colour, []);
      kinds.get(lane.colour).push(lane);
    }
    for (const [colour, lanes] of kinds) this.stroke(this.view.hd, lanes, from, to, colour, this.thick, (lane) => lane.k);
  }

  overlays() {}

  stroke(ring, lanes, from, to, colour, thick, channel) {
    const { context, x } = this, { times, values, size, n } = ring;
    const gap = 4.5 / Math.max(this.layout.shown_hz, 1);
    const dense = (to - from) / this.plot > 1.5;
    context.save();
    context.beginPath();
    context.rect(this.left, this.top, this.plot, this.height - this.top - this.foot);
    context.clip();
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.lineJoin = "round";
    context.beginPath();
    for (const lane of lanes) {
      const k = channel(lane), { middle, perUv, reach } = lane;
      let pen = false, last = -Infinity, column = -1, low = 0, high = 0, before = -Infinity;
      const flush = () => { if (column >= 0) { context.lineTo(column, low); context.lineTo(column, high); } column = -1; };
      for (let row = from; row < to; row++) {
        const at = row % size, t = times[at], v = values[at * n + k];
        if (!(v - v === 0)) { flush(); pen = false; continue; }
        const px = x(t), off = v * perUv, y = middle - (off > reach ? reach : off < -reach ? -reach : off);
        if (!pen || t - last > gap || px < before) {
          flush();
          context.moveTo(px, y);
        } else if (!dense) context.lineTo(px, y);
        else if ((px | 0) === column) { if (y < low) low = y; if (y > high) high = y; }
        else { flush(); column = px | 0; low = high = y; }
        pen = true; last = t; before = px;
      }
      flush();
    }
    context.stroke();
    context.restore();
  }

  mark({ t, text }) {
    const { context, width, right } = this, x = this.x(t);
    context.fillStyle = MARK;
    context.globalAlpha = 0.75;
    context.fillRect(x - 0.75, this.top - 3, 1.5, this.height - this.top - this.foot + 3);
    context.globalAlpha = 1;
    // Of many that come together, one is named.
    if (this.top < STRIP || (Math.abs(t - this.named) / this.seconds) * this.plot < 24) return;
    this.named = t;
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "left";
    while (text && context.measureText(text).width > LABEL - 8) text = `${text.slice(0, -2).trimEnd()}…`;
    const wide = context.measureText(text).width, at = Math.min(x - 3, width - right - wide - 2);
    context.clearRect(at - 2, 0, wide + 6, this.top - 3);
    context.fillText(text, at, 10);
  }

  // Seconds below.
  axis(still) {
    const { context, left, plot, seconds, height } = this;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = SOFT;
    const every = seconds > 10 ? 5 : plot / seconds < 34 ? 2 : 1;
    for (let s = 0; s <= seconds; s += every) {
      context.textAlign = s === 0 ? "left" : s === seconds ? "right" : "center";
      const back = seconds - s;
      const text = still ? (back ? `−${back} s` : this.behind ? `${this.behind.toFixed(1)} s ago` : "now") : `${s} s`;
      context.fillText(text, left + (s / seconds) * plot, height - 4);
    }
  }

  kind(k) {
    const { hd, ld } = this.layout, worn = ld.same.indexOf(k);
    return worn >= 0 && ld.bad[worn] ? "bad" : hd.kinds[k];
  }
}
