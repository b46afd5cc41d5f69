// The dashboard's page: one websocket in, nothing out.

import { HD_MAP, SAMPLES, SPECTRA, kindOf, readMap, readSamples, readSpectra } from "./wire.js";
import { FILTERS, View } from "./view.js";
import { ScalpMap, drawScale } from "./maps.js";
import { AllTraces, ChosenTraces } from "./traces.js";
import { Spectrum } from "./spectrum.js";
import { drawLatency, showPanels, showState } from "./panels.js";
import { listenToFinger, listenToKeys } from "./keys.js";

const $ = (id) => document.getElementById(id);
const NICE = [2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 500];
const KEEP_S = 62, KEEP_BYTES = 48e6;
const LIVE = ["running", "waiting", "no_eeg", "wrong_input", "too_many_bad"];

const ldMap = new ScalpMap($("ld-map"), "LD"), hdMap = new ScalpMap($("hd-map"), "HD");
const all = new AllTraces($("all"));
const few = new ChosenTraces($("trace"), $("choosers"), () => { stale = true; });
const spectrum = new Spectrum($("spectrum"), $("strengths"), $("mains"));
let layout = null, view = null, bands = null, marks = [];
let hdNow = null, ldNow = null, range = 20, still = null, stale = true, fresh = false, turn = 0, mapAt = NaN;
let lastState = "offline", ldNote = "", dropped = 0, frames = [], described = 0, lastMessage = null;
const figures = { fps: 0, frames: 0, messages: 0, drawing_ms: 0 };
window.emagDashboard = figures;

function onLayout(message) {
  const restarted = !layout || layout.run !== message.run;
  layout = message;
  for (const [map, part] of [[hdMap, message.hd], [ldMap, message.ld]]) {
    map.prepare(message.grid, message.margin);
    map.setLayout({ ...part, equator: message.equator });
    map.setMap(null);
  }
  if (restarted) {
    const nHd = message.hd.labels.length, nLd = message.ld.labels.length, rate = Math.max(message.shown_hz, 1);
    const keep = Math.max(12, Math.min(KEEP_S, KEEP_BYTES / (4 * (nHd + nLd) * rate || 1)));
    view = new View(nHd, nLd, Math.ceil(keep * rate) + 50, rate);
    hdNow = new Float32Array(nHd);
    ldNow = new Float32Array(nLd);
    bands = still = null;
    spectrum.setLayout(message);
    options($("reference"), [["as served", -2], ["average", -1], ...message.hd.labels.map((label, k) => [label, k])]);
    options($("spectrum-of"), [["median channels", ""], ...message.hd.labels.map((label) => [label, label])]);
    options($("of"), [["voltage", -1], ...message.bands.map(({ name, hz }, i) => [`${name} ${hz[0]} – ${hz[1]} Hz`, i])]);
    look();
  }
  spectrum.layout = message;
  all.setLayout(message);
  few.setLayout(message);
  counts();
  $("hd-count").textContent = message.hd.labels.length ? `, ${message.hd.labels.length} channels` : "";
  ldCount();
  stale = true;
}

// How many channels are of which kind.
function counts() {
  const { hd, ld } = layout, bad = ld.bad.filter((b, i) => b && ld.same[i] >= 0).length;
  for (const [kind, words] of Object.entries({ measured: "worn", rendered: "rendered", virtual: "nobody wore this", bad: few.badWords })) {
    const n = kind === "bad" ? bad : hd.kinds.filter((k) => k === kind).length - (kind === "measured" ? bad : 0);
    $(`n-${kind}`).hidden = !n;
    $(`n-${kind}`).textContent = `${n} ${words}`;
  }
}

// Choices that stay chosen where they still exist.
function options(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([text, value]) => new Option(text, value)));
  if (pairs.some(([, value]) => String(value) === before)) select.value = before;
}

