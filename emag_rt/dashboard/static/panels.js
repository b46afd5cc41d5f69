// Everything in words and numbers. Texts from outside are only ever set as text.

const SIGNS = {
  waiting: "…", running: "▶", silent: "!", no_eeg: "—", wrong_input: "≠", too_many_bad: "×", unresponsive: "?",
  stopped: "■", offline: "⌀",
};

const ALWAYS = 6; // of these, the others only when they are not 0
const COUNTERS = [
  ["samples_in", "samples received"], ["samples_out", "samples served"], ["gaps", "gaps"],
  ["filled", "rows filled in gaps"], ["skipped", "skipped, too late"], ["recovered", "source came back"],
  ["bridged", "rows bridged"], ["unfilled", "rows missing"], ["overdue", "served late"], ["duplicates", "repeated"],
  ["out_of_order", "out of order"], ["restamped", "given a time"], ["jumps", "clock jumps"],
  ["steps", "electrode jumps"], ["unrenderable", "rows not rendered"],
  ["refused", "refused"],
];

const $ = (id) => document.getElementById(id);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function showState(state, title, text, bad = false) {
  document.body.dataset.state = state === "running" && bad ? "impaired" : state;
  const glyph = $("glyph");
  glyph.textContent = "";
  glyph.dataset.sign = SIGNS[state] ?? "?";
  setText($("title"), title);
  setText($("words"), text);
  $("words").title = text;
  document.title = `${title} – emag_rt`;
}

let shownQuality = "", shownEvents = -1, shownName = "";

export function showPanels(message, live) {
  setText($("name"), message.name);
  const facts = Object.entries(message.facts).map(([key, value]) => `${key} ${value}`);
  setText($("facts"), facts.join("  ·  ") || "not served yet");
  quality(message, live);
  counters(message.numbers);
  events(message);
  drawLatency(message);
}

function quality(message, live) {
  const judged = message.judged;
  const key = JSON.stringify([judged, live, message.quality]);
  if (key === shownQuality) return;
  shownQuality = key;
  const bad = message.quality.filter((c) => c.bad).length, n = message.quality.length;
  setText($("quality-sum"), n === 0 ? "" : !live ? "nothing comes: not judged" : !judged && !bad ? "not judged" : bad === 0 ? `all ${n} good` : `${bad} of ${n} bad`);
  $("quality-list").replaceChildren(...message.quality.map((channel) => {
    const item = document.createElement("li");
    item.className = channel.bad ? "bad" : judged && live ? "good" : "";
    const why = channel.reason || "no reason told";
    item.textContent = channel.bad ? `✕ ${channel.label}: ${why}` : judged && live ? `✓ ${channel.label}` : channel.label;
    const words = channel.bad ? `bad: ${why}` : judged && live ? "good" : "not judged";
    item.setAttribute("aria-label", `${channel.label} ${words}`);
    return item;
  }));
}

function counters(numbers) {
  const known = COUNTERS.filter(([key]) => numbers[key] !== undefined);
  const shown = known.filter(([key], i) => i < ALWAYS || numbers[key]);
  const rows = shown.map(([key, name]) => {
    const value = numbers[key] ?? 0;
    const row = tableRow(name, value.toLocaleString("en-GB").replaceAll(",", "\u202f"));
    if (value && !key.startsWith("samples")) row.className = "nonzero";
    return row;
  });
  if (!known.length) rows.push(tableRow("no status yet", ""));
  else if (shown.length < known.length) rows.push(tableRow(`${known.length - shown.length} others`, "0"));
  $("counters").replaceChildren(...rows);
}

function tableRow(...texts) {
  const row = document.createElement("tr");
  row.append(...texts.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  }));
  return row;
}

function events(message) {
  if (message.n_events === shownEvents && message.name === shownName) return;
  shownEvents = message.n_events;
  shownName = message.name;
  setText($("event-sum"), message.n_events ? `${message.n_events} since the dashboard attached` : "none so far");
  $("events").replaceChildren(...message.events.slice().reverse().map((event) => {
    const item = document.createElement("li");
    for (const [tag, text] of [["time", event.at], ["b", event.event.replaceAll("_", " ")], ["span", event.details]]) {
      const part = document.createElement(tag);
      part.textContent = text;
      item.append(part);
    }
    return item;
  }));
}

export function drawLatency(message) {
  const canvas = $("histogram"), context = canvas.getContext("2d");
  const found = message.latency, numbers = message.numbers;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return;
  const scale = canvas.width / width;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  if (!found) {
    context.fillStyle = "#55626f";
    context.fillText("no samples yet", 0, 14);
    setText($("latency-words"), "");
    return;
  }
  const most = Math.max(...found.counts), n = found.counts.length, foot = 18, low = found.edges_ms[0], high = found.edges_ms[n];
  found.counts.forEach((count, i) => {
    const bar = (count / most) * (height - foot - 18);
    context.fillStyle = i === n - 1 ? "#b4560a" : "#1f5fa8";
    context.fillRect((i * width) / n + 0.5, height - foot - bar, width / n - 1, bar);
  });
  const at = (ms) => ((Math.min(ms, high) - low) / (high - low)) * width;
  context.fillStyle = "#1b2733";
  for (const [key, name] of [["p50_ms", "median"], ["p99_ms", "99 %"]]) {
    const x = at(found[key]);
    context.fillRect(x - 1, 15, 2, height - foot - 15);
    context.textAlign = x > width - 50 ? "right" : x < 50 ? "left" : "center";
    context.fillText(name, x, 11);
  }
  context.textAlign = "left";
  context.fillText(`${low.toFixed(1)} ms`, 2, height - 4);
  context.textAlign = "right";
  context.fillText(`${high.toFixed(1)} ms${found.max_ms > high ? " or more" : ""}`, width - 2, height - 4);
  context.textAlign = "left";
  const daemon = numbers.latency_p50_ms == null ? "" :
    `\nDaemon: median ${numbers.latency_p50_ms.toFixed(1)}, 99 % ${numbers.latency_p99_ms.toFixed(1)} ms`;
  const words = `Here: median ${found.p50_ms.toFixed(1)}, 99 % ${found.p99_ms.toFixed(1)} ms${daemon}`;
  setText($("latency-words"), words);
  canvas.setAttribute("aria-label", `Histogram of latency. ${words}`);
}
