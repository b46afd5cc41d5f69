// Scalp maps: a matrix from channels to the pixels of a square, shown through a colour scale.

// ColorBrewer's RdBu (its blue half) and PuOr (its orange half): equal steps of lightness on both
// sides of white, and told apart with every kind of colour blindness.
const STOPS = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7",
  "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"];
const SIDE = 288;
const VIRTUAL = 576; // everything drawn over a map is measured on a square of this size
const LEVELS = 5; // contour lines on each side of zero

// Strengths have no sign: from nothing to dark.
const STRENGTHS = ["#fdfbfe", "#e6d8ee", "#c9aedb", "#a97fc2", "#8650a3", "#5f2b7f", "#35114f"];

function makeTable(stops) {
  const rgb = stops.map((s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16)));
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const x = (i / 255) * (stops.length - 1), k = Math.min(Math.floor(x), stops.length - 2), f = x - k;
    const [r, g, b] = rgb[k].map((v, c) => Math.round(v + f * (rgb[k + 1][c] - v)));
    table[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return table;
}

const SIGNED = makeTable(STOPS), UNSIGNED = makeTable(STRENGTHS);
const CONTOUR = (255 << 24) | (0x60 << 16) | (0x55 << 8) | 0x50;

export function drawScale(canvas, signed) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(1, 256);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(signed ? SIGNED : UNSIGNED).reverse());
  createImageBitmap(image).then((bitmap) => context.drawImage(bitmap, 0, 0, canvas.width, canvas.height));
}

export class ScalpMap {
  constructor(canvas, what) {
    this.canvas = canvas;
    this.what = what;
    this.context = canvas.getContext("2d");
    this.resize(300);
    this.buffer = document.createElement("canvas");
    this.buffer.width = this.buffer.height = SIDE;
    this.image = this.buffer.getContext("2d").createImageData(SIDE, SIDE);
    this.out = new Uint32Array(this.image.data.buffer);
    this.bands = new Int8Array(SIDE * SIDE);
    this.map = null;
    this.layout = { places: [], labels: [], bad: [], equator: 0.9 };
    this.version = 0;
    this.overlayKey = "";
  }

  // Pixels along a side, of the screen.
  resize(side) {
    this.canvas.width = this.canvas.height = this.side = Math.max(60, Math.round(side));
    this.context.setTransform(this.side / VIRTUAL, 0, 0, this.side / VIRTUAL, 0, 0);
    this.overlayKey = "";
  }

  // Where each shown pixel lies in the matrix's square: worked out once.
  prepare(grid, margin) {
    this.grid = grid;
    this.cells = new Float32Array(grid * grid);
    this.trust = new Float32Array(grid * grid);
    const index = [], at = [], fx = [], fy = [];
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) {
        const u = (x + 0.5) / SIDE * 2 - 1, v = (y + 0.5) / SIDE * 2 - 1;
        if (u * u + v * v > 1) continue;
        const gx = (u / margin + 1) / 2 * (grid - 1), gy = (v / margin + 1) / 2 * (grid - 1);
        index.push(y * SIDE + x);
        at.push(Math.floor(gy) * grid + Math.floor(gx));
        fx.push(gx % 1);
        fy.push(gy % 1);
      }
    }
    this.index = Uint32Array.from(index);
    this.at = Uint32Array.from(at);
    this.fx = Float32Array.from(fx);
    this.fy = Float32Array.from(fy);
    this.inside = new Uint8Array(SIDE * SIDE);
    for (const pixel of index) this.inside[pixel] = 1;
  }

  setLayout(layout) {
    this.layout = layout;
    this.version++;
  }

  // How far a pixel can be believed becomes how far it covers what is under it.
  setMap(map) {
    this.map = map;
    if (!map) return;
    map.pixels.forEach((pixel, p) => { this.trust[pixel] = map.trust[p]; });
    const { trust, grid, at, fx, fy } = this;
    this.alpha = Uint8Array.from(at, (a, i) => {
      const top = trust[a] + fx[i] * (trust[a + 1] - trust[a]);
      return top + fy[i] * (trust[a + grid] + fx[i] * (trust[a + grid + 1] - trust[a + grid]) - top);
    });
  }

  // Draws values (µV, one a channel); false, and the map is left empty, where there is no number.
  draw(values, range, names, signed) {
    const { map, cells } = this;
    let ok = map !== null && values !== null;
    let why = values === null ? "no data yet" : this.layout.places.some(Boolean) ? "too few good" : "no positions";
    if (ok) {
      const { pixels, columns, matrix } = map, n = columns.length;
      const used = new Float32Array(n);
      for (let c = 0; c < n; c++) {
        used[c] = values[columns[c]];
        if (!Number.isFinite(used[c])) [ok, why] = [false, "not rendered"];
      }
      for (let p = 0, k = 0; ok && p < pixels.length; p++) {
        let sum = 0;
        for (let c = 0; c < n; c++, k++) sum += matrix[k] * used[c];
        cells[pixels[p]] = sum;
      }
    }
    if (ok) this.paint(range, signed);
    this.compose(ok ? "" : why, names);
    return ok;
  }

  paint(range, signed) {
    const { cells, grid, index, at, fx, fy, out, bands, inside, alpha } = this;
    const gain = (signed ? 127.5 : 255) / range, zero = signed ? 127.5 : 0, step = LEVELS / range;
    const table = signed ? SIGNED : UNSIGNED;
    for (let i = 0; i < index.length; i++) {
      const a = at[i], x = fx[i], y = fy[i];
      const top = cells[a] + x * (cells[a + 1] - cells[a]);
      const low = cells[a + grid] + x * (cells[a + grid + 1] - cells[a + grid]);
      const value = top + y * (low - top);
      const colour = zero + value * gain;
      const pixel = index[i];
      const band = Math.max(-100, Math.min(100, Math.floor(value * step)));
      bands[pixel] = band;
      const line = (inside[pixel - 1] && band !== bands[pixel - 1]) ||
        (inside[pixel - SIDE] && band !== bands[pixel - SIDE]);
      const full = line ? CONTOUR : table[colour < 0 ? 0 : colour > 255 ? 255 : colour | 0];
      out[pixel] = (full & 0xffffff) | (alpha[i] << 24);
    }
    this.buffer.getContext("2d").putImageData(this.image, 0, 0);
  }

  compose(why, names) {
    const { context } = this;
    const size = VIRTUAL, half = size / 2, radius = half * 0.9;
    context.clearRect(0, 0, size, size);
    context.save();
    context.translate(half, half + size * 0.02);
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.save();
    context.clip();
    hatch(context, radius);
    if (!why) context.drawImage(this.buffer, -radius, -radius, 2 * radius, 2 * radius);
    context.restore();
    const key = `${names} ${this.version}`;
    if (key !== this.overlayKey) this.makeOverlay(size, radius, names);
    this.overlayKey = key;
    context.drawImage(this.overlay, -half, -half - size * 0.02, size, size);
    if (why) notice(context, why);
    context.restore();
  }

  // Head, electrodes and names: drawn when they change, copied otherwise.
  makeOverlay(size, radius, names) {
    this.overlay = document.createElement("canvas");
    this.overlay.width = this.overlay.height = this.side;
    const context = this.overlay.getContext("2d");
    context.scale(this.side / size, this.side / size);
    context.translate(size / 2, size / 2 + size * 0.02);
    context.strokeStyle = "#1b2733";
    const head = radius * Math.min(this.layout.equator, 1);
    context.lineWidth = 3;
    context.beginPath(); // nose and ears
    context.moveTo(-head * 0.1, -head * 0.995);
    context.lineTo(0, -head * 1.1);
    context.lineTo(head * 0.1, -head * 0.995);
    for (const side of [-1, 1]) {
      context.moveTo(side * head, -head * 0.16);
      context.quadraticCurveTo(side * head * 1.12, -head * 0.16, side * head * 1.05, head * 0.1);
      context.quadraticCurveTo(side * head * 1.05, head * 0.2, side * head * 0.98, head * 0.19);
    }
    context.moveTo(head, 0);
    context.arc(0, 0, head, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.stroke();
    electrodes(context, this.layout, radius, names, size / this.side);
  }

  describe(values, range, of) {
    const n = this.layout.labels.length;
    const known = values ? Array.from(values).filter(Number.isFinite) : [];
    const text = known.length
      ? `${Math.round(Math.min(...known))} to ${Math.round(Math.max(...known))} µV on a scale to ${range} µV`
      : "no data";
    this.canvas.setAttribute("aria-label", `${this.what} scalp map of ${of}, ${n} electrodes, ${text}`);
  }
}