function ldCount() {
  const n = layout ? layout.ld.labels.length : 0;
  const text = ldNote ? `: ${ldNote}` : n ? `, ${n} channels` : "";
  if ($("ld-count").textContent !== text) $("ld-count").textContent = $("ld-count").title = text;
}

function onBinary(buffer) {
  const kind = kindOf(buffer);
  if (kind === SAMPLES) {
    const found = layout && readSamples(buffer, view.raw.hd.n, view.raw.ld.n);
    if (!found || found.run !== layout.run) return;
    view.add(found);
    figures.messages++;
    fresh = true;
  } else if (kind === SPECTRA) {
    const found = readSpectra(buffer);
    if (!layout || found.run !== layout.run || still !== null) return;
    bands = found;
    spectrum.show(found, $("spectrum-of").value);
    stale ||= mapOf() >= 0;
  } else {
    const map = readMap(buffer);
    if (!layout || map.number !== layout.number) return;
    (kind === HD_MAP ? hdMap : ldMap).setMap(map);
    stale = true;
  }
}

function onText(message) {
  if (message.type === "layout") onLayout(message);
  else if (message.type === "dropped") dropped = message.frames;
  else if (message.type === "error") showState(lastState = "offline", "Error in the dashboard", message.text);
  else {
    lastMessage = message;
    lastState = message.state;
    showState(message.state, still === null ? message.title : `${message.title} (paused)`, message.text, message.quality.some((c) => c.bad));
    showPanels(message, LIVE.includes(message.state));
    ldNote = message.ld_note;
    few.setFilled(!message.unrendered);
    if (layout) counts();
    const first = message.n_events - message.events.length + 1;
    marks = message.events.map((event, i) => ({ t: event.stamp ?? NaN, text: event.event.replaceAll("_", " "), number: first + i }));
    ldCount();
  }
}

