// Reads the server's binary messages (emag_rt/dashboard/wire.py).

export const SAMPLES = 1, HD_MAP = 2, LD_MAP = 3, SPECTRA = 4;

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
  const matrix = new Float32Array(buffer, at, nPixels * nUsed); at += 4 * nPixels * nUsed;
  return { number: view.getUint32(4, true), pixels, columns, matrix, trust: new Uint8Array(buffer, at, nPixels) };
}

// Levels come in half dB; here they are in dB of 1 µV²/Hz, one array a channel.
export function readSpectra(buffer) {
  const [, run, nHd, nLd, nHdFreqs, nLdFreqs, nBands] = new Uint32Array(buffer, 0, 7);
  let at = 28;
  const floats = (n) => { at += 4 * n; return new Float32Array(buffer, at - 4 * n, n); };
  const levels = (n, nFreqs) => Array.from({ length: n }, () => {
    at += nFreqs;
    return Float32Array.from(new Uint8Array(buffer, at - nFreqs, nFreqs), (v) => (v === 255 ? NaN : v / 2 - 40));
  });
  const [mainsHz, everyHz] = floats(2), mains = floats(nLd);
  const hdBands = Array.from({ length: nBands }, () => floats(nHd));
  const ldBands = Array.from({ length: nBands }, () => floats(nLd));
  return { run, mainsHz, everyHz, mains, hdBands, ldBands, hd: levels(nHd, nHdFreqs), ld: levels(nLd, nLdFreqs) };
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
    for (let i = 0; i < times.length; i++) this.push(times[i], values.subarray(i * this.n, (i + 1) * this.n));
  }

  push(time, row) {
    const at = this.count % this.size;
    this.times[at] = time;
    this.values.set(row, at * this.n);
    this.count++;
  }

  row(number) {
    const at = (number % this.size) * this.n;
    return this.values.subarray(at, at + this.n);
  }

  get oldest() { return Math.max(0, this.count - this.size); }

  get newest() {
    return this.count ? this.times[(this.count - 1) % this.size] : NaN;
  }

  // Mean of the last rows within `seconds` of the newest; 0 for the newest alone. NaN where any is.
  mean(seconds, out, end = this.newest) {
    out.fill(0);
    let used = 0;
    for (let row = this.until(end) - 1; row >= this.oldest; row--) {
      const at = row % this.size;
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
    return this.find((t) => t < time);
  }

  // The row number after the last that is not newer than `time`.
  until(time) { return time >= this.newest ? this.count : this.find((t) => t <= time); }

  find(before) {
    let low = this.oldest, high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(this.times[middle % this.size])) low = middle + 1; else high = middle;
    }
    return low;
  }
}
