// Numbers that move: server-sent events while the page is visible.

export function follow(address, onUpdate) {
  let source = null;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("update", (event) => onUpdate(JSON.parse(event.data)));
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
  return close;
}

export function show(element, text) {
  if (!element || element.textContent === text) return;
  element.textContent = text;
  element.classList.remove("moved");
  void element.offsetWidth; // Starts the animation again.
  element.classList.add("moved");
}

export const whole = (count) => count.toLocaleString("en-US");
