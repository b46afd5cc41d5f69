// Reads the server's binary messages (emag_rt/dashboard/wire.py).

export const SAMPLES = 1, HD_MAP = 2, LD_MAP = 3;

export function kindOf(buffer) {
  return new DataView(buffer).getUint32(0, true);
}

export function readSamples(buffer, nHd, nLd) {
  const view = new DataView(buffer);
  const run = view.getUint32(4, true), hdRows = view.getUint32(8, true), ldRows = view.getUint32(12, true);
  const size = 16 + 8 * (hdRows + ldRows) + 4 * (hdRows * nHd + ldRows * nLd);
  if (buffer.byteLength !== size) return null;
  let at = 16;
  const hdTimes = new Float64Array(buffer, at, hdRows); at += 8 * hdRows;
  const ldTimes = new Float64Array(buffer, at, ldRows); at += 8 * ldRows;
  const hd = new Float32Array(buffer, at, hdRows * nHd); at += 4 * hdRows * nHd;
  const ld = new Float32Array(buffer, at, ldRows * nLd);
  return { run, hdTimes, ldTimes, hd, ld };
}

export function readMap(buffer) {
  const view = new DataView(buffer);
  const nPixels = view.getUint32(8, true), nUsed = view.getUint32(12, true);
  let at = 16;
  const pixels = new Uint32Array(buffer, at, nPixels); at += 4 * nPixels;
  const columns = new Uint32Array(buffer, at, nUsed); at += 4 * nUsed;
  return { number: view.getUint32(4, true), pixels, columns, matrix: new Float32Array(buffer, at, nPixels * nUsed) };
}

// The newest rows of all channels, by time, in a ring.
export class Ring {
  constructor(nChannels, size) {
    this.n = nChannels;
    this.size = size;
    this.times = new Float64Array(size);
    this.values = new Float32Array(size * nChannels);
    this.count = 0;
  }

  add(times, values) {
    for (let i = 0; i < times.length; i++) {
      const at = this.count % this.size;
      this.times[at] = times[i];
      this.values.set(values.subarray(i * this.n, (i + 1) * this.n), at * this.n);
      this.count++;
    }
  }

  get newest() {
    return this.count ? this.times[(this.count - 1) % this.size] : NaN;
  }

  // Mean of the last rows within `seconds` of the newest; 0 for the newest alone. NaN where any is.
  mean(seconds, out) {
    out.fill(0);
    const end = this.newest;
    let used = 0;
    for (let back = 1; back <= Math.min(this.count, this.size); back++) {
      const at = (this.count - back) % this.size;
      if (used && end - this.times[at] > seconds) break;
      for (let c = 0; c < this.n; c++) out[c] += this.values[at * this.n + c];
      used++;
      if (!seconds) break;
    }
    for (let c = 0; c < this.n; c++) out[c] = used ? out[c] / used : NaN;
    return out;
  }

  // Row numbers from the oldest on that are not older than `time`.
  since(time) {
    const first = Math.max(0, this.count - this.size);
    let low = first, high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle % this.size] < time) low = middle + 1; else high = middle;
    }
    return low;
  }
}
