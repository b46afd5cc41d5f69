// Three heads: measured, rendered, and what is between them. The weights of the map are given.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("heads-data").textContent);
  const canvas = document.getElementById("heads-canvas"), pen = canvas.getContext("2d");
  const truth = emag.decode(data.truth), rendered = emag.decode(data.rendered);
  const weights = emag.decode(data.weights);
  const nChannels = data.places.length, size = data.size, cells = data.cells;
  const small = document.createElement("canvas");
  small.width = small.height = size;
  const paint = small.getContext("2d"), image = paint.createImageData(size, size);
  const told = document.getElementById("heads-channel"), whole = data.scale_uv / 32767;
  let pointed = -1;
  const unit = data.weight / 32767 / 32767;
  const clock = emag.clock("heads", data.times_ms, draw);

  function map(value) { // a value of full scale 1 at every cell of the grid
    cells.forEach((cell, row) => {
      let sum = 0;
      for (let c = 0; c < nChannels; c++) sum += weights[row * nChannels + c] * value(c);
      const [r, g, b] = emag.colour(sum * unit);
      image.data.set([r, g, b, 255], 4 * cell);
    });
    paint.putImageData(image, 0, 0);
  }

  function measure(width, height) {
    const room = width / 3;
    return [room, Math.min(0.43 * room, 0.4 * height), 0.55 * height];
  }

  function draw() {
    const at = clock.frame * nChannels;
    const [width, height] = emag.fit(canvas, pen), [room, radius, middle] = measure(width, height);
    const values = [
      ["measured", (c) => truth[at + c]],
      ["rendered", (c) => rendered[at + c]],
      ["error", (c) => truth[at + c] - rendered[at + c]],
    ];
    values.forEach(([name, value], i) => {
      map(value);
      pen.save();
      pen.translate((i + 0.5) * room, middle);
      pen.scale(radius, radius);
      outline();
      pen.save();
      pen.beginPath(); pen.arc(0, 0, 1, 0, 2 * Math.PI); pen.clip();
      pen.drawImage(small, -1, -1, 2, 2);
      pen.restore();
      pen.beginPath(); pen.arc(0, 0, 1, 0, 2 * Math.PI); pen.stroke();
      data.places.forEach(([x, y], c) => {
        pen.beginPath(); pen.arc(x, -y, data.worn[c] ? 0.035 : 0.014, 0, 2 * Math.PI);
        pen.fillStyle = data.worn[c] ? "#111" : "#0007"; pen.fill();
        if (c !== pointed) return;
        pen.beginPath(); pen.arc(x, -y, 0.06, 0, 2 * Math.PI);
        pen.strokeStyle = "#111"; pen.lineWidth = 0.02; pen.stroke();
      });
      pen.restore();
      pen.fillStyle = "#1b2733"; pen.textAlign = "center"; pen.font = "600 14px system-ui, sans-serif";
      pen.fillText(name, (i + 0.5) * room, 18);
    });
    pen.fillStyle = "#55626f"; pen.textAlign = "left"; pen.font = "12px system-ui, sans-serif";
    pen.fillText(`blue −${data.scale_uv} µV, red +${data.scale_uv} µV`, 8, height - 6);
    if (pointed < 0) return;
    const uv = (value) => `${(value * whole).toFixed(1)} µV`;
    const [was, is] = [truth[at + pointed], rendered[at + pointed]];
    told.textContent = `${data.labels[pointed]}: ` + (data.worn[pointed] ? `worn, ${uv(was)}` :
      `measured ${uv(was)}, rendered ${uv(is)}`);
  }

  // The electrode nearest to a pointer, on whichever head it is.
  function point({ clientX, clientY }) {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const [room, radius, middle] = measure(width, height), at = clientX - left;
    const px = (at - (Math.floor(at / room) + 0.5) * room) / radius, py = (middle - clientY + top) / radius;
    const far = data.places.map(([x, y]) => Math.hypot(x - px, y - py));
    const nearest = far.indexOf(Math.min(...far));
    const found = far[nearest] < 0.12 ? nearest : -1;
    if (found === pointed) return;
    pointed = found;
    if (found < 0) told.textContent = "";
    draw();
  }
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);

  function outline() { // nose and ears
    pen.strokeStyle = "#777"; pen.lineWidth = 0.02; pen.fillStyle = "#fff";
    pen.beginPath(); pen.moveTo(-0.1, -0.99); pen.lineTo(0, -1.12); pen.lineTo(0.1, -0.99); pen.stroke();
    for (const side of [-1, 1]) {
      pen.beginPath(); pen.ellipse(side * 1.02, 0, 0.07, 0.2, 0, 0, 2 * Math.PI); pen.stroke();
    }
  }
  draw();
})();
