// What the page's views share: numbers, colours, a clock; and tables sorted by a click.
const emag = (function () {
  "use strict";
  const decode = (text) => new Int16Array(
    Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  function colour(value) { // blue, white, red
    const a = Math.min(1, Math.abs(value)), end = value < 0 ? [33, 102, 172] : [178, 24, 43];
    return end.map((e) => Math.round(247 + (e - 247) * a));
  }
  function fit(canvas, pen) { // as sharp as the screen; gives width and height
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return [width, height];
  }
  // A play button, a slider, a speed: draw is called whenever the frame is another.
  function clock(name, times_ms, draw) {
    const byId = (part) => document.getElementById(`${name}-${part}`);
    const play = byId("play"), time = byId("time"), now = byId("now"), speed = byId("speed");
    const end = times_ms.length - 1;
    let playing = false, last = null, shown = times_ms[0];
    const state = { frame: 0, toggle: () => set(!playing) };
    function show(frame) {
      state.frame = frame;
      time.value = String(frame);
      now.textContent = `${times_ms[frame].toFixed(0)} ms`;
      draw();
    }
    function tick(stamp) {
      if (!playing) return;
      if (last !== null) shown += (stamp - last) * Number(speed.value);
      last = stamp;
      if (shown > times_ms[end]) shown = times_ms[0];
      const wanted = end < 1 ? 0 : Math.round((end * shown) / Math.max(times_ms[end], 1e-9));
      if (wanted !== state.frame) show(wanted);
      window.requestAnimationFrame(tick);
    }
    function set(on) {
      playing = on; last = null;
      play.textContent = on ? "Pause" : "Play";
      play.setAttribute("aria-pressed", String(on));
      if (on) { shown = times_ms[state.frame]; window.requestAnimationFrame(tick); }
    }
    time.max = String(end);
    now.textContent = `${times_ms[0].toFixed(0)} ms`;
    play.addEventListener("click", state.toggle);
    time.addEventListener("input", () => { show(Number(time.value)); shown = times_ms[state.frame]; });
    window.addEventListener("resize", draw);
    return state;
  }
  return { decode, colour, fit, clock };
})();

document.addEventListener("DOMContentLoaded", () => {
  const value = (row, column) => row.cells[column].textContent.trim();
  function compare(a, b) { // numbers by size, gaps last, names as people count them
    const x = parseFloat(a), y = parseFloat(b);
    if (Number.isNaN(x) && Number.isNaN(y)) return a.localeCompare(b, "en", { numeric: true });
    return Number.isNaN(x) ? 1 : Number.isNaN(y) ? -1 : x - y;
  }
  document.querySelectorAll("th button").forEach((button) => {
    const head = button.parentElement, body = button.closest("table").tBodies[0];
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) =>
        (down ? -1 : 1) * compare(value(a, head.cellIndex), value(b, head.cellIndex)));
      body.append(...rows);
    });
  });
  document.querySelectorAll(".spots").forEach((picture) => {
    const spots = JSON.parse(picture.dataset.spots), ring = picture.querySelector("i");
    const told = picture.nextElementSibling, asked = told.textContent;
    function point({ clientX, clientY }) {
      const { left, top, width, height } = picture.getBoundingClientRect();
      const far = spots.map(([x, y]) =>
        Math.hypot(x * width - clientX + left, y * height - clientY + top));
      const nearest = far.indexOf(Math.min(...far)), [x, y, text] = spots[nearest];
      ring.hidden = far[nearest] > 14;
      ring.style.left = `${100 * x}%`; ring.style.top = `${100 * y}%`;
      told.textContent = ring.hidden ? asked : text;
    }
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerdown", point);
  });
  document.querySelectorAll("details").forEach((part) =>
    part.addEventListener("toggle", () => window.dispatchEvent(new Event("resize"))));
});
