// What the eye is shown of what came: filtered and re-referenced here alone, never in what is served.

import { Ring } from "./wire.js";

// Names, and the pass band in Hz (0: open on that side).
export const FILTERS = [
  ["as served", 0, 0], ["1 Hz and up", 1, 0], ["1 – 30 Hz", 1, 30], ["up to 15 Hz", 0, 15],
  ["theta 4 – 8", 4, 8], ["alpha 8 – 13", 8, 13], ["beta 13 – 30", 13, 30],
];

// Butterworth filters of fourth order, as two sections each.
function sections(low, high, rate) {
  const found = [], edges = [[true, low], [false, high]].filter(([, hz]) => hz);
  for (const [rising, hz] of edges) {
    const w = (2 * Math.PI * Math.min(hz, 0.45 * rate)) / rate, cos = Math.cos(w), way = rising ? 1 : -1;
    for (const q of [0.5412, 1.3066]) {
      const alpha = Math.sin(w) / (2 * q), b = (1 + way * cos) / 2;
      found.push([b, -2 * way * b, b, -2 * cos, 1 - alpha].map((v) => v / (1 + alpha)));
    }
  }
  // A rhythm in the middle of a narrow band keeps its height.
  const gain = low && high ? gainAt(found, (2 * Math.PI * Math.sqrt(low * Math.min(high, 0.45 * rate))) / rate) : 1;
  return found.map(([b0, b1, b2, ...a], i) => [...[b0, b1, b2].map((b) => (i ? b : b / gain)), ...a]);
}

function gainAt(found, w) {
  const size = (c0, c1, c2) => Math.hypot(c0 + c1 * Math.cos(w) + c2 * Math.cos(2 * w), c1 * Math.sin(w) + c2 * Math.sin(2 * w));
  return found.reduce((gain, [b0, b1, b2, a1, a2]) => (gain * size(b0, b1, b2)) / size(1, a1, a2), 1);
}

class Filter {
  constructor(sections, n) {
    this.sections = sections;
    this.state = sections.map(() => new Float64Array(2 * n));
    this.begun = new Uint8Array(n);
  }

  // In place; begins anew, without a jump, after values that are no numbers.
  run(row) {
    for (let c = 0; c < row.length; c++) {
      let x = row[c];
      if (!Number.isFinite(x)) { this.begun[c] = 0; continue; }
      for (let s = 0; s < this.sections.length; s++) {
        const [b0, b1, b2, a1, a2] = this.sections[s], z = this.state[s];
        if (!this.begun[c]) {
          const y = (x * (b0 + b1 + b2)) / (1 + a1 + a2);
          z[2 * c + 1] = b2 * x - a2 * y;
          z[2 * c] = b1 * x - a1 * y + z[2 * c + 1];
        }
        const y = b0 * x + z[2 * c];
        z[2 * c] = b1 * x - a1 * y + z[2 * c + 1];
        z[2 * c + 1] = b2 * x - a2 * y;
        x = y;
      }
      this.begun[c] = 1;
      row[c] = x;
    }
  }
}

export class View {
  constructor(nHd, nLd, size, rate) {
    this.rate = rate;
    this.raw = { hd: new Ring(nHd, size), ld: new Ring(nLd, size) };
    this.band = FILTERS[0];
    this.reference = -2;
    this.rebuild();
  }

  // `reference`: -2 as served, -1 the average of the HD channels, or one of them.
  set(filter, reference) {
    if (this.band === FILTERS[filter] && this.reference === reference) return;
    this.band = FILTERS[filter];
    this.reference = reference;
    this.rebuild();
  }

  rebuild() {
    const { hd, ld } = this.raw, [, low, high] = this.band;
    this.plain = !low && !high && this.reference === -2;
    if (this.plain) { [this.hd, this.ld] = [hd, ld]; return; }
    const found = sections(low, high, this.rate);
    [this.hd, this.ld] = [new Ring(hd.n, hd.size), new Ring(ld.n, ld.size)];
    this.filters = { hd: new Filter(found, hd.n), ld: new Filter(found, ld.n) };
    this.done = { hd: hd.oldest, ld: ld.oldest };
    this.hd.count = hd.oldest;
    this.ld.count = ld.oldest;
    this.follow();
  }

  add(found) {
    this.raw.hd.add(found.hdTimes, found.hd);
    this.raw.ld.add(found.ldTimes, found.ld);
    if (!this.plain) this.follow();
  }

  follow() {
    const { hd, ld } = this.raw, none = this.reference === -2;
    const row = new Float32Array(hd.n), worn = new Float32Array(ld.n);
    for (; this.done.hd < hd.count; this.done.hd++) {
      row.set(hd.row(this.done.hd));
      this.put(row, this.common(this.done.hd), this.filters.hd, this.hd, hd.times[this.done.hd % hd.size]);
    }
    // The reference is among the HD rows, which may come later than LD's.
    for (; this.done.ld < ld.count; this.done.ld++) {
      const time = ld.times[this.done.ld % ld.size];
      if (!none && !(time <= hd.newest)) break;
      worn.set(ld.row(this.done.ld));
      this.put(worn, none ? 0 : this.common(hd.until(time + 1e-4) - 1), this.filters.ld, this.ld, time);
    }
  }

  put(row, common, filter, ring, time) {
    if (common) for (let c = 0; c < row.length; c++) row[c] -= common;
    filter.run(row);
    ring.push(time, row);
  }

  common(number) {
    if (this.reference === -2 || number < this.raw.hd.oldest) return 0;
    const row = this.raw.hd.row(number);
    if (this.reference >= 0) return row[this.reference];
    let sum = 0, n = 0;
    for (const v of row) if (Number.isFinite(v)) { sum += v; n++; }
    return n ? sum / n : NaN;
  }
}
