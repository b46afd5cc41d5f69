// The Gaussians of a field, turned by hand and played in time: plain canvas, nothing loaded.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("emag-data").textContent);
  const canvas = document.getElementById("emag-canvas");
  const draw2d = canvas.getContext("2d");
  const byId = (name) => document.getElementById("emag-" + name);
  const amplitudes = emag.decode(data.amplitudes), potentials = emag.decode(data.potentials);
  const nPoints = data.centers_mm.length, nElectrodes = data.electrodes_mm.length;
  const clock = emag.clock("emag", data.times_ms, draw);
  let zoom = 1;
  let rotation = identity();

  function identity() { return [[1, 0, 0], [0, 1, 0], [0, 0, 1]]; }
  function times(a, b) {
    return a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
  }
  function apply(m, v) { return m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]); }
  function turn(dx, dy) { // about the screen's vertical and horizontal axes
    const ca = Math.cos(dx), sa = Math.sin(dx), cb = Math.cos(dy), sb = Math.sin(dy);
    const about_y = [[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]];
    const about_x = [[1, 0, 0], [0, cb, -sb], [0, sb, cb]];
    rotation = times(about_x, times(about_y, rotation));
  }
  // Rows are the screen's right, up, and towards the viewer, in head coordinates.
  const views = {
    top: identity(),
    front: [[-1, 0, 0], [0, 0, 1], [0, 1, 0]],
    right: [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
  };
  rotation = views.right;
  turn(-0.5, 0.35);

  function colour(value, alpha) { // weak ones shall be seen too
    return `rgba(${emag.colour(Math.sign(value) * Math.sqrt(Math.abs(value))).join()},${alpha})`;
  }

  // Outline of an ellipsoid with covariance S: the ellipse of the upper 2 x 2 of R S R'.
  function outline(covariance) {
    const s = times(times(rotation, covariance), transpose(rotation));
    const a = s[0][0], b = s[0][1], c = s[1][1];
    const mean = (a + c) / 2, off = Math.hypot((a - c) / 2, b);
    return [Math.sqrt(mean + off), Math.sqrt(Math.max(mean - off, 0)), 0.5 * Math.atan2(2 * b, a - c)];
  }
  function transpose(m) { return [0, 1, 2].map((i) => [0, 1, 2].map((j) => m[j][i])); }

  function draw() {
    const [width, height] = emag.fit(canvas, draw2d);
    const scale = zoom * Math.min(width, height) / (2.5 * data.radius_mm);
    const items = [], size = Number(byId("size").value);
    if (byId("gaussians").checked) {
      for (let n = 0; n < nPoints; n++) {
        const p = apply(rotation, data.centers_mm[n]);
        items.push({ z: p[2], p: p, gaussian: n });
      }
    }
    if (byId("electrodes").checked) {
      for (let e = 0; e < nElectrodes; e++) {
        const p = apply(rotation, data.electrodes_mm[e]);
        items.push({ z: p[2], p: p, electrode: e });
      }
    }
    items.sort((a, b) => a.z - b.z);
    draw2d.save();
    draw2d.translate(width / 2, height / 2);
    head(scale);
    for (const item of items) {
      const x = item.p[0] * scale, y = -item.p[1] * scale;
      if (item.gaussian !== undefined) ellipsoid(item.gaussian, x, y, scale, size);
      else electrode(item.electrode, x, y, item.z);
    }
    draw2d.restore();
    legend(width, height, scale);
    strongest();
  }

  // The scalp as three circles, nose and ears as lines; in radii of the head.
  function ring(point) { return Array.from({ length: 49 }, (_, k) => point(Math.PI * k / 24)); }
  const lines = [
    ring((a) => [Math.cos(a), Math.sin(a), 0]),
    ring((a) => [Math.cos(a), 0, Math.sin(a)]),
    ring((a) => [0, Math.cos(a), Math.sin(a)]),
    [[-0.1, 0.97, -0.22], [0, 1.15, -0.2], [0.1, 0.97, -0.22], [-0.1, 0.97, -0.22]],
    [[0, 0.98, 0.12], [0, 1.15, -0.2]],
    ...[-1, 1].map((side) => ring((a) =>
      [side * (1.01 + 0.05 * Math.sin(a / 2)), 0.09 * Math.cos(a) - 0.03, 0.19 * Math.sin(a) - 0.12])),
  ];
  function head(scale) {
    draw2d.beginPath();
    draw2d.arc(0, 0, data.radius_mm * scale, 0, 2 * Math.PI);
    draw2d.fillStyle = "#f6f1ea"; draw2d.fill();
    draw2d.strokeStyle = "#999"; draw2d.lineWidth = 1.4; draw2d.stroke();
    lines.forEach((line, i) => {
      draw2d.beginPath();
      for (const place of line) {
        const p = apply(rotation, place.map((v) => v * data.radius_mm));
        draw2d.lineTo(p[0] * scale, -p[1] * scale);
      }
      draw2d.strokeStyle = i < 3 ? "#d8d0c4" : "#777"; draw2d.lineWidth = i < 3 ? 1 : 1.6;
      draw2d.stroke();
    });
  }
  function amplitude(n) { return amplitudes[clock.frame * nPoints + n] / 32767; }
  function ellipsoid(n, x, y, scale, size) {
    const value = amplitude(n), [a, b, angle] = outline(data.covariances_mm2[n]);
    const strength = Math.sqrt(Math.abs(value));
    draw2d.beginPath();
    draw2d.ellipse(x, y, a * scale * size, b * scale * size, -angle, 0, 2 * Math.PI);
    draw2d.fillStyle = colour(value, 0.04 + 0.5 * strength);
    draw2d.fill();
    draw2d.strokeStyle = `rgba(80,80,80,${0.08 + 0.4 * strength})`; draw2d.lineWidth = 0.7;
    draw2d.stroke();
  }
  function electrode(e, x, y, z) {
    draw2d.globalAlpha = z < 0 ? 0.35 : 1;
    draw2d.beginPath();
    draw2d.arc(x, y, 5, 0, 2 * Math.PI);
    draw2d.fillStyle = colour(potentials[clock.frame * nElectrodes + e] / 32767, 1);
    draw2d.fill();
    draw2d.strokeStyle = "#111"; draw2d.lineWidth = data.worn[e] ? 2.6 : 0.9;
    draw2d.stroke();
    if (byId("labels").checked) {
      draw2d.fillStyle = "#111"; draw2d.font = "11px sans-serif"; draw2d.textAlign = "left";
      draw2d.fillText(data.labels[e], x + 7, y - 5);
    }
    draw2d.globalAlpha = 1;
  }
  function legend(width, height, scale) {
    const bar = 20 * scale;
    draw2d.strokeStyle = "#111"; draw2d.fillStyle = "#111"; draw2d.lineWidth = 2;
    draw2d.font = "13px sans-serif"; draw2d.textAlign = "left";
    draw2d.beginPath(); draw2d.moveTo(14, height - 16); draw2d.lineTo(14 + bar, height - 16);
    draw2d.stroke();
    draw2d.fillText("20 mm", 14, height - 23);
    const left = width - 200;
    ["amplitude_uv", "potential_uv"].forEach((key, row) => {
      const y = height - 58 + 36 * row;
      for (let i = 0; i < 120; i++) {
        draw2d.fillStyle = colour((i - 60) / 60, 1);
        draw2d.fillRect(left + i, y, 1.5, 9);
      }
      draw2d.fillStyle = "#111"; draw2d.textAlign = "left"; draw2d.font = "12px sans-serif";
      draw2d.fillText(row ? "electrodes" : "Gaussians", left, y - 4);
      draw2d.fillText(`±${data[key] < 10 ? data[key].toPrecision(2) : Math.round(data[key])} µV`, left + 126, y + 9);
    });
  }
  function strongest() {
    let best = 0;
    for (let n = 1; n < nPoints; n++) if (Math.abs(amplitude(n)) > Math.abs(amplitude(best))) best = n;
    const c = data.centers_mm[best].map((v) => v.toFixed(0)).join(", ");
    const value = amplitude(best) * data.amplitude_uv;
    byId("strongest").textContent =
      `Strongest now: centre (${c}) mm (right, front, up), ` +
      `width ${data.widths_mm[best].toFixed(1)} mm, amplitude ${value.toFixed(1)} µV. ` +
      `Shown: ${nPoints} of ${data.n_points} points, ` +
      `${Math.round(100 * data.share)} % of what reaches the electrodes.`;
  }

  ["size", "gaussians", "electrodes", "labels"].forEach(
    (name) => byId(name).addEventListener("change", draw));
  document.querySelectorAll("#emag-viewer [data-view]").forEach((button) =>
    button.addEventListener("click", () => { rotation = views[button.dataset.view]; zoom = 1; draw(); }));

  const fingers = new Map(); // one turns, two zoom
  function spread() {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  }
  function zoomBy(factor) { zoom = Math.max(0.4, Math.min(4, zoom * factor)); }
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = fingers.get(event.pointerId);
    if (!from) return;
    const apart = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 2) zoomBy(spread() / Math.max(apart, 1));
    else turn((event.clientX - from[0]) * 0.008, (event.clientY - from[1]) * 0.008);
    draw();
  });
  ["pointerup", "pointercancel"].forEach(
    (name) => canvas.addEventListener(name, (event) => { fingers.delete(event.pointerId); }));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-0.0015 * event.deltaY));
    draw();
  }, { passive: false });
  const keys = {
    ArrowLeft: () => turn(-0.12, 0), ArrowRight: () => turn(0.12, 0),
    ArrowUp: () => turn(0, -0.12), ArrowDown: () => turn(0, 0.12),
    "+": () => zoomBy(1.15), "=": () => zoomBy(1.15), "-": () => zoomBy(1 / 1.15), " ": clock.toggle,
  };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
    draw();
  });
  draw();
})();
