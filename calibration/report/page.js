// A click on a heading sorts its table; what is unfolded draws itself.
(function () {
  "use strict";
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
  document.querySelectorAll("details").forEach((part) =>
    part.addEventListener("toggle", () => window.dispatchEvent(new Event("resize"))));
})();
