// Keys of the page; lists, buttons and fields keep theirs.

export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("keys").open) return;
    const { tagName } = event.target, key = event.key.toLowerCase();
    // In a list of channels, letters, digits and arrows look up names; a button has its own Space.
    if (tagName === "SELECT" && !"?+-=[],.".includes(key)) return;
    if (key === " " && (tagName === "BUTTON" || tagName === "INPUT")) return;
    // Panels that scroll do so by their own arrows.
    if (/^(arrow(up|down)|page|home|end)/.test(key) && event.target.closest("#info")) return;
    if (!actions[key]) return;
    event.preventDefault();
    actions[key]();
  });
}
