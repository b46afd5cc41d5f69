// The dashboard's page: one websocket in, nothing out.

import { HD_MAP, LD_MAP, Ring, SAMPLES, kindOf, readMap, readSamples } from "./wire.js";
import { ScalpMap, drawScale } from "./maps.js";
import { Traces } from "./traces.js";
import { showPanels, showState } from "./panels.js";

const $ = (id) => document.getElementById(id);
const NICE = [5, 10, 20, 30, 50, 75, 100, 150, 200, 500];
const KEEP_S = 12;

const ldMap = new ScalpMap($("ld-map"), "LD"), hdMap = new ScalpMap($("hd-map"), "HD");
const traces = new Traces($("trace"), $("choosers"), () => { stale = true; });
let layout = null, hd = new Ring(0, 1), ld = new Ring(0, 1);
let hdNow = null, ldNow = null, range = 20, paused = false, stale = true, fresh = false;
let lastState = "offline", ldNote = "", dropped = 0, frames = [], described = 0;
const figures = { fps: 0, frames: 0, messages: 0 };
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
    const size = Math.ceil(KEEP_S * Math.max(message.shown_hz, 1)) + 50;
    hd = new Ring(message.hd.labels.length, size);
    ld = new Ring(message.ld.labels.length, size);
    hdNow = new Float32Array(hd.n);
    ldNow = new Float32Array(ld.n);
  }
  traces.setLayout(message);
  $("hd-count").textContent = message.hd.labels.length ? `, ${message.hd.labels.length} channels` : "";
  ldCount();
  stale = true;
}

function ldCount() {
  const n = layout ? layout.ld.labels.length : 0;
  const text = ldNote ? `: ${ldNote}` : n ? `, ${n} channels` : "";
  if ($("ld-count").textContent !== text) $("ld-count").textContent = $("ld-count").title = text;
}

function onBinary(buffer) {
  const kind = kindOf(buffer);
  if (kind === SAMPLES) {
    const found = layout && readSamples(buffer, hd.n, ld.n);
    if (!found || found.run !== layout.run) return;
    hd.add(found.hdTimes, found.hd);
    ld.add(found.ldTimes, found.ld);
    figures.messages++;
    fresh = true;
  } else {
    const map = readMap(buffer);
    if (!layout || map.number !== layout.number) return;
    (kind === HD_MAP ? hdMap : kind === LD_MAP ? ldMap : hdMap).setMap(map);
    stale = true;
  }
}

function onText(message) {
  if (message.type === "layout") onLayout(message);
  else if (message.type === "dropped") dropped = message.frames;
  else if (message.type === "error") showState(lastState = "offline", "Error in the dashboard", message.text);
  else {
    lastState = message.state;
    showState(message.state, paused ? `${message.title} (paused)` : message.title, message.text);
    showPanels(message);
    ldNote = message.ld_note;
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
      lastState = "offline";
      const why = event.reason || "The dashboard's own process has ended. Serving may well go on.";
      showState("offline", "No dashboard", `${why} Trying again every second.`);
    }
    layout = null;
    setTimeout(connect, 1000);
  };
}

// The least of the nice ranges that holds nearly all of what came lately; slow to fall.
function fit() {
  if ($("range").value !== "auto") { range = Number($("range").value); return; }
  let top = 0;
  const from = hd.since(hd.newest - 3), step = Math.max(1, Math.floor((hd.count - from) / 100));
  const all = [];
  for (let row = from; row < hd.count; row += step) {
    for (let c = 0; c < hd.n; c++) {
      const v = Math.abs(hd.values[(row % hd.size) * hd.n + c]);
      if (v < 1e5) all.push(v);
    }
  }
  if (!all.length) return;
  all.sort((a, b) => a - b);
  top = all[Math.floor(all.length * 0.98)];
  if (top > range || top < range * 0.4) range = NICE.find((x) => x >= top) ?? 500;
}

function drawMaps() {
  const seconds = Number($("smooth").value), names = $("names").checked;
  const hdOk = hdMap.draw(hd.count ? hd.mean(seconds, hdNow) : null, range, names);
  const ldOk = ldMap.draw(ld.count ? ld.mean(seconds, ldNow) : null, range, names);
  $("scale-top").textContent = `+${range}`;
  $("scale-bottom").textContent = `−${range}`;
  return hdOk || ldOk;
}

function frame(now) {
  requestAnimationFrame(frame);
  if (paused || !(fresh || stale)) return;
  const live = fresh, all = stale;
  fresh = stale = false;
  drawMaps();
  // Lines cost a processor without a GPU most, and move by little.
  if (all || figures.frames % 2 === 0) traces.draw(hd, ld, Number($("seconds").value), $("gain").value);
  if (live) {
    frames.push(now);
    figures.frames++;
  }
}

setInterval(() => {
  fit();
  const now = performance.now();
  frames = frames.filter((t) => now - t < 2000);
  figures.fps = frames.length / 2;
  figures.range = range;
  figures.state = lastState;
  const missed = dropped ? `  ·  ${dropped} frames left out for this browser` : "";
  $("rate").textContent = `maps drawn ${Math.round(figures.fps)} times a second${missed}`;
  if (now - described > 2000) {
    described = now;
    hdMap.describe(hd.count ? hdNow : null, range);
    ldMap.describe(ld.count ? ldNow : null, range);
  }
}, 250);

function pause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").firstChild.textContent = paused ? "Go on " : "Pause ";
  stale = true;
}

function stepRange(by) {
  const at = NICE.findIndex((x) => x >= range);
  range = NICE[Math.max(0, Math.min(NICE.length - 1, at + by))];
  const select = $("range");
  select.value = String(range);
  stale = true;
}

const KEYS = {
  " ": pause,
  "+": () => stepRange(-1), "=": () => stepRange(-1), "-": () => stepRange(1),
  a: () => { $("range").value = "auto"; fit(); stale = true; },
  s: () => { const s = $("smooth"); s.selectedIndex = (s.selectedIndex + 1) % s.length; stale = true; },
  n: () => { $("names").checked = !$("names").checked; stale = true; },
  q: () => $("quality").focus(), l: () => $("log").focus(),
  "?": () => $("keys").showModal(),
  1: () => traces.focus(0), 2: () => traces.focus(1), 3: () => traces.focus(2), 4: () => traces.focus(3),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const tag = event.target.tagName;
  // In a list of channels, letters and digits look up names; a button has its own Space.
  if ((tag === "SELECT" && !"?+-=".includes(event.key)) || (event.key === " " && (tag === "BUTTON" || tag === "INPUT"))) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});
$("pause").addEventListener("click", pause);
$("help").addEventListener("click", () => $("keys").showModal());
for (const id of ["range", "smooth", "names", "seconds", "gain"]) {
  $(id).addEventListener("change", () => { fit(); stale = true; });
}
// Canvases with text are as sharp as the screen, at whatever size they are shown.
new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    target.width = Math.max(1, Math.round(contentRect.width * scale));
    target.height = Math.max(1, Math.round(contentRect.height * scale));
  }
  stale = true;
}).observe($("trace"));
drawScale($("scale-bar"));
connect();
requestAnimationFrame(frame);
