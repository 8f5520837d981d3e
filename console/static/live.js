// Replaces the page's live parts by newer ones, for as long as one of them says that it changes.
const EVERY_MS = { running: 2000, watched: 5000 };
const OLD = "This page cannot be renewed at the moment: what it shows is old.";

const parts = () => [...document.querySelectorAll("[data-live]")];

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts()) {
    const newer = page.getElementById(part.id);
    // What has the focus is not taken away from under it.
    if (newer && newer.outerHTML !== part.outerHTML && !part.contains(document.activeElement)) {
      const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
      part.replaceWith(newer);
      newer.querySelectorAll(".scroll").forEach((one, index) => (one.scrollLeft = scrolled[index] ?? 0));
    }
  }
  return true;
}

function say(isOld) {
  let notice = document.getElementById("old");
  if (!notice) {
    notice = Object.assign(document.createElement("p"), { id: "old", role: "status", className: "notice bad" });
    document.getElementById("main").prepend(notice);
  }
  notice.hidden = !isOld;
  notice.textContent = isOld ? OLD : "";
}

async function repeat() {
  if (!document.hidden) say(!(await refresh().catch(() => false)));
  wait();
}

function wait() {
  const every = Math.min(...parts().map((one) => EVERY_MS[one.dataset.live] ?? Infinity));
  if (Number.isFinite(every)) setTimeout(repeat, every);
}

wait();
