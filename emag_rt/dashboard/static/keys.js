// Keys and fingers of the page; lists, buttons and fields keep theirs.

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

// One finger on an element: `scroll` takes the pixels that it moved up, gives back those that it
// used, and false where it cannot move that way: then the whole touch is the page's own.
export function listenToFinger(element, scroll) {
  let at = null, ours = false;
  element.addEventListener("touchstart", ({ touches }) => {
    at = touches.length === 1 ? touches[0].clientY : null;
    ours = false;
  }, { passive: true });
  element.addEventListener("touchmove", (event) => {
    if (at === null || !event.cancelable) return;
    const now = event.touches[0].clientY, used = now === at ? 0 : scroll(at - now);
    if (used === false && !ours) { at = null; return; }
    ours ||= now !== at;
    at = used === false ? now : at - used;
    if (ours) event.preventDefault();
  }, { passive: false });
}