function electrodes(context, layout, radius, names, unit) {
  const many = layout.labels.length > 90;
  context.font = `${(many ? 8.5 : 10.5) * unit}px system-ui, sans-serif`;
  context.textAlign = "center";
  layout.places.forEach((place, i) => {
    if (!place) return;
    const x = place[0] * radius, y = -place[1] * radius;
    if (layout.bad && layout.bad[i]) {
      context.lineWidth = 7; context.strokeStyle = "#fff"; cross(context, x, y, 10);
      context.lineWidth = 4; context.strokeStyle = "#8a1500"; cross(context, x, y, 10);
    } else {
      // Worn: full; rendered: small; nobody wore it: hollow.
      const kind = layout.kinds?.[i] ?? "measured";
      context.beginPath();
      context.arc(x, y, (kind === "rendered" ? 1.3 : 2.1) * (many ? 0.75 : 1) * unit, 0, 2 * Math.PI);
      context.fillStyle = kind === "virtual" ? "#fff" : "#1b2733";
      context.fill();
      if (kind === "virtual") { context.lineWidth = unit; context.strokeStyle = "#0b8577"; context.stroke(); }
    }
    if (names) {
      context.lineWidth = 4; context.strokeStyle = "rgb(255 255 255 / 85%)"; context.fillStyle = "#000";
      context.strokeText(layout.labels[i], x, y - 5 * unit);
      context.fillText(layout.labels[i], x, y - 5 * unit);
    }
  });
}

function cross(context, x, y, r) {
  context.beginPath();
  context.moveTo(x - r, y - r); context.lineTo(x + r, y + r);
  context.moveTo(x + r, y - r); context.lineTo(x - r, y + r);
  context.stroke();
}

function hatch(context, radius) {
  context.fillStyle = "#e4e8ec";
  context.fillRect(-radius, -radius, 2 * radius, 2 * radius);
  context.strokeStyle = "#d3dae0";
  context.lineWidth = 3;
  context.beginPath();
  for (let x = -2 * radius; x < 2 * radius; x += 18) {
    context.moveTo(x, radius); context.lineTo(x + 2 * radius, -radius);
  }
  context.stroke();
}

function notice(context, text) {
  context.font = "bold 30px system-ui, sans-serif";
  context.textAlign = "center";
  const width = context.measureText(text).width + 30;
  context.fillStyle = "#fff";
  context.fillRect(-width / 2, -28, width, 46);
  context.fillStyle = "#1b2733";
  context.fillText(text, 0, 5);
}