function connect() {
  const socket = new WebSocket(`ws://${location.host}/ws`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => {
    if (typeof event.data === "string") onText(JSON.parse(event.data)); else onBinary(event.data);
  };
  socket.onclose = (event) => {
    if (lastState !== "stopped") {
      const before = ["wrong_input", "no_eeg"].includes(lastState) ? ` Before: ${$("words").textContent}` : "";
      if (lastState !== "offline") {
        const why = event.reason || "The dashboard's own process has ended. Serving may well go on.";
        showState(lastState = "offline", "No dashboard", `${why} Trying again every second.${before}`);
      }
    }
    layout = null;
    setTimeout(connect, 1000);
  };
}

const mapOf = () => Number($("of").value);

// The least of the nice ranges that holds nearly all of what came lately; slow to fall.
function fit() {
  if ($("range").value !== "auto") { range = Number($("range").value); return; }
  let found = [];
  if (mapOf() >= 0) found = bands ? bands.hdBands[mapOf()].filter(Number.isFinite) : [];
  else if (view) {
    const ring = view.hd, from = ring.since(ring.newest - 3), step = Math.max(1, Math.floor((ring.count - from) / 100));
    for (let row = from; row < ring.count; row += step) for (const v of ring.row(row)) if (Math.abs(v) < 1e5) found.push(Math.abs(v));
  }
  if (!found.length) return;
  const top = Float32Array.from(found).sort()[Math.floor(found.length * 0.98)];
  if (top > range || top < range * 0.4) range = NICE.find((x) => x >= Math.max(top, mapOf() < 0 ? 10 : 2)) ?? 500;
}

function drawMap(map, worn) {
  const seconds = Number($("smooth").value), names = $("names").checked, band = mapOf();
  const ring = view && (worn ? view.ld : view.hd), now = worn ? ldNow : hdNow;
  const values = band >= 0 ? (bands && (worn ? bands.ldBands : bands.hdBands)[band]) : ring?.count ? ring.mean(seconds, now, mapAt) : null;
  map.draw(values?.length ? values : null, range, names, band < 0);
}

function drawTraces() {
  const seconds = Number($("seconds").value);
  all.behind = few.behind = still === null || !view ? 0 : view.hd.newest - still;
  all.draw(view, seconds, still, marks);
  few.draw(view, seconds, still, marks);
}

function frame(now) {
  requestAnimationFrame(frame);
  if (still !== null && !stale) return;
  if (!fresh && !stale) return;
  const begun = performance.now(), live = fresh, whole = stale;
  fresh = stale = false;
  if (whole) { all.dirty = few.dirty = true; scale(); }
  drawTraces();
  // Maps cost a processor without a GPU most: they take turns, and both show the same instant.
  turn ^= 1;
  if (view && (whole || turn)) mapAt = still ?? Math.min(view.hd.newest, view.ld.count ? view.ld.newest : Infinity);
  if (mapOf() < 0 || whole) {
    if (whole || turn) drawMap(hdMap, false);
    if (whole || !turn) drawMap(ldMap, true);
  }
  if (live) {
    frames.push(now);
    figures.frames++;
  }
  figures.drawing_ms += 0.05 * (performance.now() - begun - figures.drawing_ms);
}

let shownScale = "";
function scale() {
  const signed = mapOf() < 0;
  $("scale-top").textContent = signed ? `+${range}` : range;
  $("scale-bottom").textContent = signed ? `−${range}` : 0;
  if (shownScale !== String(signed)) drawScale($("scale-bar"), signed);
  shownScale = String(signed);
}

setInterval(() => {
  fit();
  scale();
  if (still === null && view) { all.fit(); few.fit(); }
  const now = performance.now();
  frames = frames.filter((t) => now - t < 2000);
  figures.fps = frames.length / 2;
  figures.range = range;
  figures.state = lastState;
  const missed = dropped ? `  ·  ${dropped} messages left out for this browser` : "";
  $("rate").textContent = `${Math.round(figures.fps)} pictures a second${missed}`;
  if (layout) {
    const [, visible, n] = all.measure;
    const from = all.first + 1;
    $("shown").textContent = visible < n ? `${from} – ${from + visible - 1} of ${n}` : `${n}`;
    document.body.classList.toggle("pages", visible < n);
  }
  $("lane-uv").textContent = `${all.laneUv} µV`;
  if (view && now - described > 2000) {
    described = now;
    const of = $("of").selectedOptions[0].textContent;
    hdMap.describe(view.hd.count ? hdNow : null, range, of);
    ldMap.describe(view.ld.count ? ldNow : null, range, of);
  }
}, 250);

function pause(end = still === null ? view?.hd.newest ?? NaN : null) {
  still = end;
  $("pause").setAttribute("aria-pressed", String(still !== null));
  $("pause").firstChild.textContent = still !== null ? "Go on" : "Pause";
  document.body.classList.toggle("still", still !== null);
  stale = true;
}

function goBack(share) {
  if (!view?.hd.count) return;
  const seconds = Number($("seconds").value), oldest = view.hd.times[view.hd.oldest % view.hd.size];
  pause(Math.min(view.hd.newest, Math.max(oldest + seconds, (still ?? view.hd.newest) + share * seconds)));
}

function stepRange(by) {
  const at = NICE.findIndex((x) => x >= range);
  range = NICE[Math.max(0, Math.min(NICE.length - 1, at + by))];
  $("range").value = String(range);
  stale = true;
}

// Filter and reference of the view, and whatever else was chosen.
function look() {
  view?.set(Number($("filter").value), Number($("reference").value || -2));
  all.wornFirst = $("worn-first").checked;
  fit();
  if (bands) spectrum.show(bands, $("spectrum-of").value);
  stale = true;
}

function next(id) {
  const select = $(id);
  select.selectedIndex = (select.selectedIndex + 1) % select.length;
  look();
}

function allAuto() {
  $("range").value = "auto";
  all.gain = 0;
  look();
  all.fit();
}

const act = (what) => () => { what(); stale = true; };
listenToKeys({
  " ": () => pause(), arrowleft: () => goBack(-0.25), arrowright: () => goBack(0.25),
  "+": act(() => all.amplify(1)), "=": act(() => all.amplify(1)), "-": act(() => all.amplify(-1)),
  "[": act(() => all.space(-1)), "]": act(() => all.space(1)), 0: act(() => { all.spacing = 0; }),
  arrowup: act(() => all.scroll(-1)), arrowdown: act(() => all.scroll(1)),
  pageup: act(() => all.page(-1)), pagedown: act(() => all.page(1)),
  home: act(() => all.scroll(-1e6)), end: act(() => all.scroll(1e6)),
  t: () => next("seconds"), f: () => next("filter"), r: () => next("reference"), m: () => next("of"),
  w: () => { $("worn-first").checked = !$("worn-first").checked; look(); },
  ",": () => stepRange(-1), ".": () => stepRange(1), a: allAuto,
  s: () => next("smooth"), n: () => { $("names").checked = !$("names").checked; look(); },
  q: () => tab("quality", true), l: () => tab("log", true),
  "?": () => $("keys").showModal(),
  1: () => few.focus(0), 2: () => few.focus(1), 3: () => few.focus(2), 4: () => few.focus(3),
});

function tab(name, focus) {
  document.body.dataset.tab = name;
  for (const button of $("tabs").children) button.setAttribute("aria-pressed", String(button.dataset.tab === name));
  if (lastMessage) drawLatency(lastMessage);
  if (focus) $(name).focus();
}

$("all").addEventListener("wheel", (event) => {
  const by = Math.sign(event.deltaY || event.deltaX);
  if (!by || !layout) return;
  if (event.ctrlKey) all.amplify(-by);
  else if (event.shiftKey) all.space(-by);
  else if (!all.scroll(3 * by)) return; // the page's own
  event.preventDefault();
  stale = true;
}, { passive: false });
listenToFinger($("all"), (px) => {
  stale = true;
  return layout ? all.drag(px) : false;
});
$("all").addEventListener("click", (event) => {
  const k = layout ? all.at(event.offsetY) : -1;
  if (k >= 0) few.take(k);
});
for (const [id, what] of Object.entries({
  pause: () => pause(), help: () => $("keys").showModal(),
  lower: () => all.amplify(-1), higher: () => all.amplify(1), closer: () => all.space(-1), wider: () => all.space(1),
  up: () => all.page(-1), down: () => all.page(1),
})) $(id).addEventListener("click", act(what));
for (const id of ["range", "smooth", "names", "seconds", "filter", "reference", "of", "worn-first", "spectrum-of"]) {
  $(id).addEventListener("change", look);
}
for (const button of $("tabs").children) button.addEventListener("click", () => tab(button.dataset.tab));
// Canvases are as sharp as the screen, at whatever size they are shown.
const watcher = new ResizeObserver((entries) => {
  const sharp = Math.min(window.devicePixelRatio || 1, 2);
  for (const { target, contentRect } of entries) {
    const map = { "ld-map": ldMap, "hd-map": hdMap }[target.id];
    if (map) map.resize(contentRect.width * sharp);
    else {
      target.width = Math.max(1, Math.round(contentRect.width * sharp));
      target.height = Math.max(1, Math.round(contentRect.height * sharp));
    }
  }
  if (bands) spectrum.draw($("spectrum-of").value);
  if (lastMessage) drawLatency(lastMessage);
  stale = true;
});
for (const id of ["all", "trace", "spectrum", "histogram", "ld-map", "hd-map"]) watcher.observe($(id));
options($("filter"), FILTERS.map(([name], i) => [name, i]));
if (window.innerWidth < 560) $("seconds").value = "5";
tab("quality");
connect();
requestAnimationFrame(frame);
