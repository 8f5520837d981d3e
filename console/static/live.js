// Replaces the page's live parts by newer ones, for as long as one of them says that it changes.
const EVERY_MS = 2000;

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = page.getElementById(part.id);
    // What has the focus is not taken away from under it.
    if (newer && newer.outerHTML !== part.outerHTML && !part.contains(document.activeElement)) {
      part.replaceWith(newer);
    }
  }
}

async function repeat() {
  if (!document.hidden) await refresh().catch(() => undefined);
  if (document.querySelector('[data-live="running"]')) setTimeout(repeat, EVERY_MS);
}

setTimeout(repeat, EVERY_MS);
