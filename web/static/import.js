// Progress that moves, and how many ratings are chosen. Without this script the page has a link.
const EVERY_MS = 1000;
const IN_PROGRESS = ["queued", "reading", "writing"];
let shown = document.querySelector("[data-import]");

async function look() {
  let found;
  try {
    const answer = await fetch(location.pathname);
    if (!answer.ok || answer.redirected) { location.reload(); return; }
    found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-import]");
  } catch {
    return; // The server is away: the next look may find it.
  }
  if (!found) return;
  if (found.dataset.import === shown.dataset.import) {
    const [bar, percent] = ["[data-progress]", "[data-percent]"].map((one) => found.querySelector(one));
    shown.querySelector("[data-progress]").value = bar.value;
    shown.querySelector("[data-percent]").textContent = percent.textContent;
    return;
  }
  const hadFocus = shown.contains(document.activeElement);
  shown.replaceWith(found);
  shown = found;
  const news = found.querySelector(".notice, p");
  document.querySelector("[data-spoken]").textContent = news.textContent;
  if (hadFocus) { news.tabIndex = -1; news.focus(); }
  count();
}

async function follow() {
  while (shown && IN_PROGRESS.includes(shown.dataset.import)) {
    await new Promise((resolve) => { setTimeout(resolve, EVERY_MS); });
    if (!document.hidden) await look();
  }
}

function count() {
  const form = document.querySelector("[data-choices]");
  if (!form) return;
  const films = [...new FormData(form)].filter(([, value]) => value).map(([name]) => name.split("-")[1]);
  const chosen = new Set(films).size;
  form.querySelector("[data-import-chosen]").textContent = `Import ${chosen} ${chosen === 1 ? "rating" : "ratings"}`;
}

document.addEventListener("input", (event) => {
  const { bytesMax } = event.target.dataset;
  if (bytesMax) {
    const tooLarge = event.target.files[0]?.size > Number(bytesMax);
    event.target.setCustomValidity(tooLarge ? "This file is too large." : "");
    event.target.reportValidity();
  }
  count();
});
document.documentElement.classList.add("scripted");
count();
follow();
